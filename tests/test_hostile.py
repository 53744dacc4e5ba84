"""Every tool against hostile arguments: an answer or an error of the table; no crash, no hang, no partial write."""

import math
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
import pytest
from mcp import Client

from lakehouse import Lakehouse, LakehouseError
from lakehouse.catalogue import Catalogue
from lakehouse.declare import Capability
from lakehouse.faces.mcp import mcp_server
from lakehouse.rendered import render

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    math.nan,
    math.inf,
    "",
    " ",
    "\x00",
    "a\nb\r\x1b[2J",
    "../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "file:///etc/passwd",
    "'; DROP TABLE x; --",
    '"',
    "\ud800",
    "é" * 3000,
    "x" * 100_000,
    "lakehouse://results/../../x",
    [],
    [None],
    ["", "\x00"],
    [math.nan, math.inf],
    [[1, 2], [3]],
    [{"id": "", "vector": []}],
    [{"id": "a", "vector": [math.nan]}],
    {},
    {"": None},
    {"a": {"b": DEEP}},
    DEEP,
]
GOOD: dict[str, Any] = {
    "name": "thing",
    "dimension": 2,
    "sql": "SELECT 1",
    "index": "thing",
    "id": "a",
    "vector": [1.0, 0.0],
    "items": [{"id": "a", "vector": [1.0, 0.0]}],
    "texts": ["a"],
    "key": "notes/a",
    "text": "a",
    "query_text": "a",
    "objects": [{"key": "notes/a"}],
}
TOOLS = Catalogue().public()


def good(capability: Capability) -> dict[str, Any]:
    """Arguments that are right, so that a single wrong one is what is refused."""
    return {
        name: GOOD[name] for name, f in capability.arguments.model_fields.items() if f.is_required() and name in GOOD
    }


async def refused_or_answered(lake: Lakehouse, name: str, arguments: Any) -> None:
    try:
        await lake.call(name, arguments, via="mcp")
    except LakehouseError as error:
        assert error.code != "internal", (name, str(arguments)[:200], str(error))
        assert len(str(error)) < 5000 and "Traceback" not in str(error), str(error)[:300]
        str(error).encode("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("capability", TOOLS, ids=lambda c: c.name)
async def test_each_parameter(lake: Lakehouse, capability: Capability, tmp_path: Path) -> None:
    """A-S2-2: whatever stands in one parameter, the rest being right."""
    before = {p.name for p in tmp_path.iterdir()}
    with anyio.fail_after(60):
        for parameter in capability.arguments.model_fields:
            for value in HOSTILE:
                await refused_or_answered(lake, capability.name, good(capability) | {parameter: value})
        for value in HOSTILE:
            await refused_or_answered(lake, capability.name, value)
        await refused_or_answered(lake, capability.name, good(capability) | {"\x00": 1, "x" * 10_000: 2})
    assert {p.name for p in tmp_path.iterdir()} - before <= {"home"}
    assert (await lake.call("datasets.list"))["count"] == len(await lake.datasets.names())  # it still answers


@pytest.mark.slow
async def test_over_the_protocol(lake: Lakehouse) -> None:
    """The same over MCP: a result, isError where it is one, and the server goes on."""
    rendering = await anyio.to_thread.run_sync(render, await lake.load())
    async with Client(mcp_server(lake, rendering)) as client:
        for capability in TOOLS:
            for value in ({}, {"nothing_like_it": 1}, {name: "\x00" for name in capability.arguments.model_fields}):
                result = await client.call_tool(capability.mcp_name, value)
                assert isinstance(result.content[0], t.TextContent)
                assert not result.content[0].text.startswith("internal"), (capability.name, result.content[0].text)


async def test_half_a_character_in_an_answer_becomes_a_question_mark(lake: Lakehouse) -> None:
    """A caller in Python can send a lone surrogate, and over HTTP in the 2026 era; JSON cannot carry it back."""
    answer = await lake.call("fixture.echo", {"value": {"a\ud800": ["b\udfff"]}})
    value, text = await lake.fitted(answer, 1000)
    assert value == {"value": {"a?": ["b?"]}} and text == b'{"value":{"a?":["b?"]}}'
    assert await lake.fitted({"passed on as it came": "\ud800"}, 1000) == (
        {"passed on as it came": "?"},
        b'{"passed on as it came":"?"}',
    )
