"""Where long work says how far it is: what is done, of how much if that is known, and what is being done."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

BEAT_SECS = 2.0
T = TypeVar("T")
Progress = Callable[[float, float | None, str], Awaitable[None]]


async def unheard(done: float, total: float | None, message: str) -> None:
    """Nobody asked."""


def share(progress: Progress, begin: float, end: float) -> Progress:
    """Where a part of some work reports, that is this much of the whole, in percent."""

    async def heard(done: float, total: float | None, message: str) -> None:
        await progress(begin + (end - begin) * (done / total if total else 0.0), 100, message)

    return heard


async def beating(progress: Progress, doing: Callable[[], str], work: Callable[[], Awaitable[T]]) -> T:
    """Do work whose end nobody can tell, and say every two seconds for how many it has run, and what is `doing`.

    A client that hears nothing takes a call for dead, most after a minute. An error of the work leaves alone, in no
    exception group.
    """
    found: list[T] = []
    failed: list[Exception] = []

    async def beat() -> None:
        begun = anyio.current_time()
        while True:
            await anyio.sleep(BEAT_SECS)
            await progress(round(anyio.current_time() - begun, 3), None, doing())

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        try:
            found.append(await work())
        except Exception as error:  # raised again below, by itself
            failed.append(error)
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return found[0]
