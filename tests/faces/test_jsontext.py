"""A JSON file changed in one place: what is not meant keeps every byte, whatever it looks like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.faces.install.jsontext import JsonText, NotPlain

ENTRY = {"command": "lakehouse", "args": ["stdio"]}

WRITTEN = {
    "nothing": ("", '{\n  "mcpServers": {\n    "lake": 1\n  }\n}\n'),
    "an empty object": ("{}", '{\n  "mcpServers": {\n    "lake": 1\n  }\n}'),
    "others": (
        '{\n    "theme": "dark",\n    "mcpServers": {\n        "x": {}\n    },\n    "n": 1.50\n}\n',
        '{\n    "theme": "dark",\n    "mcpServers": {\n        "x": {},\n        "lake": 1\n    },\n    "n": 1.50\n}\n',
    ),
    "tabs and Windows line ends": (
        '{\r\n\t"mcpServers": {}\r\n}\r\n',
        '{\r\n\t"mcpServers": {\r\n\t\t"lake": 1\r\n\t}\r\n}\r\n',
    ),
    "a byte order mark": ("\ufeff{}\n", '\ufeff{\n  "mcpServers": {\n    "lake": 1\n  }\n}\n'),
    "one line": ('{"a":[1,2],"mcpServers":{"x":{}}}', '{"a":[1,2],"mcpServers":{"x":{}, "lake": 1}}'),
    "one line without servers": ('{"a": 1}\n', '{"a": 1, "mcpServers": {"lake": 1}}\n'),
    "an entry of its own line": (
        '{\n  "mcpServers": {"x": {}}\n}',
        '{\n  "mcpServers": {"x": {}, "lake": 1}\n}',
    ),
    "an entry that is there": (
        '{ "mcpServers":\n  { "lake" : {"old": [true]} , "x":{} } }',
        '{ "mcpServers":\n  { "lake" : 1 , "x":{} } }',
    ),
}


@pytest.mark.parametrize(("before", "after"), WRITTEN.values(), ids=WRITTEN.keys())
def test_where_and_how_an_entry_is_written(before: str, after: str) -> None:
    text = JsonText(before)
    text.put(["mcpServers", "lake"], 1)
    assert text.whole == after


def test_an_entry_is_indented_as_the_file_is() -> None:
    text = JsonText('{\n\t"mcpServers": {\n\t\t"x": 1\n\t}\n}\n')
    text.put(["mcpServers", "lake"], ENTRY)
    written = json.dumps({"mcpServers": {"x": 1, "lake": ENTRY}}, indent="\t") + "\n"
    assert text.whole == written


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "1", "null", '"x"', "{", "}", "{} {}", '{"a": 1,}', '{"a": 1 // one\n}', "/* x */ {}", "{'a': 1}"),
        *('{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\n"}', '{"mcpServers": {"x": 1, "x": 2}}', "{" * 100_000, "a: 1"),
    ],
)
def test_what_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(NotPlain):
        JsonText(text)


@pytest.mark.parametrize("text", ['{"mcpServers": []}', '{"mcpServers": null}', '{"mcpServers": "x"}'])
def test_a_list_in_the_place_of_the_servers_is_refused(text: str) -> None:
    with pytest.raises((NotPlain, TypeError)):
        JsonText(text).put(["mcpServers", "lake"], ENTRY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n  "inputs": [\n    1\n  ]\n}'),
        ('{\n  "inputs": []\n}', '{\n  "inputs": [\n    1\n  ]\n}'),
        ('{\n  "inputs": [\n    {"id":  "x"}\n  ]\n}', '{\n  "inputs": [\n    {"id":  "x"},\n    1\n  ]\n}'),
        ('{\n  "inputs": [ 5 ]\n}', '{\n  "inputs": [ 5, 1 ]\n}'),
        ('{"inputs":[]}', '{"inputs":[1]}'),
        ('{"inputs":[5]}', '{"inputs":[5, 1]}'),
    ],
)
def test_an_item_is_put_at_the_end(before: str, after: str) -> None:
    text = JsonText(before)
    text.append("inputs", 1)
    assert text.whole == after


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=5), values, max_size=4)


@pytest.mark.slow
@given(
    root=objects,
    servers=st.none() | objects,
    name=st.text(min_size=1, max_size=5),
    indent=st.sampled_from([None, 0, 1, 2, 4, "\t"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    ascii_only=st.booleans(),
)
def test_everything_else_stays(
    root: dict[str, Any],
    servers: dict[str, Any] | None,
    name: str,
    indent: int | str | None,
    newline: str,
    ascii_only: bool,
) -> None:
    """Whatever the file holds and however it is written: afterwards it says the same and the entry, and no byte of the
    rest is gone, unless it was the entry's."""
    root.pop("mcpServers", None)
    if servers is not None:
        root["mcpServers"] = servers
    before = json.dumps(root, indent=indent, ensure_ascii=ascii_only).replace("\n", newline)
    text = JsonText(before)
    text.put(["mcpServers", name], ENTRY)
    expected = {**root, "mcpServers": {**(servers or {}), name: ENTRY}}
    assert json.loads(text.whole) == expected and list(json.loads(text.whole)) == list(expected)
    if name not in (servers or {}):
        kept = alike(before, text.whole) + alike(before[::-1], text.whole[::-1])
        assert kept >= len(before), "something was put in, and nothing else changed"


def alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_names_that_look_like_others_are_told_apart() -> None:
    before = '{"a": "\\"mcpServers\\": {}", "mcp\\u0053ervers": {"x": "}{"}}'
    text = JsonText(before)
    text.put(["mcpServers", "lake"], 1)
    assert text.whole == '{"a": "\\"mcpServers\\": {}", "mcp\\u0053ervers": {"x": "}{", "lake": 1}}'
