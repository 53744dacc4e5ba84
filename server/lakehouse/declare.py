"""A capability is an async function with types and a docstring. Everything a face needs is derived from it here."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, create_model

from lakehouse.config import MIB, Toolset
from lakehouse.schema import portable
from lakehouse.transfer import Accepts, Download, Upload

Effect = Literal["reads", "writes", "destroys"]
TOOLSETS: tuple[str, ...] = get_args(Toolset)
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
_BASE64 = Annotated[bytes, PlainSerializer(lambda data: base64.b64encode(data).decode("ascii"), when_used="json")]


@dataclass(frozen=True)
class Facts:
    """What a decorator attaches to a function."""

    kind: Literal["tool", "mode", "resource", "prompt", "download"]
    effect: Effect = "reads"
    name: str = ""
    route: str = ""
    uri: str = ""
    title: str = ""
    toolsets: tuple[str, ...] = ("core",)
    long: bool = False
    idempotent: bool = False
    short: str = ""
    short_defaults: Mapping[str, Any] | None = None  # what the short word gives where the caller says nothing
    mime_type: str = "application/json"
    complete: Mapping[str, str] | None = None
    listed: bool = False
    status: int = 200
    max_body: int = 4 * MIB
    tells: bool = False  # of data, by its very name and description: not shown to callers bound to a profile
    formats: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Capability:
    """One thing Lakehouse can do. `name` is dotted: the file it lives in, then the function."""

    name: str
    run: Callable[..., Awaitable[Any]]
    facts: Facts
    origin: str

    @property
    def effect(self) -> Effect:
        return self.facts.effect

    @property
    def public(self) -> bool:
        return self.facts.kind == "tool"

    @property
    def mcp_name(self) -> str:
        """The tool name: the declared one, else the dotted name with underscores. A prompt's is its function's."""
        if self.facts.kind == "prompt":
            return self.name.rpartition(".")[2]
        return self.facts.name or self.name.replace(".", "_")

    @property
    def method(self) -> str:
        """The HTTP method of its route: POST, unless the declared route begins with another."""
        return self.facts.route.rpartition(" ")[0] or "POST"

    @property
    def route(self) -> str:
        """The path of its route; `{name}` parts are arguments, and `{name:path}` may hold slashes."""
        return self.facts.route.rpartition(" ")[2] or "/v1/" + self.name.replace(".", "/").replace("_", "-")

    @property
    def command(self) -> list[str]:
        """The words of the command line: group, then command."""
        return self.name.replace("_", "-").split(".")

    @property
    def title(self) -> str:
        return self.facts.title or self.mcp_name.replace("_", " ").capitalize()

    @property
    def description(self) -> str:
        return inspect.getdoc(self.run) or ""

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The parameters after the first (the open lake) as a strict pydantic model.

        Raises TypeError for a signature no face can offer: no lake, a parameter without a type, `*args`.
        """
        hints = get_type_hints(self.run, include_extras=True)
        fields: dict[str, Any] = {}
        upload = self.upload
        parameters = list(inspect.signature(self.run).parameters.values())
        if not parameters:
            raise TypeError(f"{self.name} takes no parameter; the first one is the open lake")
        for parameter in parameters[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"{self.name}: {parameter} cannot be given by name")
            if parameter.name not in hints:
                raise TypeError(f"{self.name}: {parameter.name} has no type")
            if upload is not None and parameter.name == upload[0]:
                continue  # a file comes beside the arguments
            hint, words = hints[parameter.name], None
            if get_origin(hint) is Annotated:
                words = next((m for m in get_args(hint)[1:] if isinstance(m, str)), None)
            if _counts(hint):
                hint = Annotated[hint, BeforeValidator(_not_a_truth_value)]
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hint, Field(default, description=words))
        config = ConfigDict(extra="forbid", allow_inf_nan=False)
        return create_model(self.name, __config__=config, **fields)

    @cached_property
    def upload(self) -> tuple[str, Accepts] | None:
        """The parameter that takes a file sent over HTTP, and how much it takes.

        Raises TypeError for more than one, and for one that does not say how much.
        """
        hints = get_type_hints(self.run, include_extras=True)
        found = [(name, hint) for name, hint in hints.items() if name != "return" and _is_upload(hint)]
        if not found:
            return None
        accepts = [m for m in get_args(found[0][1])[1:] if isinstance(m, Accepts)]
        if len(found) > 1 or not accepts:
            raise TypeError(f"{self.name}: one parameter may be `Annotated[Upload | None, Accepts(...)]`")
        return found[0][0], accepts[0]

    @cached_property
    def returns(self) -> TypeAdapter[Any]:
        """What checks a result and makes plain JSON data of it. Raises TypeError when the function does not say."""
        hints = get_type_hints(self.run, include_extras=True)
        if "return" not in hints:
            raise TypeError(f"{self.name} does not say what it returns")
        if (self.facts.kind == "download") != (hints["return"] is Download):
            raise TypeError(f"{self.name}: what is declared with @download returns a Download, and nothing else does")
        hint: Any = hints["return"]
        return TypeAdapter(_BASE64 if hint is bytes else hint)

    @property
    def binary(self) -> bool:
        """Whether it returns bytes, which leave the door as base64 text."""
        return get_type_hints(self.run).get("return") is bytes

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The arguments as a JSON Schema that every known client accepts."""
        return portable(self.arguments.model_json_schema(), closed=True)

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The result as a JSON Schema with an object root. A field that may be None is an optional one."""
        return portable(self.returns.json_schema(mode="serialization"), absent_for_null=True)

    @cached_property
    def decodes(self) -> dict[str, bool]:
        """Per parameter, whether a string may stand for JSON: some clients send `"[1,2]"` for a list."""
        return {name: not _takes_text(schema) for name, schema in self.input_schema["properties"].items()}

    def decoded(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with stringified JSON read, where the parameter is not itself a string."""
        return {k: _read_json(v) if isinstance(v, str) and self.decodes.get(k) else v for k, v in given.items()}


def _is_upload(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return Upload in (get_args(hint) or (hint,))


def _takes_text(schema: Mapping[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_takes_text(choice) for choice in schema["anyOf"])
    return schema.get("type") not in {"array", "object", "integer", "number", "boolean"}


def _counts(hint: Any) -> bool:
    """Whether it is a number, or a number that may be None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return bool({int, float} & set(choices := get_args(hint) or (hint,))) and set(choices) <= {int, float, NoneType}


def _not_a_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")  # pydantic would take them for 1 and 0
    return value


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def tool(
    effect: Effect = "reads",
    *,
    name: str = "",
    route: str = "",
    title: str = "",
    toolset: str = "core",
    long: bool = False,
    idempotent: bool = False,
    short: str = "",
    short_defaults: Mapping[str, Any] | None = None,
    status: int = 200,
    max_body: int = 4 * MIB,
) -> Callable[[F], F]:
    """Publish a function on every face: MCP tool, REST route, command, workflow mode.

    `name` is the MCP name where existing clients know one. `route` is a path, after a method where that is not POST:
    `"GET /v1/catalog/manifest/{name}"` takes `name` from the path and the rest from the query. `status` is the HTTP
    status of success, `max_body` the bytes its JSON body may have. `long` gives it the long time limit.
    `toolset` says with which group it is shown, or with which several: `"core sql"`; the main tools are in `core`.
    `short` is the command people expect, with its positional parameters in capitals: `short="ingest PATH"` makes
    `lakehouse ingest orders.csv` work; `short_defaults` are arguments it gives where the person says nothing.

    Raises ValueError for an unknown toolset and TypeError for what is no `async def` function.
    """
    toolsets = tuple(toolset.split())
    for each in toolsets or (toolset,):
        if each not in TOOLSETS:
            raise ValueError(f"toolset {each!r} is not one of {', '.join(TOOLSETS)}")
    idempotent = idempotent or effect == "reads"
    facts = Facts("tool", effect, name, route, "", title, toolsets, long, idempotent, short)
    return _mark(replace(facts, status=status, max_body=max_body, short_defaults=short_defaults))


def download(route: str, *, title: str = "", formats: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Publish a function at a route only: it returns a Download, whose file is the answer.

    `formats` are the media types it answers with, each with the value of its parameter `format` that gives it: a
    request chooses by that parameter or its Accept header. It may then share the route of a tool, which answers
    requests that choose none.
    """
    return _mark(Facts("download", route=route, title=title, long=True, formats=formats))


def mode(effect: Effect = "reads", *, long: bool = False) -> Callable[[F], F]:
    """Offer a function to workflows only."""
    return _mark(Facts("mode", effect, long=long))


def resource(
    uri: str,
    *,
    title: str = "",
    mime_type: str = "application/json",
    complete: Mapping[str, str] | None = None,
    listed: bool = False,
) -> Callable[[F], F]:
    """Publish a function as an MCP resource; `{name}` parts of the URI are its parameters.

    It returns text, bytes (base64 text as the answer of a call), or anything JSON. `complete` names, per parameter, the
    capability that lists the possible values as `{"values": [...]}` when given `{"prefix": what has been typed}`. With
    `listed`, the resources that completion knows are listed one by one, so that people can pick them in their client.
    """
    return _mark(Facts("resource", uri=uri, title=title, mime_type=mime_type, complete=complete, listed=listed))


def prompt(*, title: str = "", complete: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Publish a function as an MCP prompt: its parameters are the prompt's arguments, it returns the text."""
    return _mark(Facts("prompt", title=title, complete=complete))


def _mark(facts: Facts) -> Callable[[F], F]:
    def mark(function: F) -> F:
        runs_on_the_loop: bool = inspect.iscoroutinefunction(function)
        if not runs_on_the_loop:
            raise TypeError(f"{getattr(function, '__name__', function)} is not an `async def` function")
        function.__lakehouse__ = facts  # type: ignore[attr-defined]
        return function

    return mark


def capabilities_in(module: Any, prefix: str) -> list[Capability]:
    """The marked functions a module, or a package's own modules, define, in the order they stand there.

    What it imports from elsewhere is not its own.
    """
    functions = [f for f in vars(module).values() if inspect.isfunction(f)]
    marked = [f for f in functions if isinstance(getattr(f, "__lakehouse__", None), Facts)]
    own = [f for f in marked if f"{f.__module__}.".startswith(f"{module.__name__}.")]
    origin = str(getattr(module, "__file__", module.__name__))
    return [Capability(f"{prefix}.{f.__name__}", f, vars(f)["__lakehouse__"], origin) for f in dict.fromkeys(own)]
