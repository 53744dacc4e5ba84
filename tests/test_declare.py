"""What is derived from one function: names, schemas, and how arguments are read."""

from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from lakehouse.declare import Capability, Facts, capabilities_in, mode, prompt, resource, tool
from lakehouse.errors import InvalidInput
from lakehouse.lake.arguments import validated
from lakehouse.schema import portable


class Inner(BaseModel):
    """Nested."""

    note: str | None = Field(None, description="A note.")
    title: str = Field("x", description="A property that is called title.")


class Answer(BaseModel):
    """An answer."""

    count: int = Field(description="How many.")
    inner: Inner | None = Field(None, description="More.")
    cells: list[list[Any]] = Field(description="Rows.")
    handle: str | None = Field(description="Where the rest is; required by the model, None when there is no rest.")


class Node(BaseModel):
    """Recursive."""

    children: list["Node"] = []


class Typed(TypedDict):
    """A typed dictionary."""

    at: Annotated[int, Field(description="Where.")]


@dataclass
class Plain:
    """A dataclass."""

    at: Annotated[int | None, Field(description="Where.")]


@tool("writes", toolset="data", title="Do it")
async def sample(
    lake: object,
    text: Annotated[str, "Some text."],
    k: Annotated[int, Field(ge=1, le=9), "How many."] = 3,
    share: Annotated[float | None, "A share."] = None,
    flag: Annotated[bool, "A flag."] = False,
    names: Annotated[list[str] | None, "Names."] = None,
    params: Annotated[list[Any] | dict[str, Any] | None, "Values."] = None,
    anything: Annotated[Any, "Anything."] = None,
    choice: Annotated[Literal["a", "b"], "One of two."] = "a",
) -> Answer:
    """Do a thing.

    More about it.
    """
    raise NotImplementedError


SAMPLE = Capability("orders.do_it", sample, sample.__lakehouse__, "here")  # type: ignore[attr-defined]


def test_one_name_gives_every_spelling() -> None:
    assert SAMPLE.mcp_name == "orders_do_it"
    assert SAMPLE.route == "/v1/orders/do-it"
    assert SAMPLE.command == ["orders", "do-it"]
    assert SAMPLE.description == "Do a thing.\n\nMore about it."
    assert (SAMPLE.effect, SAMPLE.public, SAMPLE.title) == ("writes", True, "Do it")


def test_declared_names_win() -> None:
    @tool(name="query_sql", route="/v1/sql")
    async def query(lake: object) -> Answer:
        raise NotImplementedError

    declared = Capability("sql.query", query, query.__lakehouse__, "here")  # type: ignore[attr-defined]
    assert (declared.mcp_name, declared.route, declared.title) == ("query_sql", "/v1/sql", "Query sql")
    assert declared.facts.idempotent


def test_an_unknown_toolset_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="toolset 'cor' is not one of core"):
        tool(toolset="data cor")


def test_only_async_functions_are_capabilities() -> None:
    with pytest.raises(TypeError, match="blocks is not an `async def`"):

        @mode()  # type: ignore[type-var]
        def blocks(lake: object) -> Answer:
            raise NotImplementedError


def test_the_input_schema() -> None:
    schema = SAMPLE.input_schema
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["text"] == {"type": "string", "description": "Some text."}
    assert schema["properties"]["k"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 3,
        "description": "How many.",
    }
    assert schema["properties"]["share"] == {"type": "number", "description": "A share."}
    assert schema["properties"]["names"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names.",
    }


def test_the_output_schema_knows_no_null() -> None:
    """A field that may be None is one that may be absent, even where the model requires it."""
    schema = SAMPLE.output_schema
    assert schema["required"] == ["count", "cells"]
    assert schema["properties"]["handle"]["type"] == "string"
    inner = schema["properties"]["inner"]
    assert inner["properties"]["title"]["type"] == "string", "a property may be called title"
    assert inner["properties"]["note"]["type"] == "string"


@pytest.mark.parametrize("result", [Typed, Plain])
def test_results_of_other_kinds(result: Any) -> None:
    async def run(lake: object) -> Any:
        raise NotImplementedError

    run.__annotations__["return"] = result
    schema = Capability("a.b", run, Facts("tool"), "here").output_schema
    assert schema["properties"]["at"] == {"type": "integer", "description": "Where."}
    assert schema.get("required", []) == (["at"] if result is Typed else [])


@pytest.mark.parametrize("result", [int, list[int], str | None, Answer | Inner])
def test_a_result_that_is_no_object_is_refused(result: Any) -> None:
    with pytest.raises(ValueError, match="must be objects"):
        Capability("a.b", _returning(result), Facts("tool"), "here").output_schema  # noqa: B018


def test_a_recursive_result_is_refused() -> None:
    with pytest.raises(ValueError, match="Node refers to itself"):
        Capability("a.b", _returning(Node), Facts("tool"), "here").output_schema  # noqa: B018


def _returning(result: Any) -> Any:
    async def run(lake: object) -> Any:
        raise NotImplementedError

    run.__annotations__["return"] = result
    return run


async def _nothing() -> Answer:
    raise NotImplementedError


async def _star(lake: object, *names: str) -> Answer:
    raise NotImplementedError


async def _untyped(lake: object, name) -> Answer:  # type: ignore[no-untyped-def]
    raise NotImplementedError


async def _silent(lake: object):  # type: ignore[no-untyped-def]
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_nothing, "the first one is the open lake"),
        (_star, r"\*names: str cannot be given by name"),
        (_untyped, "name has no type"),
        (_silent, "does not say what it returns"),
    ],
)
def test_a_signature_no_face_can_offer_is_refused(function: Any, words: str) -> None:
    capability = Capability("a.b", function, Facts("tool"), "here")
    with pytest.raises(TypeError, match=words):
        _ = (capability.arguments, capability.returns)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"text": "[1]"}, {"text": "[1]"}),
        ({"text": "t", "k": "4"}, {"text": "t", "k": 4}),
        ({"text": "t", "share": "0.5"}, {"text": "t", "share": 0.5}),
        ({"text": "t", "share": 1}, {"text": "t", "share": 1.0}),
        ({"text": "t", "flag": "true"}, {"text": "t", "flag": True}),
        ({"text": "t", "names": '["a", "b"]'}, {"text": "t", "names": ["a", "b"]}),
        ({"text": "t", "params": '{"a": 1}'}, {"text": "t", "params": {"a": 1}}),
        ({"text": "t", "params": "[1, null]"}, {"text": "t", "params": [1, None]}),
        ({"text": "t", "anything": "[1]"}, {"text": "t", "anything": "[1]"}),
        ({"text": "t", "choice": "b"}, {"text": "t", "choice": "b"}),
        ({"text": "t", "share": None}, {"text": "t", "share": None}),
    ],
)
def test_arguments_are_read(given: dict[str, Any], read: dict[str, Any]) -> None:
    """Some clients send a list as its JSON text; what wants text keeps it. Only what was given is passed on."""
    assert validated(SAMPLE, given) == read


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "text: it is required"),
        ({"text": 5}, "text: "),
        ({"text": "t", "k": 0}, "k: "),
        ({"text": "t", "k": 2.5}, "k: "),
        ({"text": "t", "k": True}, "k: .*not true or false"),
        ({"text": "t", "share": False}, "share: .*not true or false"),
        ({"text": "t", "share": "NaN"}, "share: "),
        ({"text": "t", "share": float("inf")}, "share: "),
        ({"text": "t", "k": "[" * 100_000}, "k: "),
        ({"text": "t", "k": "9" * 10_000}, "k: "),
        ({"text": "t", "names": "a, b"}, "names: "),
        ({"text": "t", "names": ["a", 1]}, r"names\.1: "),
        ({"text": "t", "choice": "c"}, "choice: "),
        ({"text": "t", "txet": "t"}, "txet: there is no such argument"),
        ([1], "arguments: they must be an object"),
        ("{}", "arguments: they must be an object"),
    ],
)
def test_bad_arguments_are_named(given: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as raised:
        validated(SAMPLE, given)
    assert raised.value.fix
    assert len(raised.value.detail) < 2000


def test_an_unknown_argument_gets_the_nearest_name() -> None:
    with pytest.raises(InvalidInput) as raised:
        validated(SAMPLE, {"text": "t", "txet": "t"})
    assert raised.value.fix == "Did you mean text?"


def test_a_huge_unknown_name_is_not_echoed() -> None:
    with pytest.raises(InvalidInput) as raised:
        validated(SAMPLE, {"text": "t", "x" * 1_000_000: 1})
    assert len(str(raised.value)) < 1000


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_argument_is_taken_or_named(value: Any) -> None:
    """Whatever comes, the answer is arguments or an InvalidInput."""
    for name in SAMPLE.input_schema["properties"]:
        try:
            assert set(validated(SAMPLE, {"text": "t", name: value})) == {"text", name}
        except InvalidInput as error:
            assert error.detail.startswith(f"{name}")


def test_a_modules_own_functions_are_collected() -> None:
    """Not what it imports; those of a package's modules are its own."""
    module = ModuleType("weather")
    sources = {
        "own": "weather",
        "deeper": "weather.forecast",
        "foreign": "weatherman",
        "other": "elsewhere",
    }
    for name, home in sources.items():

        async def run(lake: object) -> Answer:
            raise NotImplementedError

        run.__name__, run.__module__ = name, home
        setattr(module, name, mode()(run))
    module.alias = module.own  # type: ignore[attr-defined]
    assert [c.name for c in capabilities_in(module, "weather")] == ["weather.own", "weather.deeper"]


def test_resources_and_prompts_carry_their_facts() -> None:
    @resource("lakehouse://things/{name}", mime_type="text/plain", complete={"name": "things.names"})
    async def thing(lake: object, name: str) -> str:
        raise NotImplementedError

    @prompt(title="Ask")
    async def ask(lake: object, about: str) -> str:
        raise NotImplementedError

    facts: Facts = thing.__lakehouse__  # type: ignore[attr-defined]
    assert (facts.kind, facts.uri, facts.mime_type) == ("resource", "lakehouse://things/{name}", "text/plain")
    asked: Facts = ask.__lakehouse__  # type: ignore[attr-defined]
    assert (asked.kind, asked.title) == ("prompt", "Ask")


_LEAVES = st.sampled_from([{"type": "string"}, {"type": "null"}, {"type": "integer", "default": None, "title": "X"}])
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: (
        st.builds(lambda c: {"anyOf": c}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda i: {"type": "array", "items": i}, inner)
        | st.builds(
            lambda p: {"type": "object", "properties": p, "required": list(p)}, st.dictionaries(st.text(), inner)
        )
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(_SCHEMAS, st.booleans())
def test_cleaning_twice_changes_nothing(schema: dict[str, Any], absent: bool) -> None:
    root = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    once = portable(root, absent_for_null=absent)
    assert portable(once, absent_for_null=absent) == once
