"""Corners of the MCP face: bytes, many completions, reports out of order, a view that is read-only, odd requests."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

import lakehouse
from lakehouse import Lakehouse
from lakehouse.faces.mcp import View, mcp_server
from lakehouse.rendered import rendered

pytestmark = pytest.mark.anyio

Connect = Callable[..., AbstractAsyncContextManager[Client]]
ODD = '''\
"""Odd capabilities."""

from typing import Annotated

from pydantic import BaseModel

from lakehouse import Lakehouse, Unavailable, mode, prompt, resource, tool

BYTES = bytes(range(256))


class Values(BaseModel):
    """Completions."""

    values: list[str]


class Done(BaseModel):
    """It is done."""

    done: bool


@resource("odd://bytes", mime_type="application/octet-stream")
async def raw(lake: Lakehouse) -> bytes:
    """Bytes of every value, none of them text."""
    return BYTES


@resource("odd://bytes/{n}", mime_type="application/octet-stream")
async def some(lake: Lakehouse, n: Annotated[int, "How many."]) -> bytes:
    """The first bytes."""
    return BYTES[:n]


@resource("odd://away")
async def away(lake: Lakehouse) -> str:
    """What cannot be read now."""
    raise Unavailable("it is away.", fix="Come back later.")


@mode()
async def many(lake: Lakehouse, prefix: Annotated[str, "Typed so far."] = "") -> Values:
    """More values than an answer may hold."""
    return Values(values=[f"{prefix}{n}" for n in range(150)])


@prompt(complete={"name": "odd.many"})
async def odd_prompt(lake: Lakehouse, name: Annotated[str, "A name."]) -> str:
    """A prompt."""
    return name


@tool()
async def stumble(lake: Lakehouse) -> Done:
    """Report more than once how far it is, and once that it is less far."""
    for done in (1, 1, 3, 2, 4):
        await lake.progress(done, 4)
    return Done(done=True)


@tool("writes")
async def write(lake: Lakehouse) -> Done:
    """Write, in word only."""
    return Done(done=True)
'''


@pytest.fixture
async def lake(home: Path, tmp_path: Path) -> AsyncIterator[Lakehouse]:
    tools = tmp_path / "odd" / "tools"
    tools.mkdir(parents=True)
    (tools / "odd.py").write_text(ODD, encoding="utf-8")
    async with lakehouse.open(home, overrides={"plugins.folders": [str(tools.parent)]}) as opened:
        yield opened


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, lake: Lakehouse) -> Connect:
    @asynccontextmanager
    async def connected(view: View | None = None) -> AsyncIterator[Client]:
        rendering = await anyio.to_thread.run_sync(rendered, lake.config.plugins.folders)
        async with Client(mcp_server(lake, rendering, view), mode=request.param) as client:
            yield client

    return connected


async def test_bytes_are_a_blob(connect: Connect, lake: Lakehouse) -> None:
    """Any bytes, in the base64 alphabet clients decode; the door gives the same text to every face."""
    async with connect() as client:
        for uri, expected in (("odd://bytes", bytes(range(256))), ("odd://bytes/1", b"\0"), ("odd://bytes/0", b"")):
            (contents,) = (await client.read_resource(uri)).contents
            assert isinstance(contents, t.BlobResourceContents)
            assert base64.b64decode(contents.blob, validate=True) == expected
            assert contents.mime_type == "application/octet-stream"
    assert base64.b64decode(await lake.call("odd.raw"), validate=True) == bytes(range(256))


async def test_a_resource_that_fails_says_why_and_which(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as raised:
            await client.read_resource("odd://away")
        error = raised.value.error
        assert error.code == t.INTERNAL_ERROR and error.message == "unavailable: it is away. Come back later."
        assert error.data["uri"] == "odd://away" and error.data["problem"]["status"] == 503
        with pytest.raises(MCPError) as raised:
            await client.read_resource("odd://bytes/many")
        assert raised.value.error.code == t.INVALID_PARAMS and "n: " in raised.value.error.message


async def test_at_most_a_hundred_completions(connect: Connect) -> None:
    async with connect() as client:
        prompt = t.PromptReference(type="ref/prompt", name="odd_prompt")
        found = (await client.complete(prompt, {"name": "name", "value": "x"})).completion
        assert (len(found.values), found.total, found.has_more) == (100, 150, True)
        assert (await client.complete(prompt, {"name": "nothing", "value": "x"})).completion.values == []
        for unknown in (
            t.PromptReference(type="ref/prompt", name="nothing"),
            t.ResourceTemplateReference(type="ref/resource", uri="odd://nothing/{n}"),
        ):
            with pytest.raises(MCPError) as raised:
                await client.complete(unknown, {"name": "name", "value": ""})
            assert raised.value.error.code == t.INVALID_PARAMS


async def test_each_report_is_further_than_the_one_before(connect: Connect) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with connect() as client:
        assert not (await client.call_tool("odd_stumble", {}, progress_callback=hear)).is_error
    assert heard == [1, 3, 4]


async def test_a_view_that_is_read_only_refuses_what_it_hides(connect: Connect) -> None:
    """Also where the settings would allow it: a client that asked for less gets less."""
    async with connect(View(read_only=True)) as client:
        assert "odd_write" not in {tool.name for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("odd_write", {})
        assert refused.is_error and isinstance(refused.content[0], t.TextContent)
        assert refused.content[0].text.startswith("forbidden: ")
    async with connect() as client:
        assert not (await client.call_tool("odd_write", {})).is_error


async def test_what_we_do_not_do_is_not_promised(connect: Connect) -> None:
    """No notifications of change, no subscriptions, no log: lists say instead how long they hold."""
    async with connect() as client:
        able = client.server_capabilities
        assert able.tools is not None and able.prompts is not None and able.resources is not None
        assert not (able.tools.list_changed or able.prompts.list_changed or able.resources.list_changed)
        assert not able.resources.subscribe and able.logging is None and able.completions is not None
        resources = await client.list_resources()
        assert {"odd://bytes", "odd://away"} <= {resource.uri for resource in resources.resources}


@pytest.mark.parametrize("cursor", ["", "é", "\ud800", "MTAw" * 5000, "LTE=", "bm9uZQ==", "MS41"])
async def test_a_cursor_of_nobody(connect: Connect, cursor: str) -> None:
    """Each list refuses it, and goes on working."""
    async with connect() as client:
        listing: tuple[Callable[..., Any], ...] = (
            client.list_tools,
            client.list_prompts,
            client.list_resources,
            client.list_resource_templates,
        )
        for lists in listing:
            with pytest.raises(MCPError) as raised:
                await lists(cursor=cursor)
            assert raised.value.error.code == t.INVALID_PARAMS
            await lists()
