"""Objects that commits name, or once named, are removed or copied, never both at a time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from lakehouse.errors import Busy


class Removals:
    """Who removes such objects of a data directory's buckets, and who copies all of them."""

    def __init__(self) -> None:
        self._removing = 0
        self._copying = False
        self._quiet = anyio.Event()

    @contextmanager
    def removing(self) -> Iterator[bool]:
        """Remove what nothing needs, if the block is given True: with False a copy is being made, and it has to wait
        for another time. Several may remove at once."""
        if self._copying:
            yield False
            return
        self._removing += 1
        try:
            yield True
        finally:
            self._removing -= 1
            if not self._removing:
                self._quiet.set()

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[None]:
        """Copy; what is there stays until the block ends. Waits for removals under way. Raises Busy for a second."""
        if self._copying:
            raise Busy("a backup of this data directory is being made.", fix="Wait until it is done.", retry_after=30)
        self._copying = True
        try:
            while self._removing:
                self._quiet = anyio.Event()
                await self._quiet.wait()
            yield
        finally:
            self._copying = False
