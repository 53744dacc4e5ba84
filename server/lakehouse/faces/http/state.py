"""How the server is: up, ready, and in figures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import lakehouse
from lakehouse.errors import Forbidden
from lakehouse.faces.http.metrics import Metrics
from lakehouse.lake import Lakehouse
from lakehouse.lake.readiness import Part, readiness
from lakehouse.preview import compact

JSON = "application/json"


class State:
    """/health, /ready and /metrics."""

    def __init__(self, lake: Lakehouse, rendering: dict[str, Any]) -> None:
        self._lake = lake
        self._skipped: list[dict[str, str]] = rendering["skipped"]
        self.metrics = Metrics()

    def routes(self) -> list[Route]:
        """Their routes."""
        return [Route("/health", self.health), Route("/ready", self.ready), Route("/metrics", self.figures)]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Count while the block runs; the catalog is read meanwhile, so that the first question finds it there."""
        async with anyio.create_task_group() as group:
            group.start_soon(readiness, self._lake, None)
            with self.metrics.watching(self._lake):
                yield
            group.cancel_scope.cancel()

    async def health(self, _: Request) -> Response:
        """Whether the server is up; open to everybody."""
        body = {"status": "ok", "service": "lakehouse", "version": lakehouse.__version__}
        return Response(compact(body), media_type=JSON)

    async def ready(self, request: Request) -> Response:
        """Whether it can be used: 200, or 503 when something is missing without which nothing works.

        To a caller bound to a profile it says no more than that: the rest is about everybody's data.
        """
        parts = [*await readiness(self._lake), self._plugins()]
        usable = all(part.ok for part in parts if part.required)
        status = "ok" if all(part.ok for part in parts) else "degraded" if usable else "unavailable"
        bound = request.scope["lakehouse.caller"].profile is not None
        body = {"status": status, "parts": [] if bound else [asdict(part) for part in parts]}
        return Response(compact(body), 200 if usable else 503, media_type=JSON)

    async def figures(self, request: Request) -> Response:
        """Everything counted, as Prometheus reads it. Raises Forbidden for a caller bound to a profile."""
        if request.scope["lakehouse.caller"].profile is not None:
            raise Forbidden("the figures are about everybody's calls.", fix="Use a token that is bound to no profile.")
        text, kind = await anyio.to_thread.run_sync(self.metrics.text, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind})

    def _plugins(self) -> Part:
        if not self._skipped:
            return Part("plugins", True, "all are loaded", required=False)
        # Not which: that is a path of this machine.
        return Part("plugins", False, f"{len(self._skipped)} left out; `lakehouse doctor` says why", required=False)
