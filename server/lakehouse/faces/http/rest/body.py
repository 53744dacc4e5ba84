"""Bodies of requests: read within a limit, and JSON where JSON is due."""

from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from lakehouse.errors import InvalidInput, TooLarge

_AT_ONCE = 2**18  # JSON of more bytes is read in a thread: 64 MiB take half a second


async def pieces(receive: Receive, headers: Headers, limit: int, fix: str) -> AsyncIterator[bytes]:
    """The body, piece by piece.

    Raises TooLarge before the first when the request says it is over `limit` bytes, and else when it is.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(f"{int(declared)} bytes are", limit, fix)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise too_large("it is", limit, fix)
        if piece:
            yield piece
        more = message.get("more_body", False)


def too_large(what: str, limit: int, fix: str) -> TooLarge:
    """The error for a body over its limit."""
    return TooLarge(f"the body: {what} over the limit of {limit} bytes.", fix=fix)


async def json_of(receive: Receive, headers: Headers, limit: int) -> dict[str, Any]:
    """The JSON object in a body of at most `limit` bytes; {} when there is no body. Of a name given twice the last
    value holds, as over MCP.

    Raises InvalidInput for another content type, for what is not JSON (NaN is not) and for what is no object.
    """
    text = b"".join([piece async for piece in pieces(receive, headers, limit, "Send less at a time.")])
    if not text:
        return {}
    kind = media_type(headers)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InvalidInput(
            f"the body: its content type is {kind[:100] or 'missing'}.", fix="Send it as application/json."
        )
    plain(headers)
    try:
        value = await anyio.to_thread.run_sync(_parsed, text) if len(text) > _AT_ONCE else _parsed(text)
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}.", fix='Send {"name": value}.') from None
    if not isinstance(value, dict):
        raise InvalidInput("the body is JSON, but no object.", fix='Send {"name": value}.')
    return value


def media_type(headers: Headers) -> str:
    """The content type without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def plain(headers: Headers) -> None:
    """Raises InvalidInput for a compressed body."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise InvalidInput(f"the body: its content encoding is {coding[:100]}.", fix="Send it as it is.")


def _parsed(text: bytes) -> Any:
    return from_json(text, allow_inf_nan=False)
