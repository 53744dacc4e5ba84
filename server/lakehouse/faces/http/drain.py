"""The end of a server as its parts see it: what only waits ends at once, what runs has a while to finish."""

from collections.abc import Callable

import anyio


class Drain:
    """Whether the server stops. Streams that only wait for something to happen watch it."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        """`told` is called when the server begins to stop."""
        self._event = anyio.Event()
        self._told = told

    @property
    def began(self) -> bool:
        """Whether no new work is taken."""
        return self._event.is_set()

    def begin(self) -> None:
        """The server stops."""
        self._told()
        self._event.set()

    async def wait(self) -> None:
        """Return when the server stops."""
        await self._event.wait()
