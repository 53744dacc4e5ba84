"""MCP over Streamable HTTP at one path: a server for each view of the catalogue that somebody asks for."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from lakehouse.declare import TOOLSETS
from lakehouse.errors import Busy, InvalidInput, LakehouseError, did_you_mean
from lakehouse.faces.http.problem import problem
from lakehouse.faces.mcp import View, chosen
from lakehouse.lake import Lakehouse
from lakehouse.observe import Caller

MAX_VIEWS = 64  # each is a server with sessions of its own


class Endpoint:
    """The ASGI app at /mcp. `?toolsets=a,b` and `?read_only=true` narrow what a client sees, as its token may."""

    def __init__(self, lake: Lakehouse, show: Callable[[View], Server[Any]]) -> None:
        self._lake = lake
        self._show = show
        self._managers: dict[View, StreamableHTTPSessionManager] = {}
        self._opening = anyio.Lock()
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve while the block runs."""
        async with anyio.create_task_group() as self._group:
            yield
            self._group.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            manager = await self._manager(self._view(scope))
        except LakehouseError as error:
            await problem(error)(scope, receive, send)
            return
        await manager.handle_request(scope, receive, send)

    def _view(self, scope: Scope) -> View:
        caller: Caller = scope["lakehouse.caller"]
        query = QueryParams(scope["query_string"])
        asked = frozenset(part for given in query.getlist("toolsets") for part in given.replace(",", " ").split())
        for name in sorted(asked):
            if name not in TOOLSETS:
                fix = did_you_mean(name, TOOLSETS, f"Known are: {', '.join(TOOLSETS)}.")
                raise InvalidInput(f"toolsets: there is none called {name[:100]!r}.", fix=fix)
        settings = chosen(self._lake)
        toolsets = asked
        for allowed in (settings.toolsets, caller.toolsets):
            if allowed:
                toolsets = toolsets & allowed if toolsets else allowed
                if not toolsets:
                    raise InvalidInput(
                        "toolsets: none of those asked for is open here.",
                        fix=f"Open are: {', '.join(sorted(allowed))}.",
                    )
        read_only = query.get("read_only", "").lower() in ("1", "true", "yes")
        return View(toolsets, settings.read_only or caller.read_only or read_only)

    async def _manager(self, view: View) -> StreamableHTTPSessionManager:
        found = self._managers.get(view)
        if found is None:
            async with self._opening:
                found = self._managers.get(view)
                if found is None:
                    if len(self._managers) >= MAX_VIEWS:
                        raise Busy("too many different choices of toolsets are in use.", fix="Use fewer.")
                    found = self._managers[view] = await self._open(view)
        return found

    async def _open(self, view: View) -> StreamableHTTPSessionManager:
        server = self._lake.config.server
        manager = StreamableHTTPSessionManager(
            self._show(view),
            session_idle_timeout=server.session_idle_secs,
            max_sessions=server.max_sessions,
            max_request_body_size=server.max_request_bytes,
        )

        async def hold(*, task_status: TaskStatus[None]) -> None:
            async with manager.run():
                task_status.started()
                await anyio.sleep_forever()

        assert self._group is not None, "the app's lifespan has not begun"
        await self._group.start(hold)
        return manager
