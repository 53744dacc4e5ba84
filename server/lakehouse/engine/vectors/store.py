"""All vector indexes of a lake: created, listed, filled, searched, deleted. Light to import; the rest is not."""

import copy
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine import moment
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import format
from lakehouse.engine.vectors.asking import Answer, Ask
from lakehouse.engine.vectors.format import Manifest, Number
from lakehouse.engine.vectors.items import (
    Added,
    Distance,
    Hit,
    IndexDamaged,
    IndexInfo,
    IndexNotFound,
    Item,
    ItemNotFound,
    check_builder,
    check_name,
)
from lakehouse.errors import InvalidInput, LakehouseError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.vectors.index import Index
    from lakehouse.engine.vectors.objects import Objects
    from lakehouse.engine.vectors.replacement import Replacement
    from lakehouse.engine.vectors.snapshot import State

Names = list[str]
Hits = list[Hit]
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]
_QUIET_SECS = 1.0  # without a new segment; then background work on an index begins
_WAIT_SECS = 15.0  # or after so many in any case
log = logging.getLogger("lakehouse")


class Vectors:
    """The vector indexes of one bucket.

    Every add and delete is durable when it returns. Searches read one immutable snapshot and never wait for writers.
    `later` starts work that outlives the call it is started in, and says whether it could: segments are merged and
    their graphs built so. Without it, only `optimise` does that.
    `problems` names the damaged indexes met so far, with the file at fault.
    """

    def __init__(
        self,
        home: Path,
        storage: Storage,
        settings: config.Vectors,
        record: Record = unrecorded,
        later: Later = lambda work: False,
    ) -> None:
        self.settings = settings
        self._record = record
        self._later = later
        self._compacting: set[str] = set()
        self.problems: dict[str, str] = {}
        self._storage = storage
        self._indexes: dict[str, Index] = {}
        self._naming: dict[str, anyio.Lock] = {}
        self._searches = anyio.CapacityLimiter(8)
        self._compactions = anyio.CapacityLimiter(2)  # processes, of all indexes
        self._checker: ThreadPoolExecutor | None = None
        self._checks: list[Future[object]] = []
        self._epochs: dict[str, int] = {}  # the last ones used here: an index may be made twice in a second
        self._own: set[str] = set()  # segments and bitmaps this process has written
        self._imported = False

    async def create(
        self,
        name: str,
        dimension: int,
        distance: Distance = "cosine",
        *,
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        model: str | None = None,
        builder: dict[str, Any] | None = None,
    ) -> IndexInfo:
        """Create an empty index. `m`, `ef_construction` and `ef_search` are kept for the graphs of large indexes.

        `model` pins the embedding model, `builder` is any JSON object about how the index is filled.

        Raises InvalidInput, and IndexExists when the name is taken.
        """
        check_name(name)
        if not 1 <= dimension <= self.settings.max_dimension:
            raise InvalidInput(
                f"dimension: {dimension} is not between 1 and {self.settings.max_dimension} (vectors.max_dimension).",
                fix="Give the number of components of your vectors.",
            )
        if distance not in ("cosine", "euclidean"):
            raise InvalidInput(f"distance: there is no {str(distance)[:40]!r}.", fix="Use cosine or euclidean.")
        for word, value, low, high in (
            ("m", m, 2, 128),
            ("ef_construction", ef_construction, 1, 10_000),
            ("ef_search", ef_search, 1, 10_000),
        ):
            if value is not None and not low <= value <= high:
                raise InvalidInput(f"{word}: {value} is not between {low} and {high}.", fix="Leave it out.")
        check_builder(builder)
        async with self._name(name):
            objects = await self._objects(name)
            from lakehouse.engine.vectors import lifecycle

            epoch = self._epochs[name] = await lifecycle.free_epoch(objects, self._epochs.get(name, 0))
            builder = copy.deepcopy(builder)
            graph = (m, ef_construction, ef_search)
            first = Manifest(Number(epoch, 1), dimension, distance, moment.now(), *graph, model, builder)
            await lifecycle.begin(objects, first)
            self._indexes.pop(name, None)
            await self._record("create", "index", name, after={"dimension": dimension, "model": model})
            return await self.get(name)

    async def replacement(self, name: str, dimension: int, model: str | None = None) -> "Replacement":
        """A new content for an index, for cosine distance, that is filled unseen and takes its place in one step.

        Until it is published the index is what it was, whatever happens; there need not be one.
        """
        objects = await self._objects(check_name(name))
        from lakehouse.engine.vectors import lifecycle, replacement

        async with self._name(name):
            epoch = self._epochs[name] = await lifecycle.later_epoch(objects, self._epochs.get(name, 0))
        first = Manifest(Number(epoch, 1), dimension, "cosine", moment.now(), model=model)

        async def publish(manifest: Manifest) -> None:
            async with self._name(name):
                await lifecycle.switch(objects, self._indexes.get(name), manifest)
                self.problems.pop(name, None)
                await self._record("replace", "index", name, after={"dimension": manifest.dimension, "model": model})
                await lifecycle.tidy(objects)

        return replacement.Replacement(objects, self._storage, first, publish)

    async def get(self, name: str) -> IndexInfo:
        """One index as it is now. Raises IndexNotFound; IndexDamaged naming the file."""
        return await self._info(await self._index(name))

    async def list(self) -> list[IndexInfo]:
        """Every index by name. A damaged one is left out and named in `problems`."""
        found = []
        for name in await self.names():
            try:
                found.append(await self.get(name))
            except (IndexNotFound, IndexDamaged):
                continue
        return found

    async def delete(self, name: str) -> None:
        """Delete an index: it is gone for everybody once this generation is stored; its objects are removed after.

        A damaged index can be deleted too. Raises IndexNotFound.
        """
        check_name(name)
        async with self._name(name):
            objects = await self._objects(name)
            from lakehouse.engine.vectors import lifecycle

            try:
                ended = await lifecycle.end(objects, self._indexes.pop(name, None))
                self._epochs[name] = max(ended, self._epochs.get(name, 0))
            except IndexNotFound:
                raise await self._missing(name) from None
            finally:
                await lifecycle.tidy(objects)
            self.problems.pop(name, None)
            await self._record("drop", "index", name)

    async def add(self, name: str, items: Sequence[Item]) -> Added:
        """Put items, all or none; an id that is there already is replaced. Metadata None keeps what is stored.

        Raises InvalidInput or TooLarge naming the position of a bad item, IndexNotFound, and Upstream when the store
        fails; then nothing has changed.
        """
        from lakehouse.engine.vectors import batch, index

        found = await self._index(name)
        manifest = (await found.state()).manifest
        checked = await anyio.to_thread.run_sync(batch.puts, items, manifest.dimension, manifest.distance)
        return await self._put(found, index.Work(checked, manifest.number.epoch))

    async def add_matrix(self, name: str, ids: Sequence[str], matrix: "np.ndarray", metadata: Sequence[Any]) -> Added:
        """The same for the rows of an (n, dimension) array, with a metadata value each.

        A large batch whose metadata are all given is written as a segment at once; it still counts as a whole or not
        at all.
        """
        from lakehouse.engine.vectors import batch, index, seal

        found = await self._index(name)
        manifest = (await found.state()).manifest
        checked = await anyio.to_thread.run_sync(
            batch.matrix, ids, matrix, metadata, manifest.dimension, manifest.distance
        )
        # Metadata to keep is known only when the log entry's turn has come; a segment must be written before.
        if len(checked) < self.settings.seal_rows or None in checked.metas:
            return await self._put(found, index.Work(checked, manifest.number.epoch))
        return await self._told(found, await seal.attach(found, checked), now=True)

    async def _put(self, index: "Index", work: Any) -> Added:
        return await self._told(index, await index.change(work))

    async def _told(self, index: "Index", work: Any, *, now: bool = False) -> Added:
        added = Added(len(work.existed) - sum(work.existed), sum(work.existed))
        await self._record("add", "index", index.name, after=vars(added))
        await self._settle(index, now=now)
        return added

    async def delete_item(self, name: str, id: str) -> None:
        """Remove one item. Raises ItemNotFound."""
        from lakehouse.engine.vectors import batch, index

        found = await self._index(name)
        manifest = (await found.state()).manifest
        gone = batch.deletes([id], manifest.dimension)
        await found.change(index.Work(gone, manifest.number.epoch, must_exist=True))
        await self._record("delete", "index", name, after={"deleted": 1})
        await self._settle(found)

    async def delete_many(self, name: str, ids: Sequence[str]) -> int:
        """Remove items in one step; the number of those that were there."""
        from lakehouse.engine.vectors import batch, index

        found = await self._index(name)
        manifest = (await found.state()).manifest
        work = await found.change(index.Work(batch.deletes(ids, manifest.dimension), manifest.number.epoch))
        if work.existed:
            await self._record("delete", "index", name, after={"deleted": len(work.existed)})
        await self._settle(found)
        return len(work.existed)

    async def get_item(self, name: str, id: str) -> Item:
        """One item with its vector (float32, a copy) and metadata. Raises ItemNotFound."""
        found = await self._index(name)
        item = await found.ask(lambda state: state.item(id))
        if item is None:
            raise ItemNotFound(f"index {name!r} has no item {id[:200]!r}.", fix="Check the id with a search.")
        return item

    async def metadata(self, name: str, ids: Sequence[str]) -> dict[str, Any]:
        """The metadata of those of the ids that are stored."""
        texts = await (await self._index(name)).ask(lambda state: state.metas(ids))
        return await anyio.to_thread.run_sync(lambda: {id: json.loads(text) for id, text in texts.items()})

    async def ids(self, name: str) -> set[str]:
        """The ids of all items."""
        state = await (await self._index(name)).state()
        return await anyio.to_thread.run_sync(state.ids)

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

        state = await (await self._index(name)).state()
        return await anyio.to_thread.run_sync(answer.of, name, state, ask, limiter=self._searches)

    async def set_builder(self, name: str, builder: dict[str, Any]) -> None:
        """Replace what is noted about how the index is filled; a new generation."""
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
        return await (await self._index(name)).state()

    async def optimise(self, name: str) -> int:
        """Merge segments and build the graphs that are missing, until nothing is left to do; in how many steps.

        Searches, adds and deletes go on. Raises IndexNotFound, IndexDamaged, and Upstream when a process or the disk
        fails; the index is as good as before then.
        """
        found = await self._index(name)
        from lakehouse.engine.vectors import compaction

        return await compaction.optimise(found, self.settings, self._compactions)

    async def _compact_later(self, index: "Index") -> None:
        """Have the index optimised beside the calls, when there is something to do and nothing has been started."""
        from lakehouse.engine.vectors import compaction

        name = index.name
        if (
            not self.settings.compaction
            or name in self._compacting
            or not await compaction.wanted(index, self.settings)
        ):
            return

        async def work() -> None:
            try:
                # Of generations that follow each other quickly, the last is worth it.
                with anyio.move_on_after(_WAIT_SECS):
                    seen = None
                    while seen != (seen := (await index.state()).manifest.number):
                        await anyio.sleep(_QUIET_SECS)
                await self.optimise(name)
            except IndexDamaged as error:
                self.problems[name] = error.detail
            except LakehouseError as error:
                log.warning("vectors.compaction_failed %s: %s", name, error)
            finally:
                self._compacting.discard(name)

        self._compacting.add(name)
        if not self._later(work):
            self._compacting.discard(name)

    async def refresh(self) -> None:
        """Take over what other processes have committed to the indexes that are open here."""
        for name, index in [*self._indexes.items()]:
            try:
                await index.refresh()
            except IndexNotFound:
                self._indexes.pop(name, None)
            except IndexDamaged as error:
                self.problems[name] = error.detail

    async def verify(self, name: str) -> Names:
        """Read every stored byte of an index against its checksums; a line for each damaged or missing file."""
        objects = await self._objects(check_name(name))
        if not await objects.generations():
            raise await self._missing(name)
        problems = await objects.verify()
        if problems:
            self.problems[name] = problems[0]
            index = self._indexes.get(name)
            if index is not None:  # opened before the damage: it is to be opened again
                async with index.committing:
                    index.forget()
        return problems

    async def checked(self) -> None:
        """Wait until the large segments opened so far have been read against their checksums."""
        await anyio.to_thread.run_sync(wait, [*self._checks])

    async def aclose(self) -> None:
        """Stop checking files, and let the indexes go."""
        if self._checker is not None:
            await anyio.to_thread.run_sync(partial(self._checker.shutdown, cancel_futures=True))
        self._indexes.clear()

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

    async def names(self) -> Names:
        """The names of all indexes; those of damaged ones, too."""
        await self._ready()
        bucket = self._storage.bucket
        found = await bucket.names(format.PREFIX)
        begun = await fan_out([partial(bucket.names, f"{format.home_of(name)}manifest/") for name in found])
        return [name for name, generations in zip(found, begun, strict=True) if generations]

    async def _index(self, name: str) -> "Index":
        found = self._indexes.get(name)
        opened = found is None or not found.is_shown
        if found is None:
            check_name(name)
            objects = await self._objects(name)
            from lakehouse.engine.vectors.index import Index

            found = self._indexes.setdefault(name, Index(name, objects, self._storage))
        try:
            await found.state()
        except IndexNotFound:
            self._indexes.pop(name, None)
            raise await self._missing(name) from None
        except IndexDamaged as error:
            self.problems[name] = error.detail
            raise
        self.problems.pop(name, None)
        if opened:
            await self._compact_later(found)
        return found

    async def _missing(self, name: str) -> IndexNotFound:
        names = [n for n in await self.names() if n != name]
        none = None if names else "There are none yet; create one."
        return IndexNotFound(f"there is no vector index called {name!r}.", fix=did_you_mean(name, names, none))

    async def _ready(self) -> None:
        if not self._imported:
            await anyio.to_thread.run_sync(_import)
            self._imported = True

    async def _objects(self, name: str) -> "Objects":
        await self._ready()
        from lakehouse.engine.vectors.objects import Objects

        return Objects(self._storage, name, self._check_later, self._own)

    def _check_later(self, check: Callable[[], object]) -> None:
        if self._checker is None:
            self._checker = ThreadPoolExecutor(1, "vector-files")
        self._checks = [check for check in self._checks if not check.done()]
        self._checks.append(self._checker.submit(check))

    async def _info(self, index: "Index") -> IndexInfo:
        state = await index.state()
        manifest = state.manifest
        return IndexInfo(
            index.name,
            manifest.dimension,
            manifest.distance,
            state.count,
            manifest.number.count,
            manifest.model,
            copy.deepcopy(manifest.builder),
        )

    def _name(self, name: str) -> anyio.Lock:
        return self._naming.setdefault(name, anyio.Lock())


def _import() -> None:
    """The first import of numpy and its friends takes a tenth of a second, which belongs in a thread."""
    from lakehouse.engine.vectors import lifecycle, seal

    assert lifecycle and seal
