"""Where long work says how far it is: what is done, of how much if that is known, and what is being done."""

from collections.abc import Awaitable, Callable

Progress = Callable[[float, float | None, str], Awaitable[None]]


async def unheard(done: float, total: float | None, message: str) -> None:
    """Nobody asked."""


def share(progress: Progress, begin: float, end: float) -> Progress:
    """Where a part of some work reports, that is this much of the whole, in percent."""

    async def heard(done: float, total: float | None, message: str) -> None:
        await progress(begin + (end - begin) * (done / total if total else 0.0), 100, message)

    return heard
