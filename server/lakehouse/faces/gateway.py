"""MCP over our pipes, passed on to a server that runs elsewhere: nothing is opened here, no data directory is needed.

One POST for each message, as the protocol's Streamable HTTP has it: a request of 2026-07-28 and later says its version
itself, older ones belong to a session that begins with `initialize`. A session the server no longer knows, since it
was started anew or the session was idle for long, is begun again, and the message sent again. The standing stream of
older sessions is not opened: Lakehouse sends nothing there.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import mcp_types as t
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from lakehouse import config
from lakehouse.errors import PROBLEM_KEY, LakehouseError, Unavailable, Upstream, by_code
from lakehouse.faces.address import is_here, mcp_address
from lakehouse.faces.ending import insist_on_ending
from lakehouse.faces.stdio import Wire, pump, take_wire

SESSION_HEADER = "mcp-session-id"
CONNECTING_SECS = 3.0  # how long a server that does not answer yet is knocked at
SILENCE_SECS = 120.0  # a server that works on a request says so at least every 15
LAST_SECS = 0.5  # what is under way is given when the client has gone
_READY = t.JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")

Message = t.JSONRPCRequest | t.JSONRPCNotification | t.JSONRPCResponse | t.JSONRPCError
Deliver = Callable[[Message], Awaitable[None]]


async def _drop(message: Message) -> None:
    """Nobody waits for it."""


def pass_on(gateway: str, home: str | None, config_file: str | None, overrides: Mapping[str, Any]) -> None:
    """Serve stdin and stdout until the client goes, by asking the server at `gateway`.

    Of the settings it uses the token (`auth.token`, usually from the variable LAKEHOUSE_AUTH__TOKEN) and what of
    `server` says what a client sees. Raises InvalidInput for an address that is none.
    """
    wire = take_wire()
    settings = config.read(home, config_file, overrides).config
    server = settings.server
    url = mcp_address(gateway, "--gateway", ",".join(server.toolsets), server.read_only, server.profile)
    anyio.run(_serve, url, settings.auth.token, settings.server.max_request_bytes, wire)


async def _serve(url: str, token: str, max_line: int, wire: Wire | None) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        headers=headers | {"accept": "application/json, text/event-stream", "content-type": "application/json"},
        timeout=httpx.Timeout(SILENCE_SECS, connect=CONNECTING_SECS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
        trust_env=not is_here(url),  # no proxy stands between us and this machine
    ) as client:
        try:
            await pump(Gateway(client, url).answer, max_line, wire)
        finally:
            insist_on_ending()


@dataclass(frozen=True)
class Session:
    """What every message after the handshake of an older client carries."""

    id: str
    version: str

    def headers(self) -> dict[str, str]:
        """The session as HTTP headers."""
        held = {SESSION_HEADER: self.id, MCP_PROTOCOL_VERSION_HEADER: self.version}
        return {name: value for name, value in held.items() if value}


@dataclass(frozen=True)
class UnderWay:
    """A request that has no answer yet."""

    scope: anyio.CancelScope
    modern: bool


class Gateway:
    """Passes messages on and the answers back."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._hello: t.JSONRPCRequest | None = None
        self._session = Session("", "")
        self._renewing = anyio.Lock()
        self._under_way: dict[t.RequestId, UnderWay] = {}

    async def answer(
        self,
        reading: MemoryObjectReceiveStream[SessionMessage | Exception],
        writing: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        """Pass on what is read, until there is no more; what comes back is written as it comes."""
        async with reading, writing, anyio.create_task_group() as group:
            async for received in reading:
                if isinstance(received, SessionMessage):
                    await self._take(received.message, writing, group)
            with anyio.move_on_after(LAST_SECS):
                while self._under_way:
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        if self._session.id:
            with anyio.move_on_after(LAST_SECS / 2), suppress(httpx.HTTPError):
                await self._client.delete(self._url, headers=self._session.headers())

    async def _take(self, message: Message, writing: MemoryObjectSendStream[SessionMessage], group: TaskGroup) -> None:
        if isinstance(message, t.JSONRPCRequest):
            scope = anyio.CancelScope()
            self._under_way[message.id] = UnderWay(scope, bool(_version(message)))
            group.start_soon(self._ask, message, scope, writing)
            return
        if isinstance(message, t.JSONRPCNotification) and message.method == "notifications/cancelled":
            found = self._under_way.get((message.params or {}).get("requestId", ""))
            if found is not None and found.modern:
                found.scope.cancel()  # to close the stream is how such a request is cancelled
                return
        if self._hello is not None:
            # One after the other: the server must have heard `initialized` before the request behind it. Where nobody
            # answers, there is nobody to tell: the next request says so.
            with suppress(LakehouseError):
                await self._send(message, _drop)

    async def _ask(
        self,
        request: t.JSONRPCRequest,
        scope: anyio.CancelScope,
        writing: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        async def deliver(message: Message) -> None:
            await writing.send(SessionMessage(message))

        try:
            with scope:
                try:
                    await self._send(request, deliver)
                except LakehouseError as error:
                    await deliver(refusal(request, error))
        except anyio.BrokenResourceError:
            return  # the client has gone
        finally:
            if (found := self._under_way.get(request.id)) is not None and found.scope is scope:
                del self._under_way[request.id]

    async def _send(self, message: Message, deliver: Deliver) -> None:
        """Deliver every message that comes back for one. Raises LakehouseError where no answer comes."""
        if isinstance(message, t.JSONRPCRequest):
            if message.method == "initialize":
                self._hello, self._session = message, Session("", "")
            elif version := _version(message):
                await self._post(message, _routing(message, version), deliver)
                return
        session = self._session
        try:
            await self._post(message, session.headers(), deliver)
        except _Forgotten:
            await self._begin_again(session)
            await self._post(message, self._session.headers(), deliver)

    async def _begin_again(self, forgotten: Session) -> None:
        async with self._renewing:
            if self._session is forgotten and self._hello is not None:
                self._session = Session("", "")
                await self._post(self._hello, {}, _drop)
                await self._post(_READY, self._session.headers(), _drop)

    async def _post(self, message: Message, headers: dict[str, str], deliver: Deliver) -> None:
        body = message.model_dump_json(by_alias=True, exclude_unset=True).encode("utf-8", "replace")
        response = await self._connected(body, headers)
        waiting = isinstance(message, t.JSONRPCRequest)
        try:
            async with aclosing(_messages(response, SESSION_HEADER in headers)) as messages:
                async for back in messages:
                    if waiting and isinstance(back, t.JSONRPCResponse | t.JSONRPCError):
                        assert isinstance(message, t.JSONRPCRequest)
                        waiting = False
                        self._note(message, back, response)
                        await deliver(back.model_copy(update={"id": message.id}))
                    else:
                        await deliver(back)
        except (httpx.HTTPError, ValidationError) as error:
            raise self._lost(error) from None
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        if waiting:
            raise self._lost(None)

    async def _connected(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """The beginning of an answer. A server that does not listen yet is tried again for a while."""
        deadline = anyio.current_time() + CONNECTING_SECS
        while True:
            request = self._client.build_request("POST", self._url, content=body, headers=headers)
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if anyio.current_time() > deadline:
                    raise Unavailable(
                        f"no Lakehouse server answers at {self._url}: {error or type(error).__name__}.",
                        fix="Start it with `lakehouse serve`, or name another one with --gateway; then try again.",
                    ) from None
            except httpx.HTTPError as error:
                raise self._lost(error) from None
            await anyio.sleep(0.1)

    def _note(self, message: Message, back: t.JSONRPCResponse | t.JSONRPCError, response: httpx.Response) -> None:
        if message is self._hello and isinstance(back, t.JSONRPCResponse):
            version = back.result.get("protocolVersion", "")
            self._session = Session(response.headers.get(SESSION_HEADER, ""), str(version))

    def _lost(self, error: httpx.HTTPError | ValidationError | None) -> Upstream:
        why = "" if error is None else f": {str(error)[:200] or type(error).__name__}"
        return Upstream(
            f"the Lakehouse server at {self._url} did not finish its answer{why}.",
            fix="Whether it did what was asked is not known: see, then try again.",
        )


class _Forgotten(Exception):
    """The server knows the session no more."""


def refusal(request: t.JSONRPCRequest, error: LakehouseError) -> t.JSONRPCResponse | t.JSONRPCError:
    """The answer to a request that the server could not be asked: of a tool call a result that the model reads."""
    problem = error.problem()
    if request.method != "tools/call":
        data = t.ErrorData(code=t.INTERNAL_ERROR, message=str(error), data={"problem": problem})
        return t.JSONRPCError(jsonrpc="2.0", id=request.id, error=data)
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": str(error)}],
        "isError": True,
        "_meta": {PROBLEM_KEY: problem},
    }
    if _version(request):
        result["resultType"] = "complete"
    return t.JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)


def _version(request: t.JSONRPCRequest) -> str:
    """The protocol version a request says itself; older ones do not."""
    meta = (request.params or {}).get("_meta")
    version = meta.get(t.PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else ""


def _routing(request: t.JSONRPCRequest, version: str) -> dict[str, str]:
    headers = {MCP_PROTOCOL_VERSION_HEADER: encode_header_value(version), MCP_METHOD_HEADER: request.method}
    named = (request.params or {}).get(NAME_BEARING_METHODS.get(request.method, ""))
    if isinstance(named, str):
        headers[MCP_NAME_HEADER] = encode_header_value(named)
    return headers


async def _messages(response: httpx.Response, in_session: bool) -> AsyncGenerator[Message, None]:
    """The messages of an answer: one of JSON, or a stream of events."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code == 404 and in_session:
        raise _Forgotten
    if kind == "text/event-stream" and response.is_success:
        async with aclosing(_events(response)) as events:
            async for data in events:
                yield t.jsonrpc_message_adapter.validate_json(data, by_name=False)
        return
    if response.status_code == 202:
        return
    content = await response.aread()
    try:
        yield t.jsonrpc_message_adapter.validate_json(content, by_name=False)
    except ValidationError:
        raise _error(response, content) from None


async def _events(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The data of each event. Cut at bytes: a decoder of lines would cut at more than the format's line ends."""
    rest = b""
    data: list[bytes] = []
    async for part in response.aiter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line:
                if any(data):
                    yield b"\n".join(data)
                data = []


def _error(response: httpx.Response, content: bytes) -> LakehouseError:
    """An answer that is no message of the protocol, as the error it stands for."""
    status, url = response.status_code, response.request.url
    if status == 401:
        error = by_code("unauthorized", f"the Lakehouse server at {url} wants a token, or another one.")
        error.fix = "Set LAKEHOUSE_AUTH__TOKEN, or auth.token in the settings, to that server's."
        return error
    try:
        problem = httpx.Response(status, content=content).json()
        return by_code(problem["title"], problem["detail"], fix=problem.get("fix", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        moved = f" It leads to {response.headers['location'][:200]}." if "location" in response.headers else ""
        return Upstream(
            f"{url} answered {status}, and not as MCP servers do.{moved}",
            fix="Is it the address of a Lakehouse server?",
        )


__all__ = ["Gateway", "pass_on", "refusal"]
