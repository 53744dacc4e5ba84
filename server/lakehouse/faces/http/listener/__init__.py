"""The HTTP server of a process: uvicorn, which stops as we want it to."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette

from lakehouse.config import Server
from lakehouse.faces.ending import insist_on_ending
from lakehouse.faces.http.listener.protocol import MAX_HEADER_BYTES, Patience, Protocol

KEEP_ALIVE = 75
FILES_KEPT = 256  # handles that connections never take from the data
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ANSWER_SECS = 3  # for what was cancelled to be answered; 0.02 do, but for a machine with much else to do


class Listener(uvicorn.Server):
    """Serves an app on sockets until SIGINT or SIGTERM.

    Then nothing more is taken, streams that only wait end, and running calls have `drain_secs` before they are
    cancelled. A second signal ends the process at once. `ready` is called when requests are answered.
    """

    def __init__(self, app: Starlette, settings: Server, ready: Callable[[], None]) -> None:
        self._leaving = asyncio.Event()
        patience = Patience(settings.header_timeout_secs, settings.body_timeout_secs, _connections())
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(Protocol, patience=patience)),
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",  # what clients do wrong is theirs; they are told
                access_log=False,
                proxy_headers=False,  # auth.trusted_proxies says whom to believe
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=cast(int, settings.drain_secs),
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            )
        )
        self._begin_drain = app.state.drain.begin
        self._drain_secs = settings.drain_secs
        self._ready = ready

    @property
    def should_exit(self) -> bool:
        """Whether it is told to stop."""
        return self._leaving.is_set()

    @should_exit.setter
    def should_exit(self, told: bool) -> None:
        if told:
            self._leaving.set()

    async def main_loop(self) -> None:
        """Wait for the end. The library looks for it, and for a new second, ten times in each."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs finish."""
        self._begin_drain()
        await super().shutdown(sockets)
        if self.server_state.tasks:  # cancelled, and not yet done: what ends the loop would cancel them again
            await asyncio.wait(set(self.server_state.tasks), timeout=ANSWER_SECS)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal. No bound method handles it: sse-starlette finds those and would break off running calls."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def handle(number: int, _: FrameType | None) -> None:
            if self.should_exit:
                os._exit(128 + number)
            loop.call_soon_threadsafe(self._stop)

        before = {number: signal.signal(number, handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        self.should_exit = True
        insist_on_ending(self._drain_secs + ANSWER_SECS)


def _connections() -> int:
    """How many may be open at once."""
    if sys.platform == "win32":
        return 512
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(64, files - FILES_KEPT) if files != resource.RLIM_INFINITY else 65_536
