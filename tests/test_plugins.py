"""Tools and modes of strangers through the door: what they raise, and who may call what."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import mcp_types as t
import pytest
from mcp import Client

import lakehouse
from lakehouse import Lakehouse, LakehouseError, NotFound
from lakehouse.faces.mcp import mcp_server
from lakehouse.observe import Caller
from lakehouse.rendered import render

pytestmark = pytest.mark.anyio

SOURCE = '''
"""Tools that do what none should."""
import sys
from typing import Annotated
from pydantic import BaseModel
from lakehouse import Lakehouse, mode, resource, tool


class Odd(BaseException):
    """Nobody catches this."""


class Out(BaseModel):
    """Out."""
    x: int


@tool()
async def leave(lake: Lakehouse, how: Annotated[str, "How."]) -> Out:
    """End it all."""
    match how:
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "odd": raise Odd("the secret reason")
        case "group": raise BaseExceptionGroup("all", [SystemExit(1)])
        case "text": return "text"
        case "none": return None
        case "other": return Out.model_construct(x="no number")
        case "object": return {"x": object()}
    return Out(x=1)


@mode()
async def step(lake: Lakehouse, prefix: Annotated[str, "Text."] = "") -> dict[str, list[str]]:
    """A step."""
    return {"values": [prefix + "!"]}


@mode()
async def names(lake: Lakehouse, prefix: str = "") -> dict[str, list[str]]:
    """What completes."""
    return {"values": [prefix + "!"]}


@tool()
async def through(lake: Lakehouse) -> dict[str, list[str]]:
    """A tool that uses a step."""
    return await lake.call("odd.step", {"prefix": "a"})


@resource("odd://{name}", complete={"name": "odd.names"})
async def one(lake: Lakehouse, name: str) -> str:
    """One."""
    return name


@mode()
async def unlisted(lake: Lakehouse, prefix: str = "") -> dict[str, int]:
    """No values at all."""
    return {"other": 1}


@resource("odd://listed/{name}/x", complete={"name": "odd.unlisted"}, listed=True)
async def two(lake: Lakehouse, name: str) -> str:
    """Two."""
    return name
'''


@pytest.fixture
async def odd(tmp_path: Path, home: Path) -> AsyncIterator[Lakehouse]:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "odd.py").write_text(SOURCE, encoding="utf-8")
    async with lakehouse.open(home, overrides={"plugins.folders": [tmp_path]}) as lake:
        yield lake


@pytest.mark.parametrize("how", ["exit", "interrupt", "odd", "group", "text", "none", "other", "object"])
async def test_a_call_fails_by_itself_and_the_next_one_works(
    odd: Lakehouse, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A-S2-6, also for what is no Exception: the caller sees the call's id, the log what it was."""
    with caplog.at_level(logging.ERROR, "lakehouse"), pytest.raises(LakehouseError) as raised:
        await odd.call("odd.leave", {"how": how})
    assert type(raised.value) is LakehouseError and "secret" not in str(raised.value)
    (line,) = [r for r in caplog.records if r.getMessage().startswith("call.crashed")]
    assert line.getMessage().split()[-1].rstrip(")") in raised.value.detail and line.exc_info
    assert await odd.call("odd.leave", {"how": "well"}) == {"x": 1}


@pytest.mark.slow
async def test_a_mode_is_not_called_from_outside(odd: Lakehouse) -> None:
    """Only what runs here may use it: programs and people of this machine, and other capabilities."""
    for via in ("mcp", "http"):
        with pytest.raises(NotFound, match=r"odd\.step is a mode"):
            await odd.call("odd.step", {"prefix": "a"}, via=via)
        with pytest.raises(NotFound, match=r"odd\.step is a mode"):
            await odd.answer("odd.step", {"prefix": "a"}, 1000, caller=Caller(via=via))
        assert await odd.call("odd.through", via=via) == {"values": ["a!"]}
    for via in ("python", "cli", "workflow"):
        assert await odd.call("odd.step", {"prefix": "a"}, via=via) == {"values": ["a!"]}


async def test_a_mode_completes(odd: Lakehouse) -> None:
    async with Client(mcp_server(odd, render(odd.catalogue))) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert "odd_through" in listed and "odd_step" not in listed
        refused = await client.call_tool("odd_leave", {"how": "exit"})
        assert refused.is_error and "internal: odd.leave failed (call " in json.dumps(refused.model_dump(mode="json"))
        assert (await client.call_tool("odd_leave", {"how": "well"})).structured_content == {"x": 1}
        assert "odd://" not in str((await client.list_resources()).resources)  # a list without values is an empty one
        asked = t.ResourceTemplateReference(type="ref/resource", uri="odd://{name}")
        assert (await client.complete(asked, {"name": "name", "value": "b"})).completion.values == ["b!"]
        assert await odd.call("odd.names", {"prefix": "b"}, via="http") == {"values": ["b!"]}  # it is open that way too
