"""All vector indexes of a lake: created, listed, filled, searched, deleted. Light to import; the rest is not."""

import copy
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from lakehouse.engine.progress import Progress, beating, unheard
from lakehouse.engine.vectors.asking import Answer, Ask
from lakehouse.engine.vectors.builds import Builds
from lakehouse.engine.vectors.items import (
    Added,
    Hit,
    IndexDamaged,
    IndexInfo,
    IndexNotFound,
    Item,
    ItemNotFound,
    check_builder,
)
from lakehouse.errors import InvalidInput, LakehouseError

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.vectors.index import Index
    from lakehouse.engine.vectors.snapshot import State

T = TypeVar("T")
Names = list[str]
Hits = list[Hit]
log = logging.getLogger("lakehouse")


class Vectors(Builds):
    """The vector indexes of one bucket.

    Every add and delete is durable when it returns. Searches read one immutable snapshot and never wait for writers.
    Wherever an index is read, `name@n` is its generation n. `problems` names the damaged indexes met so far, with the
    file at fault.
    """

    async def list(self) -> list[IndexInfo]:
        """Every index by name. A damaged one is left out and named in `problems`."""
        found = []
        for name in await self.names():
            try:
                found.append(await self.get(name))
            except (IndexNotFound, IndexDamaged):
                continue
        return found

    async def add(self, name: str, items: Sequence[Item]) -> Added:
        """Put items, all or none; an id that is there already is replaced. Metadata None keeps what is stored.

        Raises InvalidInput or TooLarge naming the position of a bad item, IndexNotFound, and Upstream when the store
        fails; then nothing has changed.
        """
        from lakehouse.engine.vectors import batch, work

        found = await self._index(name)
        manifest = (await found.state()).manifest
        checked = await anyio.to_thread.run_sync(batch.puts, items, manifest.dimension, manifest.distance)
        return await self._put(found, work.Work(checked, manifest.number.epoch))

    async def add_matrix(self, name: str, ids: Sequence[str], matrix: "np.ndarray", metadata: Sequence[Any]) -> Added:
        """The same for the rows of an (n, dimension) array, with a metadata value each.

        A large batch whose metadata are all given is written as a segment at once; it still counts as a whole or not
        at all.
        """
        from lakehouse.engine.vectors import batch, seal, work

        found = await self._index(name)
        manifest = (await found.state()).manifest
        checked = await anyio.to_thread.run_sync(
            batch.matrix, ids, matrix, metadata, manifest.dimension, manifest.distance
        )
        # Metadata to keep is known only when the log entry's turn has come; a segment must be written before.
        if len(checked) < self.settings.seal_rows or None in checked.metas:
            return await self._put(found, work.Work(checked, manifest.number.epoch))
        return await self._told(found, await seal.attach(found, checked), now=True)

    async def revise(self, name: str, ids: Sequence[str], made: Callable[[dict[str, Any]], Sequence[Item]]) -> Added:
        """Put what is `made` of the metadata of those of the ids that are stored; where that is nothing, remove them.

        Nothing comes between, not from another process either: `made` is called again, in a worker thread, when
        another change was faster. Raises as `add` does.
        """
        from lakehouse.engine.vectors import batch, work

        found = await self._index(name)
        first = (await found.state()).manifest

        def of(state: "State") -> batch.Batch:
            items = made({id: json.loads(text) for id, text in state.metas(ids).items()})
            manifest = state.manifest
            if not items:
                return batch.deletes(ids, manifest.dimension)
            return batch.puts(items, manifest.dimension, manifest.distance)

        nothing = batch.deletes([], first.dimension)
        return await self._put(found, work.Work(nothing, first.number.epoch, made=of))

    async def _put(self, index: "Index", work: Any) -> Added:
        return await self._told(index, await index.change(work))

    async def _told(self, index: "Index", work: Any, *, now: bool = False) -> Added:
        added = Added(len(work.existed) - sum(work.existed), sum(work.existed))
        await self._record("add", "index", index.name, after=vars(added))
        await self._settle(index, now=now)
        return added

    async def delete_item(self, name: str, id: str) -> None:
        """Remove one item. Raises ItemNotFound."""
        from lakehouse.engine.vectors import batch, work

        found = await self._index(name)
        manifest = (await found.state()).manifest
        gone = batch.deletes([id], manifest.dimension)
        await found.change(work.Work(gone, manifest.number.epoch, must_exist=True))
        await self._record("delete", "index", found.name, after={"deleted": 1})
        await self._settle(found)

    async def delete_many(self, name: str, ids: Sequence[str]) -> int:
        """Remove items in one step; the number of those that were there."""
        from lakehouse.engine.vectors import batch, work

        found = await self._index(name)
        manifest = (await found.state()).manifest
        done = await found.change(work.Work(batch.deletes(ids, manifest.dimension), manifest.number.epoch))
        if done.existed:
            await self._record("delete", "index", found.name, after={"deleted": len(done.existed)})
        await self._settle(found)
        return len(done.existed)

    async def get_item(self, name: str, id: str) -> Item:
        """One item with its vector (float32, a copy) and metadata. Raises ItemNotFound."""
        item = await self._asked(name, lambda state: state.item(id))
        if item is None:
            raise ItemNotFound(f"index {name!r} has no item {id[:200]!r}.", fix="Check the id with a search.")
        return item

    async def metadata(self, name: str, ids: Sequence[str]) -> dict[str, Any]:
        """The metadata of those of the ids that are stored."""
        texts = await self._asked(name, lambda state: state.metas(ids))
        return await anyio.to_thread.run_sync(lambda: {id: json.loads(text) for id, text in texts.items()})

    async def ids(self, name: str) -> set[str]:
        """The ids of all items."""
        return await anyio.to_thread.run_sync((await self._state(name)).ids)

    async def search(self, name: str, vector: "Sequence[float] | np.ndarray", k: int = 10) -> Hits:
        """The k nearest items by distance, then id; all of them when there are fewer.

        Raises InvalidInput for a bad k or vector, IndexNotFound.
        """
        return (await self.ask(name, Ask(k, vector))).near

    async def ask(self, name: str, ask: Ask) -> Answer:
        """All that is asked for, from one snapshot. Raises InvalidInput for a bad k or vector, IndexNotFound."""
        if not 1 <= ask.k <= self.settings.max_k:
            raise InvalidInput(
                f"k: {ask.k} is not between 1 and {self.settings.max_k} (vectors.max_k).",
                fix="Ask for fewer, or raise it.",
            )
        from lakehouse.engine.vectors import answer

        state = await self._state(name)
        return await anyio.to_thread.run_sync(answer.of, name, state, ask, limiter=self._searches)

    async def set_builder(self, name: str, builder: dict[str, Any]) -> None:
        """Replace what is noted about how the index is filled. Its generation stays what it is."""
        check_builder(builder)
        found = await self._index(name)
        from lakehouse.engine.vectors import lifecycle

        while not await found.note(builder=copy.deepcopy(builder)):
            continue  # another process published; do it on top of its generation
        await lifecycle.tidy(found.objects)

    async def set_effort(self, name: str, ef_search: int) -> None:
        """Have searches in the index's graphs made with this effort from now on."""
        found = await self._index(name)
        while not await found.note(ef_search=ef_search):
            continue

    async def state(self, name: str) -> "State":
        """One snapshot of an index, to be measured."""
        return await self._state(name)

    async def optimise(self, name: str, progress: Progress = unheard) -> int:
        """Merge segments and build the graphs that are missing, until nothing is left to do; in how many steps.

        Searches, adds and deletes go on. Raises IndexNotFound, IndexDamaged, and Upstream when a process or the disk
        fails; the index is as good as before then.
        """
        found = await self._index(name)
        from lakehouse.engine.vectors import compaction

        before = found.worked
        return await beating(
            progress,
            lambda: f"{found.worked - before:,} rows put into graphs",
            partial(compaction.optimise, found, self.settings, self._compactions),
        )

    async def _settle(self, index: "Index", *, now: bool = False) -> None:
        """Seal when enough is fresh. What was added is durable already: a failure here is only logged."""
        from lakehouse.engine.vectors import seal

        if not index.wants_seal(now, self.settings.seal_rows):
            return
        try:
            await seal.seal(index)
            await self._compact_later(index)
        except LakehouseError as error:
            index.postpone_seal()
            log.warning("vectors.seal_failed %s: %s", index.name, error)

    async def _asked(self, name: str, question: "Callable[[State], T]") -> T:
        """Answer a question that looks at the fresh rows' ids."""
        index, number = await self._found(name)
        if number is None or number == (await index.state()).manifest.build:
            return await index.ask(question)
        return await anyio.to_thread.run_sync(question, await index.kept.state(number))
