"""How the server is: up, ready, and in figures."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lakehouse.lake import Lakehouse
from lakehouse.preview import compact


class State:
    """/health, /ready and /metrics."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any]) -> None:
        self._lake = lake
        self._rendering = rendering

    def routes(self) -> list[Route]:
        """Their routes."""
        return [Route("/health", self.health)]

    async def health(self, _: Request) -> Response:
        """Whether the server is up; open to everybody."""
        return Response(compact({"status": "ok", "service": "lakehouse"}), media_type="application/json")
