"""An answer of the MCP transport on its way out: its bare refusals become ones that say what to do."""

from collections.abc import Callable

from starlette.types import Message, Scope, Send

from lakehouse.errors import InvalidInput, LakehouseError, TooLarge
from lakehouse.faces.http.problem import rpc_problem


class _NotAllowed(InvalidInput):
    """Another HTTP method."""

    http = 405


class _NotAcceptable(InvalidInput):
    """An Accept header that allows no answer."""

    http = 406


class Reply:
    """An ASGI `send` that knows what has been said. `begins` hears status and session before the client does."""

    def __init__(
        self, scope: Scope, send: Send, limit: int, begins: Callable[[int, bytes | None], None] | None = None
    ) -> None:
        self.status: int | None = None
        self._begins = begins
        self._scope = scope
        self._send = send
        self._limit = limit
        self._replaced = False
        self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message.get("headers", ()))
            self.status = message["status"]
            if self._begins is not None:
                self._begins(self.status, headers.get(b"mcp-session-id"))
            if self.status >= 400 and not headers.get(b"content-type", b"").startswith(b"application/json"):
                await self._replace(headers)
                return
        elif self._replaced:
            return
        else:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """End a stream that was broken off on purpose."""
        if self.status is not None and not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _replace(self, headers: dict[bytes, bytes]) -> None:
        self._replaced = self._ended = True
        assert self.status is not None
        answer = rpc_problem(self._error(self.status))
        kept = [(b"allow", headers[b"allow"])] if b"allow" in headers else []
        start = {"type": "http.response.start", "status": self.status, "headers": [*answer.raw_headers, *kept]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": answer.body})

    def _error(self, status: int) -> LakehouseError:
        if status == 405:
            said = f"{self._scope['method']} does nothing here at this protocol version."
            return _NotAllowed(said, fix="Send MCP messages with POST.")
        if status == 406:
            return _NotAcceptable(
                "the answer may be JSON or a stream of events, and the request accepts only one of them, or neither.",
                fix="Send the header Accept: application/json, text/event-stream.",
            )
        if status == 413:
            return too_large(self._limit)
        return InvalidInput("the request is no MCP message over HTTP.", fix="Use a client of Streamable HTTP.")


def too_large(limit: int) -> TooLarge:
    """A message over the limit."""
    return TooLarge(f"the message is larger than {limit:,} bytes.", fix="Send less, or raise server.max_request_bytes.")
