"""A next build of an index that begins as what the index is, is changed unseen, and goes live in one step.

What is put goes into segments of its own; what is deleted or replaced is noted as dead in bitmaps of its own over the
index's segments, which stay as they are. Only rows of segments that the index has merged into others meanwhile are
written once more: nobody keeps those. What others add to the index meanwhile comes on top at the end.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine.vectors import batch, difference, generations, objects, seal, snapshot
from lakehouse.engine.vectors.batch import Batch
from lakehouse.engine.vectors.format import Manifest
from lakehouse.engine.vectors.generations import Spent
from lakehouse.engine.vectors.index import Index
from lakehouse.engine.vectors.items import Added, IndexDamaged, Item
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import State
from lakehouse.errors import Conflict

if TYPE_CHECKING:
    import numpy as np

_BYTES = 64 * 2**20  # of vectors waiting in memory to become a segment


class Rebuild:
    """Changed by one caller; nobody sees it before `publish`. `discard` it after a failure.

    `dimension` and `model` are the index's.
    """

    def __init__(self, index: Index, began: State, keep: int, published: Callable[[], Awaitable[None]]) -> None:
        self.dimension, self.model = began.manifest.dimension, began.manifest.model
        self._index, self._keep, self._published = index, keep, published
        self._seen = began  # the state of the index that this one is up to date with
        self._mine = began
        self._written = Spent()

    @classmethod
    async def begin(cls, index: Index, keep: int, published: Callable[[], Awaitable[None]]) -> "Rebuild":
        """Begin with what the index is now."""
        began, mine = await index.ask(_copied)
        self = cls(index, began, keep, published)
        self._mine = mine
        return self

    @property
    def count(self) -> int:
        """Items it has now."""
        return self._mine.count

    async def add_matrix(self, ids: Sequence[str], matrix: "np.ndarray", metadata: Sequence[Any]) -> Added:
        """As Vectors.add_matrix: an id that is there is replaced, metadata None keeps what is stored."""
        return await self._put(batch.matrix, ids, matrix, metadata)

    async def add(self, items: Sequence[Item]) -> Added:
        """The same for items, which need no vector."""
        return await self._put(batch.puts, items)

    async def delete_many(self, ids: Sequence[str]) -> int:
        """Remove items; the number of those that were there."""
        return sum(await self._change(batch.deletes(ids, self.dimension)))

    async def ids(self) -> set[str]:
        """The ids of all its items."""
        return await anyio.to_thread.run_sync(self._mine.ids)

    async def metadata(self, ids: Sequence[str]) -> dict[str, Any]:
        """The metadata of those of the ids that it has."""
        mine = self._mine
        return await anyio.to_thread.run_sync(lambda: {id: json.loads(text) for id, text in mine.metas(ids).items()})

    async def publish(self, builder: dict[str, Any] | None) -> None:
        """Make it the index's next generation, durably, with the facts about its making.

        What others have put into or deleted from the index since `begin` is put and deleted here too, after
        everything else. Raises Conflict when the index was swapped, replaced or deleted meanwhile, and Upstream.
        """
        index = self._index
        async with index.changing:
            while True:
                state = await index.state()
                await self._follow(state)  # most of it, while adds go on
                await self._spill(state.manifest)
                if await self._shown(builder):
                    break
        await self._published()

    async def discard(self) -> None:
        """Remove what was written, unless it was published."""
        await generations.discard(self._index, self._written)

    async def _shown(self, builder: dict[str, Any] | None) -> bool:
        index, spent = self._index, Spent()
        async with index.committing:
            with anyio.CancelScope(shield=True):
                state = await index.shown()
                await self._follow(state)
                await self._spill(state.manifest)
                try:
                    left = await generations.present(index, state, spent)
                    noted = {ref.id: ref for ref in state.manifest.segments}
                    mine = await seal.manifest_of(
                        index, _with_tombs_of(self._mine, state.manifest), seal.Merge((), ()), None
                    )
                    manifest = state.manifest.successor(
                        **generations.following(state.manifest, left, self._keep),
                        # Beside a segment there may be more by now than when this was begun.
                        segments=tuple(replace(noted.get(ref.id, ref), tomb=ref.tomb) for ref in mine.segments),
                        log_from=state.log_next.count,
                        builder=builder,
                    )
                    after = await generations.show(index, state, manifest, Spent([*spent, *self._written]))
                    if after is not None:
                        spent, self._written = Spent(), Spent()
                except IndexDamaged:
                    if not await generations.behind(index, state):
                        raise
                    await index.newest()
                    return False
                finally:
                    await generations.discard(index, spent)
        return after is not None

    async def _put(self, checked: Callable[..., Batch], *given: Any) -> Added:
        manifest = self._seen.manifest
        rows = await anyio.to_thread.run_sync(partial(checked, *given, manifest.dimension, manifest.distance))
        existed = await self._change(rows)
        return Added(len(existed) - sum(existed), sum(existed))

    async def _change(self, rows: Batch) -> list[bool]:
        self._mine, existed = await anyio.to_thread.run_sync(snapshot.changed, self._mine, rows)
        fresh = self._mine.fresh
        if fresh.live >= seal.MERGE_ROWS or fresh.count * self.dimension * 4 >= _BYTES:
            await self._spill()
        return existed

    async def _follow(self, now: State) -> None:
        """Do here what has been done to the index since this was begun, or since the last time."""
        then, index = self._seen, self._index
        if (then.manifest.number.epoch, then.manifest.build) != (now.manifest.number.epoch, now.manifest.build):
            raise Conflict(
                f"vector index {index.name!r} was swapped or made anew by another call meanwhile.", fix="Do it again."
            )
        done = await anyio.to_thread.run_sync(difference.changes, then, now)
        if len(done):
            await self._change(done)
        self._seen = now

    async def _spill(self, standing: Manifest | None = None) -> None:
        """Write the fresh rows into a segment, with those of segments that the manifest does not name any more."""
        mine = self._mine
        lost: tuple[int, ...] = ()
        if standing is not None:
            there = {ref.id for ref in objects.refs_of(standing)} | {segment.doc.id for segment in self._written}
            lost = tuple(at for at, s in enumerate(mine.sealed) if s.live and s.segment.doc.id not in there)
        _, opened = await seal.sealed(self._index, mine, lost)
        if opened is not None:
            self._written.append(opened)
        self._mine = await anyio.to_thread.run_sync(_without_fresh, mine, lost, opened)


def _copied(state: State) -> tuple[State, State]:
    """The state of an index, and the same with fresh rows of its own. The caller holds the index's memory lock."""
    fresh = state.fresh
    return state, replace(state, fresh=snapshot.seen(fresh.rows.tail(0), fresh.dead, fresh.blind))


def _without_fresh(state: State, lost: Sequence[int], opened: Segment | None) -> State:
    kept = [sealed for place, sealed in enumerate(state.sealed) if place not in lost]
    added = () if opened is None else (snapshot.Sealed(opened),)
    rows = snapshot.Fresh(state.manifest.dimension, state.manifest.distance)
    return replace(state, sealed=(*kept, *added), fresh=snapshot.seen(rows))


def _with_tombs_of(state: State, standing: Manifest) -> State:
    """The state without the bitmaps it began with that have been cleared away since."""
    there = {ref.tomb for ref in objects.refs_of(standing)}
    refs = (ref if ref.tomb in there else replace(ref, tomb=None) for ref in state.manifest.segments)
    return replace(state, manifest=replace(state.manifest, segments=tuple(refs)))
