"""JSON in answers: found, read, and held against schemas that may come from anybody."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.engine.chat import ChatReply, Message
from lakehouse.engine.chat.formats import NotOfTheSchema, formed, parsed, read
from lakehouse.engine.chat.schemas import check, faults_of
from lakehouse.errors import Unprocessable

COLOUR = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
JSONS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=4)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        ' \n{"a": 1}\n',
        '```json\n{"a": 1}\n```',
        'Here it is:\n```\n{"a": 1}\n```\nDone.',
        'I set {this} aside. The answer is {"a": 1}, I think {"b": 2}.',
    ],
)
def test_json_is_found_in_what_models_write(text: str) -> None:
    assert parsed(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "no", "{", "[" * 100_000, '{"a": NaN}', '{"a": Infinity}', "{" * 5000])
def test_what_is_no_json_is_told(text: str) -> None:
    value, faults = read(text, None)
    assert value is None and len(faults) == 1


@given(JSONS, st.sampled_from(["{}", "```json\n{}\n```", "Well:\n{}\nThat is it."]))
def test_what_is_written_around_it_changes_nothing(value: dict[str, Any], around: str) -> None:
    assert parsed(around.replace("{}", json.dumps(value))) == value


def test_faults_name_their_place() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer"}}}}
    assert faults_of({"n": [1, "2"]}, schema) == ["$.n[1]: '2' is not of type 'integer'"]
    assert len(faults_of({"n": ["x"] * 50}, schema)) == 8


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"properties": 3}, {"required": "a"}])
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable, match="no JSON Schema"):
        check(schema)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.json", "file:///etc/passwd", "#/$defs/none"])
def test_references_are_not_fetched(address: str) -> None:
    with pytest.raises(Unprocessable, match="leads nowhere"):
        faults_of({}, {"$ref": address})


def test_a_schema_that_refers_to_itself_ends() -> None:
    with pytest.raises(Unprocessable, match="itself"):
        faults_of({}, {"$ref": "#"})


def test_patterns_cannot_be_made_to_take_long() -> None:
    """With `re` each of these takes longer than the test may."""
    hostile, text = "^(a+)+$", "a" * 60 + "!"
    assert len(faults_of(text, {"pattern": hostile})) == 1
    assert faults_of({text: 1}, {"patternProperties": {hostile: {"type": "string"}}}) == []
    closed = {"patternProperties": {hostile: True}, "additionalProperties": False}
    assert faults_of({text: 1}, closed) == [f"$: there may be no {text!r}"]
    assert faults_of({"aa": 1}, closed) == []
    assert faults_of({"b": "x", "a": 1}, {"properties": {"a": True}, "additionalProperties": {"type": "integer"}}) == [
        "$.b: 'x' is not of type 'integer'"
    ]
    with pytest.raises(Unprocessable, match="RE2"):
        faults_of("x", {"pattern": "(?=x)"})


class Answers:
    """A model whose answers are given; it keeps what was put after each."""

    def __init__(self, *contents: str, enforced: bool = False) -> None:
        self.contents = list(contents)
        self.enforced = enforced
        self.heard: list[tuple[Message, ...]] = []

    async def __call__(self, more: tuple[Message, ...]) -> ChatReply:
        self.heard.append(more)
        return ChatReply(self.contents.pop(0), "m", "p", enforced=self.enforced)


@pytest.mark.anyio
async def test_faults_are_fed_back_until_the_answer_is_of_the_schema() -> None:
    model = Answers("blue", '{"colour": 3}', '{"colour": "blue"}')
    _, value = await formed(model, COLOUR)
    assert value == {"colour": "blue"}
    assert model.heard[0] == ()
    assert model.heard[1][0] == Message("assistant", "blue") and "not JSON" in model.heard[1][1].content
    assert "$.colour: 3 is not of type 'string'" in model.heard[2][1].content


@pytest.mark.anyio
async def test_there_are_three_more_answers_at_most() -> None:
    model = Answers(*["no"] * 9)
    with pytest.raises(NotOfTheSchema, match="not JSON"):
        await formed(model, COLOUR)
    assert len(model.heard) == 4


@pytest.mark.anyio
async def test_who_enforces_schemas_is_not_asked_again() -> None:
    model = Answers("no", '{"colour": "blue"}', enforced=True)
    with pytest.raises(NotOfTheSchema):
        await formed(model, COLOUR)
    assert len(model.heard) == 1
