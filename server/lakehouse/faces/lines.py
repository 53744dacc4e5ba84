"""A line of the wire that holds no message: what the client is told, so that no request of its own waits for ever."""

import json
import re
from typing import Any

import mcp_types as types
from pydantic import ValidationError

EDGE = 1024  # bytes at either end of an over-long line in which its id is looked for

_SCALAR = rb'(?:"(?:[^"\\]|\\.)*"|[-+.\w]+)'
_ID = rb'\s*"id"\s*:\s*(' + _SCALAR + rb")\s*"
_PAIR = rb'\s*"\w+"\s*:\s*' + _SCALAR + rb"\s*"
# Clients write the id before the parameters or after them. Nothing but plain pairs lies between it and the line's
# edge, so an "id" inside the parameters is never taken for the request's.
_FIRST = re.compile(rb"\s*\{(?:" + _PAIR + rb",)*?" + _ID + rb"[,}]")
_LAST = re.compile(rb"[,{]" + _ID + rb"(?:," + _PAIR + rb")*\}\s*\Z")


def refused(line: bytes, error: ValidationError) -> types.JSONRPCError | None:
    """The answer to a line that is no JSON-RPC message; None for a notification or a response, which get none."""
    problem = error.errors(include_url=False, include_input=False)[0]
    try:
        found = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        first = _FIRST.match(line[:EDGE])
        return _error(_read(first), types.PARSE_ERROR, f"{problem['msg']}.")
    if isinstance(found, dict) and "id" not in found and "method" in found:
        return None
    if isinstance(found, dict) and "method" not in found and ("result" in found or "error" in found):
        return None
    identifier = found.get("id") if isinstance(found, dict) else None
    if problem["type"] == "json_invalid":
        return _error(identifier, types.PARSE_ERROR, f"{problem['msg']}.")
    if isinstance(found, list):
        return _error(None, types.INVALID_REQUEST, "This protocol has no batches: send each message on its own line.")
    return _error(identifier, types.INVALID_REQUEST, "The line is not a JSON-RPC 2.0 message.")


def unanswerable(line: bytes) -> types.JSONRPCError | None:
    """The answer to what was read as a notification, where its sender gave it an id, and waits; None for others."""
    if b'"id"' not in line or "id" not in json.loads(line):
        return None
    return _error(None, types.INVALID_REQUEST, "The id of a request is a string or a whole number.")


def too_long(head: bytes, tail: bytes, limit: int) -> types.JSONRPCError:
    """The answer to a line over the limit, of which only both ends were kept."""
    found = _FIRST.match(head) or _LAST.search(tail)
    return _error(
        _read(found), types.INVALID_REQUEST, f"The message is over {limit:,} bytes (server.max_request_bytes)."
    )


def _read(found: re.Match[bytes] | None) -> Any:
    try:
        return json.loads(found[1]) if found else None
    except ValueError:
        return None


def _error(identifier: Any, code: int, message: str) -> types.JSONRPCError:
    known = isinstance(identifier, int | str) and not isinstance(identifier, bool)
    return types.JSONRPCError(
        jsonrpc="2.0",
        id=identifier if known else None,
        error=types.ErrorData(code=code, message=message),
    )
