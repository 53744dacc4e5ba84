"""An event loop in a thread of its own, for libraries that compute on theirs or leave tasks behind."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")
CLOSING_SECS = 5.0


class Elsewhere:
    """Runs coroutines over there; the thread starts with the first, and ends with `aclose` or the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = anyio.Lock()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine returns or raises. Cancelling cancels it there, and does not wait for that."""
        async with self._starting:
            if self._loop is None:
                self._loop = await anyio.to_thread.run_sync(self._started)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), self._loop))

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name=self._name, daemon=True)
        self._thread.start()
        return loop

    async def aclose(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what still runs there, run `last`, and end the thread. Where none was started, do nothing."""
        with anyio.CancelScope(shield=True):
            async with self._starting:
                loop, self._loop = self._loop, None
                if loop is not None:
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_emptied(last), loop))
                    await anyio.to_thread.run_sync(self._ended, loop)

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(loop.stop)
        assert self._thread is not None
        self._thread.join(CLOSING_SECS)
        if not self._thread.is_alive():
            loop.close()


async def _emptied(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.wait(others, timeout=CLOSING_SECS) if others else None
    with anyio.move_on_after(CLOSING_SECS):
        await last()
