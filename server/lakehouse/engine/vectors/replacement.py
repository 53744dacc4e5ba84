"""A new content for an index, written beside it and put in its place by one create-only generation.

Its segments carry a later epoch than the index has, and nothing names them before the generation does that replaces
the index. A crash in between leaves segments that the next replacement removes.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import batch
from lakehouse.engine.vectors.batch import Batch
from lakehouse.engine.vectors.format import Manifest, SegmentRef
from lakehouse.engine.vectors.items import Item
from lakehouse.engine.vectors.objects import Objects
from lakehouse.engine.vectors.seal import MERGE_ROWS, put
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

_BYTES = 64 * 2**20  # of vectors waiting in memory to become a segment


class Replacement:
    """Filled by one caller, a batch at a time; nobody sees it before `publish`. `discard` it after a failure."""

    def __init__(
        self, objects: Objects, storage: Storage, first: Manifest, publish: Callable[[Manifest], Awaitable[None]]
    ) -> None:
        self.dimension = first.dimension
        self._objects, self._storage = objects, storage
        self._first, self._publish = first, publish
        self._ids: set[str] = set()
        self._waiting: list[Batch] = []
        self._segments: list[SegmentRef] = []

    async def add_matrix(self, ids: Sequence[str], matrix: "np.ndarray", metadata: Sequence[Any]) -> int:
        """Add items that are not there yet, with the rows of an (n, dimension) array; how many.

        Raises InvalidInput or TooLarge naming the bad one.
        """
        first = self._first
        return await self._take(
            await anyio.to_thread.run_sync(batch.matrix, ids, matrix, metadata, first.dimension, first.distance)
        )

    async def add(self, items: Sequence[Item]) -> int:
        """The same for items, which need no vector."""
        first = self._first
        return await self._take(await anyio.to_thread.run_sync(batch.puts, items, first.dimension, first.distance))

    async def publish(self, builder: dict[str, Any] | None) -> None:
        """Put it in the index's place, durably, with the facts about its making; further adds go to the index.

        Raises Conflict when another call has made or replaced the index since this one was begun, and Upstream.
        """
        await self._write()
        await self._publish(replace(self._first, created=moment.now(), builder=builder, segments=tuple(self._segments)))
        self._segments = []

    async def discard(self) -> None:
        """Remove what was written, unless it was published."""
        self._waiting.clear()
        while self._segments:
            await self._objects.remove_segment(self._segments.pop().id)

    async def _take(self, rows: Batch) -> int:
        again = next((id for id in rows.ids if id in self._ids), None)
        if again is not None:
            raise InvalidInput(f"id: {again[:200]!r} occurs twice.", fix="Give each item an id of its own.")
        self._ids.update(rows.ids)
        self._waiting.append(rows)
        if sum(len(b) for b in self._waiting) >= MERGE_ROWS or sum(b.vectors.nbytes for b in self._waiting) >= _BYTES:
            await self._write()
        return len(rows)

    async def _write(self) -> None:
        if self._waiting:
            whole = await anyio.to_thread.run_sync(batch.joined, self._waiting)
            self._segments.append(await put(self._objects, self._storage, whole, self._first))
            self._waiting = []
