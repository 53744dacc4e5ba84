"""Figures for Prometheus: what was called and answered, in a registry of this app's own."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import lakehouse
from lakehouse.lake import Lakehouse
from lakehouse.observe import Call

FACES = {"cli", "http", "mcp", "python", "workflow"}
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
OTHER = "other"  # what callers make up must not make a series each
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts calls while `watching` and responses while it is in the app's middleware."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry(auto_describe=False)
        self._calls = Counter(
            "lakehouse_calls", "Calls that ended, by their outcome.", ["capability", "face", "outcome"], registry=own
        )
        self._seconds = Histogram(
            "lakehouse_call_seconds", "How long calls took.", ["capability"], buckets=SECONDS, registry=own
        )
        self._responses = Counter("lakehouse_http_responses", "HTTP responses.", ["method", "status"], registry=own)
        self._requests = Gauge("lakehouse_http_requests_running", "HTTP requests that are answered now.", registry=own)
        self._uploads = Counter("lakehouse_uploads", "Files that were received whole.", registry=own)
        self._upload_bytes = Counter("lakehouse_upload_bytes", "Their bytes.", registry=own)
        Info("lakehouse_build", "What runs.", registry=own).info(
            {"version": lakehouse.__version__, "python": platform.python_version()}
        )
        ProcessCollector(registry=own)
        # Finding a series by its labels is 3 us.
        self._called_as = lru_cache(4096)(self._calls.labels)
        self._taken_by = lru_cache(1024)(self._seconds.labels)

    @contextmanager
    def watching(self, lake: Lakehouse) -> Iterator[None]:
        """Count the calls of a lake while the block runs."""
        lake.watchers.append(self._called)
        try:
            yield
        finally:
            lake.watchers.remove(self._called)

    def uploaded(self, size: int) -> None:
        """Count a file."""
        self._uploads.inc()
        self._upload_bytes.inc(size)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All figures, and their content type. It reads /proc: call it in a worker thread."""
        try:
            encoder, kind = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encoder, kind = choose_encoder("")
        return encoder(self.registry), kind

    def _called(self, call: Call, outcome: str, seconds: float) -> None:
        face = call.caller.via if call.caller.via in FACES else OTHER
        self._called_as(call.name, face, outcome).inc()
        self._taken_by(call.name).observe(seconds)

    def answered(self, method: str, status: int) -> None:
        """Count a response."""
        self._responses.labels(method if method in METHODS else OTHER, f"{status // 100}xx").inc()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a request that runs."""
        self._requests.inc()
        try:
            yield
        finally:
            self._requests.dec()


class Counted:
    """ASGI middleware that counts responses, those of the guard too: put it outside of everything."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(scope["method"], message["status"])
            await send(message)

        with self._metrics.running():
            await self._app(scope, receive, counted)
