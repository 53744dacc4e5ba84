"""Errors as HTTP answers: RFC 9457 problem details with the status of the error's class."""

from starlette.responses import Response

from lakehouse.errors import LakehouseError
from lakehouse.preview import compact


def problem(error: LakehouseError) -> Response:
    """The answer that says what happened and what to do next."""
    body = error.problem()
    headers = {"Retry-After": str(body["retry_after"])} if "retry_after" in body else {}
    if error.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(compact(body), error.http, headers, "application/problem+json")
