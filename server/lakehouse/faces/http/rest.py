"""The service API: a route for each capability, and one door to all of them."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lakehouse.errors import InvalidInput, LakehouseError
from lakehouse.faces.http.problem import problem
from lakehouse.lake import Lakehouse
from lakehouse.preview import compact

JSON = "application/json"


class Rest:
    """Routes below /v1."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any]) -> None:
        self._lake = lake
        self._tools = rendering["tools"]

    def routes(self) -> list[Route]:
        """Every route, the door to all of them last."""
        return [
            *(Route(spec["route"], self._handler(spec), methods=[spec["method"]]) for spec in self._tools),
            Route("/v1/call/{capability}", self.any, methods=["POST"]),
        ]

    def exception_handlers(self) -> Mapping[Any, Callable[..., Any]]:
        """How errors are answered."""

        async def known(_: Request, error: Exception) -> Response:
            assert isinstance(error, LakehouseError)
            return problem(error)

        return {LakehouseError: known}

    def _handler(self, spec: dict[str, Any]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            arguments = {**request.query_params, **await _body(request), **request.path_params}
            return await self._call(request, spec["name"], arguments, spec["status"])

        return handle

    async def any(self, request: Request) -> Response:
        """Any capability by name, its arguments as a JSON object."""
        return await self._call(request, request.path_params["capability"], await _body(request), 200)

    async def _call(self, request: Request, name: str, arguments: Any, status: int) -> Response:
        value = await self._lake.call(name, arguments, caller=request.scope["lakehouse.caller"])
        return Response(compact(value), status, media_type=JSON)


async def _body(request: Request) -> Any:
    text = await request.body()
    try:
        return from_json(text) if text else {}
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}.", fix='Send {"name": value}.') from None
