"""MCP over Streamable HTTP at one path: a server for each view of the catalogue that somebody asks for."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lakehouse.declare import TOOLSETS
from lakehouse.errors import Busy, InvalidInput, LakehouseError, did_you_mean
from lakehouse.faces.http.drain import Drain
from lakehouse.faces.http.endpoint.reply import Reply, too_large
from lakehouse.faces.http.endpoint.sessions import Sessions
from lakehouse.faces.http.problem import rpc_problem
from lakehouse.faces.mcp import View, chosen
from lakehouse.lake import Lakehouse, access
from lakehouse.observe import Caller

CHOICES = ("toolsets", "read_only", "profile")
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")
MAX_VIEWS = 64  # each is a server with sessions of its own
_HANDSHAKE = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)
_LISTEN = b"subscriptions/listen"


def _ours(record: logging.LogRecord) -> bool:
    """Whether a log record of the SDK tells of more than a client that hung up, which it logs with a traceback."""
    return record.exc_info is None or not isinstance(record.exc_info[1], ClientDisconnect)


logging.getLogger("mcp.server.streamable_http").addFilter(_ours)


class _Shown:
    """The server of one view while somebody uses it."""

    def __init__(self, manager: StreamableHTTPSessionManager, idle_secs: float) -> None:
        self.manager = manager
        self.sessions = Sessions(idle_secs)
        self.running = 0
        self.unused = anyio.Event()


class Endpoint:
    """The ASGI app at /mcp. `?toolsets=a,b` and `?read_only=true` narrow what a client sees, as its token may;
    `?profile=eu` binds it to the datasets of a profile."""

    def __init__(self, lake: Lakehouse, show: Callable[[View], Server[Any]], drain: Drain) -> None:
        self._lake = lake
        self._show = show
        self._drain = drain
        self._settings = lake.config.server
        self._shown: dict[View, _Shown] = {}
        self._opening = anyio.Lock()
        self._group: TaskGroup | None = None
        self._view = lru_cache(256)(self._view_of)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve while the block runs."""
        async with anyio.create_task_group() as self._group:
            yield
            self._group.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        version, session = headers.get(b"mcp-protocol-version"), headers.get(b"mcp-session-id")
        listened = headers.get(b"mcp-method") == _LISTEN
        caller: Caller = scope["lakehouse.caller"]
        shakes_hands = version is None or version in _HANDSHAKE
        try:
            if scope["method"] == "POST":
                self._check(headers)
            view, profile = self._view(scope["query_string"], caller.toolsets, caller.read_only)
            if profile:
                scope["lakehouse.caller"] = access.choosing(caller, profile)
            shown = await self._find(view)
            if shakes_hands and session is None and scope["method"] == "POST":
                self._check_room()
        except LakehouseError as error:
            await rpc_problem(error)(scope, receive, send)
            return
        limit = self._settings.max_request_bytes
        shown.running += 1
        try:
            if not shakes_hands:
                reply = Reply(scope, send, limit)
                await (self._until_drained if listened else _handle)(shown, scope, receive, reply)
            else:
                reply = Reply(scope, send, limit, partial(_follow, shown.sessions, scope["method"], session))
                with shown.sessions.request(session):
                    await (self._until_drained if scope["method"] == "GET" else _handle)(shown, scope, receive, reply)
        finally:
            shown.running -= 1

    def _check(self, headers: dict[bytes, bytes]) -> None:
        """Raises for what the body's headers alone rule out, before any of it is read."""
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise InvalidInput("MCP messages are JSON.", fix="Send the header Content-Type: application/json.")
        length, limit = headers.get(b"content-length", b""), self._settings.max_request_bytes
        if length.isdigit() and int(length) > limit:
            raise too_large(limit)

    def _check_room(self) -> None:
        if sum(len(shown.sessions) for shown in self._shown.values()) >= self._settings.max_sessions:
            raise Busy(
                f"{self._settings.max_sessions} MCP sessions are open, as many as may be.",
                fix="End one, use protocol version 2026-07-28, which needs none, or raise server.max_sessions.",
            )

    async def _until_drained(self, shown: _Shown, scope: Scope, receive: Receive, reply: Reply) -> None:
        """A stream that waits for what may happen: it ends when the server does."""
        async with anyio.create_task_group() as group:

            async def end() -> None:
                await self._drain.wait()
                group.cancel_scope.cancel()

            group.start_soon(end)
            await _handle(shown, scope, receive, reply)
            group.cancel_scope.cancel()
        await reply.finish()

    def _view_of(self, query_string: bytes, toolsets: frozenset[str], read_only: bool) -> tuple[View, str]:
        """What is shown, and the profile that is chosen, if any."""
        query = QueryParams(query_string)
        for name in query:
            if name not in CHOICES:  # a misspelt choice would show everything
                fix = did_you_mean(name, CHOICES, f"Known are: {', '.join(CHOICES)}.")
                raise InvalidInput(f"{name[:100]}: there is no such choice at this address.", fix=fix)
        asked = frozenset(part for given in query.getlist("toolsets") for part in given.replace(",", " ").split())
        for name in sorted(asked):
            if name not in TOOLSETS:
                fix = did_you_mean(name, TOOLSETS, f"Known are: {', '.join(TOOLSETS)}.")
                raise InvalidInput(f"toolsets: there is none called {name[:100]!r}.", fix=fix)
        settings = chosen(self._lake)
        shown = asked
        for allowed in (settings.toolsets, toolsets):
            if allowed:
                shown = shown & allowed if shown else allowed
                if not shown:
                    raise InvalidInput(
                        "toolsets: none of those asked for is open here.",
                        fix=f"Open are: {', '.join(sorted(allowed))}.",
                    )
        said = {value.lower() for value in query.getlist("read_only")}
        if not said <= {*YES, *NO}:
            raise InvalidInput("read_only: it is neither true nor false.", fix="Write read_only=true.")
        profiles = set(query.getlist("profile"))
        if len(profiles) > 1 or "" in profiles:
            raise InvalidInput("profile: one name is wanted.", fix="Write profile=eu, once.")
        return View(shown, settings.read_only or read_only or not said.isdisjoint(YES)), "".join(profiles)

    async def _find(self, view: View) -> _Shown:
        found = self._shown.get(view)
        if found is None:
            async with self._opening:
                found = self._shown.get(view)
                if found is None:
                    self._make_room()
                    found = self._shown[view] = await self._open(view)
        return found

    def _make_room(self) -> None:
        """Close a view that nobody uses, the oldest, when there are as many as may be."""
        if len(self._shown) < MAX_VIEWS:
            return
        for view, shown in self._shown.items():
            if not shown.running and not len(shown.sessions):
                shown.unused.set()
                del self._shown[view]
                return
        raise Busy("too many different choices of toolsets are in use.", fix="Use fewer.")

    async def _open(self, view: View) -> _Shown:
        manager = StreamableHTTPSessionManager(
            await anyio.to_thread.run_sync(self._show, view),
            session_idle_timeout=self._settings.session_idle_secs,
            max_sessions=self._settings.max_sessions,
            max_request_body_size=self._settings.max_request_bytes,
        )
        shown = _Shown(manager, self._settings.session_idle_secs)

        async def hold(*, task_status: TaskStatus[None]) -> None:
            async with manager.run():
                task_status.started()
                await shown.unused.wait()

        assert self._group is not None, "the app's lifespan has not begun"
        await self._group.start(hold)
        return shown


async def _handle(shown: _Shown, scope: Scope, receive: Receive, reply: Reply) -> None:
    await shown.manager.handle_request(scope, receive, reply)


def _follow(sessions: Sessions, method: str, asked: bytes | None, status: int, named: bytes | None) -> None:
    """What an answer that begins says of its session. Only a request without one opens one: an answer still on its
    way when the session is ended names it, too."""
    if asked is not None:
        if status == 404 or (method == "DELETE" and status == 200):
            sessions.ended(asked)
    elif named is not None and status < 400:
        sessions.opened(named)
