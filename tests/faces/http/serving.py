"""A server on a real port, and what the tests of it ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx

import lakehouse
from lakehouse import Lakehouse
from lakehouse.faces.http import http_app
from lakehouse.faces.http.listener import Listener
from lakehouse.faces.http.listener.bind import address, listening
from lakehouse.rendered import rendered

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = "application/json, text/event-stream"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}
PROBE = '''\
"""Tools that show a test what only the server knows."""

import anyio
from pydantic import BaseModel

from lakehouse import Lakehouse, Upstream, tool


class Who(BaseModel):
    """Who calls."""

    via: str
    remote: bool
    read_only: bool
    toolsets: list[str]


class Done(BaseModel):
    """How it went."""

    done: int


@tool(toolset="core")
async def caller(lake: Lakehouse) -> Who:
    """Say who calls."""
    who = lake.caller
    return Who(via=who.via, remote=who.remote, read_only=who.read_only, toolsets=sorted(who.toolsets))


@tool("writes", toolset="admin")
async def change(lake: Lakehouse) -> Done:
    """Change nothing, as something that writes."""
    return Done(done=1)


@tool(toolset="admin")
async def quote(lake: Lakehouse, text: str) -> Done:
    """Fail with a text."""
    raise Upstream(f"somebody said {text}", fix=text)


@tool(toolset="admin")
async def gate(lake: Lakehouse, folder: str, linger: float = 0) -> Done:
    """Write `began` into a folder, then wait for `go` there; write `cancelled` and `cleaned` when it is cancelled."""
    place = anyio.Path(folder)
    try:
        await (place / "began").touch()
        await lake.progress(1, 2, "half")
        while not await (place / "go").exists():
            await anyio.sleep(0.01)
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await (place / "cancelled").touch()
            await anyio.sleep(linger)
            await (place / "cleaned").touch()
        raise
    return Done(done=2)
'''


def probe(folder: Path) -> Path:
    """A project folder with the tools above as probe.*."""
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "tools" / "probe.py").write_text(PROBE, encoding="utf-8")
    return folder


@dataclass
class Served:
    """A running server."""

    url: str
    lake: Lakehouse
    listener: Listener
    client: httpx.AsyncClient

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def rest(self, name: str, arguments: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """A call by POST /v1/call/{name}."""
        return await self.client.post(f"/v1/call/{name}", json=arguments or {}, headers=headers)

    async def rpc(
        self, method: str, params: dict[str, Any] | None = None, path: str = "/mcp", **headers: str
    ) -> httpx.Response:
        """One JSON-RPC request of the era without a handshake."""
        return await self.client.post(path, **modern(method, params, **headers))

    async def tool(self, name: str, arguments: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """A call of an MCP tool in that era."""
        return await self.rpc("tools/call", {"name": name, "arguments": arguments or {}}, **headers)

    async def open_session(self, path: str = "/mcp", **headers: str) -> httpx.Response:
        """The request that opens a session of the handshake era."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        return await self.client.post(path, json=message, headers={"accept": ACCEPT, **headers})


def modern(method: str, params: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """What httpx needs to send one request of the era without a handshake. A header given as "" is left out."""
    params = {**(params or {}), "_meta": META}
    all_headers = {"accept": ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": method}
    if "name" in params:
        all_headers["mcp-name"] = params["name"]
    elif "uri" in params:
        all_headers["mcp-name"] = params["uri"]
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "json": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        "headers": {name: value for name, value in all_headers.items() if value},
    }


@asynccontextmanager
async def serving(home: Path, **settings: Any) -> AsyncIterator[Served]:
    """Serve a data directory; settings as server__bind="…"."""
    overrides = {"embed.provider": "hash", "server.bind": "127.0.0.1:0"}
    overrides |= {name.replace("__", "."): value for name, value in settings.items()}
    async with lakehouse.open(home, overrides=overrides) as lake:
        rendering = await anyio.to_thread.run_sync(rendered, lake.config.plugins.folders)
        sockets = await anyio.to_thread.run_sync(listening, lake.config, {"LH_ALLOW_NON_LOOPBACK": "1"})
        url = address(sockets, lake.config.server.bind)
        ready = anyio.Event()
        failure: Exception | None = None
        listener = Listener(http_app(lake, rendering), lake.config.server, ready.set)
        async with anyio.create_task_group() as group, httpx.AsyncClient(base_url=url, verify=False) as client:
            group.start_soon(listener.serve, sockets)
            await ready.wait()
            try:
                yield Served(url, lake, listener, client)
            except Exception as error:
                failure = error  # it leaves alone, in no group, once the server has ended
            finally:
                listener.should_exit = True
        if failure is not None:
            raise failure
