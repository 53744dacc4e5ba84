"""Corpora that follow a dataset: each new version brings them up to date, beside the calls, again after a failure.

What follows what is a file a corpus in the data directory, with the version that was built last: when the process ends
in between, the next one sees that the dataset is ahead.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.errors import Busy, LakehouseError, NotFound, TimedOut, Unavailable, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets

log = logging.getLogger("lakehouse")
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]

FOLDER = "following"
# What a later try may get over by itself; each waits twice as long as the one before.
PASSING = (Busy, TimedOut, Unavailable, Upstream)
_FIRST_WAIT_SECS = 5.0
_LONGEST_WAIT_SECS = 600.0


@dataclass(frozen=True)
class Follower:
    """A corpus, its dataset, the version it was built from last, and why the last refresh failed."""

    dataset: str
    built: int = 0
    error: str | None = None


class Following:
    """Who follows what. A corpus is refreshed by one task at a time, which catches up with all that came meanwhile."""

    def __init__(
        self, home: Path | None, datasets: "Datasets", refresh: Callable[[str], Awaitable[object]], later: Later
    ) -> None:
        """`refresh` builds a corpus anew from its dataset's newest version, and notes it here."""
        self._folder = home / FOLDER if home is not None else Path()
        self._datasets, self._refresh, self._later = datasets, refresh, later
        self._known: dict[str, Follower] | None = None if home is not None else {}
        self._reading = anyio.Lock()
        self._wakes: dict[str, anyio.Event] = {}  # a task for each, and what tells it of more to do
        self._active: set[str] = set()
        self._changed: set[str] = set()  # of those the ones whose dataset has changed in this process
        self._ended = anyio.Event()

    async def of(self, name: str) -> Follower | None:
        """What a corpus follows, if anything."""
        return (await self._all()).get(name)

    def refreshing(self, name: str) -> bool:
        """Whether a refresh is under way or about to begin; not while one waits to be tried again."""
        return name in self._active

    async def note(self, name: str, follower: Follower | None) -> None:
        """Keep what a corpus follows; None: nothing any more. Durable when it returns."""
        known = await self._all()
        if known.get(name) == follower:
            return
        path = self._folder / f"{name}.json"
        if follower is None:
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))
            known.pop(name, None)
        else:
            data = json.dumps(asdict(follower)).encode()
            await anyio.to_thread.run_sync(lambda: files.write(path, data))
            known[name] = follower

    async def missed(self, name: str, dataset: str, error: str) -> None:
        """A build of a corpus that is to follow a dataset failed in part: it is tried again, beside the calls."""
        before = await self.of(name)
        await self.note(name, Follower(dataset, before.built if before else 0, error))
        self._start(name)

    async def changed(self, dataset: str) -> None:
        """A dataset has a new version: have what follows it refreshed, beside the calls."""
        for name in [name for name, each in (await self._all()).items() if each.dataset == dataset]:
            self._changed.add(name)
            self._start(name)

    async def resume(self) -> None:
        """Refresh what fell behind when the last process ended, or when others committed."""
        for name in [*await self._all()]:
            self._start(name)

    async def settled(self, dataset: str) -> None:
        """Wait until nothing that follows a dataset is being refreshed."""
        while self._active & {name for name, each in (await self._all()).items() if each.dataset == dataset}:
            await self._ended.wait()

    async def caught_up(self) -> None:
        """Wait until what was changed in this process has been refreshed, or has failed to be."""
        while self._changed:
            await self._ended.wait()

    def _start(self, name: str) -> None:
        self._active.add(name)
        if name in self._wakes:
            self._wakes[name].set()
            return
        self._wakes[name] = anyio.Event()
        if not self._later(lambda: self._catch_up(name)):
            self._end(name)

    def _rest(self, name: str) -> None:
        self._active.discard(name)
        self._changed.discard(name)
        self._ended.set()
        self._ended = anyio.Event()

    def _end(self, name: str) -> None:
        self._wakes.pop(name, None)
        self._rest(name)

    async def _catch_up(self, name: str) -> None:
        wait = _FIRST_WAIT_SECS
        try:
            while True:
                wake = self._wakes[name] = anyio.Event()
                failed = await self._tried(name)
                if not wake.is_set():
                    self._rest(name)
                    if not isinstance(failed, PASSING):
                        return
                    with anyio.move_on_after(wait):
                        await wake.wait()
                    self._active.add(name)
                wait = _FIRST_WAIT_SECS if wake.is_set() else min(2 * wait, _LONGEST_WAIT_SECS)
        finally:
            self._end(name)

    async def _tried(self, name: str) -> LakehouseError | None:
        """Refresh it if it is behind; what it failed with."""
        follower = await self.of(name)
        if follower is None:
            return None
        try:
            newest = await self._newest(follower.dataset)
            if newest is None:
                raise NotFound(
                    f"dataset {follower.dataset!r} is gone; the corpus stays what it was.",
                    fix="Restore the dataset, or delete the index.",
                )
            if newest != follower.built or follower.error is not None:
                await self._refresh(name)
        except LakehouseError as error:
            if error.detail != follower.error:  # `corpora list` says it as long as it holds
                log.warning("corpus.refresh_failed %s: %s", name, error.detail)
            await self.note(name, Follower(follower.dataset, follower.built, error.detail))
            return error
        return None

    async def _newest(self, dataset: str) -> int | None:
        try:
            return (await self._datasets.get(dataset)).version
        except NotFound:
            return None

    async def _all(self) -> dict[str, Follower]:
        if self._known is None:
            async with self._reading:
                if self._known is None:
                    self._known = await anyio.to_thread.run_sync(_read, self._folder)
        return self._known


def _read(folder: Path) -> dict[str, Follower]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = Follower(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            log.warning("corpus.follower_unread %s: %s", path.stem, error)  # building the corpus again writes it anew
    return found
