"""Where long work says how far it is: what is done, of how much if that is known, and what is being done."""

from collections.abc import Awaitable, Callable

Progress = Callable[[float, float | None, str], Awaitable[None]]


async def unheard(done: float, total: float | None, message: str) -> None:
    """Nobody asked."""
