"""Errors as HTTP answers: RFC 9457 problem details with the status of the error's class, or JSON-RPC where that is
spoken."""

import mcp_types as t
from starlette.responses import Response

from lakehouse.errors import LakehouseError
from lakehouse.preview import compact


def problem(error: LakehouseError) -> Response:
    """The answer that says what happened and what to do next."""
    return Response(compact(error.problem()), error.http, _headers(error), "application/problem+json")


def rpc_problem(error: LakehouseError) -> Response:
    """The same for a client of MCP, which shows its user a JSON-RPC error and no other body."""
    code = t.INVALID_REQUEST if error.http < 500 else t.INTERNAL_ERROR
    body = {"code": code, "message": str(error), "data": error.problem()}
    return Response(
        compact({"jsonrpc": "2.0", "id": None, "error": body}), error.http, _headers(error), "application/json"
    )


def _headers(error: LakehouseError) -> dict[str, str]:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
