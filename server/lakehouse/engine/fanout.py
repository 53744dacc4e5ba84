"""Several requests at once: for stores where each takes long, and many small ones would add up."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")
AT_ONCE = 16


async def fan_out(calls: Sequence[Callable[[], Awaitable[T]]], at_once: int = AT_ONCE) -> list[T]:
    """Make the calls, so many at a time; their results in order.

    When one fails the others are cancelled, and its error leaves alone, in no exception group.
    """
    if len(calls) == 1:
        return [await calls[0]()]
    found: dict[int, T] = {}
    failed: list[Exception] = []
    room = anyio.Semaphore(at_once, fast_acquire=True)

    async def make(place: int) -> None:
        async with room:
            try:
                found[place] = await calls[place]()
            except Exception as error:  # raised again below, by itself
                failed.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for place in range(len(calls)):
            group.start_soon(make, place)
    if failed:
        raise failed[0]
    return [found[place] for place in range(len(calls))]
