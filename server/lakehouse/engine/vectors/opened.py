"""The vector indexes of a bucket as this process has them open. Light to import; what it works with is not."""

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import format
from lakehouse.engine.vectors.items import IndexDamaged, IndexNotFound, at, check_live, check_name
from lakehouse.errors import LakehouseError, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.vectors.index import Index
    from lakehouse.engine.vectors.objects import Objects
    from lakehouse.engine.vectors.snapshot import State

Names = list[str]  # inside the classes made of this one, `list` is a method
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]
_QUIET_SECS = 1.0  # without a new segment; then background work on an index begins
_WAIT_SECS = 15.0  # or after so many in any case
log = logging.getLogger("lakehouse")


class Opened:
    """Indexes are opened when they are first named, and stay open.

    `later` starts work that outlives the call it is started in, and says whether it could: segments are merged and
    their graphs built so. Without it, only `optimise` does that.
    """

    bound = False  # to a profile, which has some of the indexes

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
        self._problems: dict[str, str] = {}
        self._storage = storage
        self._indexes: dict[str, Index] = {}
        self._naming: dict[str, anyio.Lock] = {}
        self._searches = anyio.CapacityLimiter(8)
        self._compactions = anyio.CapacityLimiter(2)  # processes, of all indexes
        self._checker: ThreadPoolExecutor | None = None
        self._checks: list[Future[object]] = []
        self._epochs: dict[str, int] = {}  # the last ones used here: an index may be made twice in a second
        self._own: set[str] = set()  # segments and bitmaps this process has written
        self._doubtful: set[str] = set()  # those of which it is not known whether a manifest names them
        self._imported = False

    @property
    def problems(self) -> dict[str, str]:
        """The damaged indexes met so far, and the file at fault."""
        return self._problems

    async def names(self) -> Names:
        """The names of all indexes; those of damaged ones, too."""
        bucket = self._storage.bucket
        found = await bucket.names(format.PREFIX)
        begun = await fan_out([partial(bucket.names, f"{format.home_of(name)}manifest/") for name in found])
        return [name for name, generations in zip(found, begun, strict=True) if generations]

    async def refresh(self) -> None:
        """Take over what other processes have committed to the indexes that are open here."""
        for name, index in [*self._indexes.items()]:
            try:
                await index.refresh()
            except IndexNotFound:
                self._indexes.pop(name, None)
            except IndexDamaged as error:
                self._problems[name] = error.detail

    async def verify(self, name: str) -> Names:
        """Read every stored byte of an index against its checksums; a line for each damaged or missing file."""
        objects = await self._objects(check_name(name))
        if not await objects.generations():
            raise await self._missing(name)
        problems = await objects.verify()
        if problems:
            self._problems[name] = problems[0]
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

    async def _index(self, name: str) -> "Index":
        """An index to be changed, or the live generation of one. Raises what `check_live` does, and IndexNotFound."""
        found = self._indexes.get(name)
        opened = found is None or not found.is_shown
        if found is None:
            check_live(name)
            objects = await self._objects(name)
            from lakehouse.engine.vectors.index import Index

            found = self._indexes.setdefault(name, Index(name, objects, self._storage))
        try:
            await found.state()
        except IndexNotFound:
            self._indexes.pop(name, None)
            raise await self._missing(name) from None
        except IndexDamaged as error:
            self._problems[name] = error.detail
            raise
        self._problems.pop(name, None)
        if opened:
            await self._compact_later(found)
        return found

    async def _state(self, name: str) -> "State":
        """What a reader of `name`, or `name@n`, is answered from."""
        index, number = await self._found(name)
        return await (index.state() if number is None else index.kept.state(number))

    async def _found(self, name: str) -> "tuple[Index, int | None]":
        """The index a reader names, and the generation, if one is named."""
        base, number = at(name)
        return await self._index(base), number

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
                await compaction.optimise(index, self.settings, self._compactions)
            except IndexNotFound:
                return  # it was deleted meanwhile
            except IndexDamaged as error:
                self._problems[name] = error.detail
            except LakehouseError as error:
                log.warning("vectors.compaction_failed %s: %s", name, error)
            finally:
                self._compacting.discard(name)

        self._compacting.add(name)
        if not self._later(work):
            self._compacting.discard(name)

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

        return Objects(self._storage, name, self._check_later, self._own, self._doubtful)

    def _check_later(self, check: Callable[[], object]) -> None:
        if self._checker is None:
            self._checker = ThreadPoolExecutor(1, "vector-files")
        self._checks = [check for check in self._checks if not check.done()]
        self._checks.append(self._checker.submit(check))

    def _name(self, name: str) -> anyio.Lock:
        return self._naming.setdefault(name, anyio.Lock())


def _import() -> None:
    """The first import of numpy and its friends takes a tenth of a second, which belongs in a thread."""
    from lakehouse.engine.vectors import generations, rebuild

    assert generations and rebuild
