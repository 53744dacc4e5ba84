"""Query processes: a few at work, one spare that is warm, each replaced when it is killed."""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.sql.processes import Processes
from lakehouse.errors import LakehouseError, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Manifest

MODULE = "lakehouse.engine.sql.worker"
MAX_THREADS = 4  # of one process; under an address space limit each costs room
_TRIES = 2  # somebody may kill a process while it starts; no query has run then


@dataclass(frozen=True)
class Visible:
    """The datasets queries see: the number of this set, its views as a query process takes them, and the versions."""

    number: int
    views: Sequence[Mapping[str, Any]]
    manifests: "Mapping[str, Manifest]"


@dataclass
class Worker:
    """One query process and its private folder. `sound` is False from a request until its answer is whole."""

    child: Child
    folder: Path
    number: int
    ready: bool = False
    sound: bool = True


@dataclass
class Counts:
    """How many processes were started, killed or lost, and sets of datasets given to them."""

    started: int = 0
    ended: int = 0
    loaded: int = 0


@dataclass
class Pool:
    """Hands out query processes, one caller each.

    Whoever asks for one first takes one of the places in `processes.slots`, and keeps it as long as the process.
    """

    scratch: Path
    settings: config.Sql
    hidden: Sequence[str]
    processes: Processes
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.processes.join(self)
        self.used_at = time.monotonic()
        self._idle: list[Worker] = []
        self._alive: dict[int, Worker] = {}
        self._starting = 0
        self._verified: dict[str, list[int]] = {}

    @property
    def size(self) -> int:
        """How many processes there are, those that are being started included."""
        return len(self._alive) + self._starting

    @property
    def pids(self) -> list[int]:
        """The processes there are."""
        return [worker.child.pid for worker in self._alive.values()]

    @asynccontextmanager
    async def worker(self, visible: Visible) -> AsyncIterator[Worker]:
        """A process that sees this set, for the caller alone; it is ended when the block leaves it in mid-answer.

        Raises Upstream when no process can be started.
        """
        self.used_at = time.monotonic()
        worker = await self._take(visible)
        try:
            if not self._idle and self.processes.room:
                with suppress(Upstream):  # a query that has its process does not fail for want of a spare
                    self._idle.append(await self._start(visible))
            yield worker
        finally:
            if worker.sound and worker.child.alive:
                self._idle.append(worker)
            else:
                await self._end(worker)

    def learn(self, verified: Mapping[str, list[int]]) -> None:
        """Remember which files a process found intact, so that the next ones need not read them again."""
        self._verified.update(verified)

    async def end_idle(self) -> bool:
        """End one process that has no query; False when there is none."""
        if not self._idle:
            return False
        await self._end(self._idle.pop(0))
        return True

    async def aclose(self) -> None:
        """End all processes."""
        self.processes.leave(self)
        for worker in list(self._alive.values()):
            await self._end(worker)
        self._idle.clear()

    async def _take(self, visible: Visible) -> Worker:
        await self.processes.make_room(self, needed=not self._idle)
        while self._idle:
            worker = self._idle.pop()
            if worker.child.alive and await self._prepared(worker, visible):
                return worker
            await self._end(worker)
        for _ in range(_TRIES):
            worker = await self._start(visible)
            if await self._prepared(worker, visible):
                return worker
            await self._end(worker)
        raise _no_process("it ended at once")

    async def _prepared(self, worker: Worker, visible: Visible) -> bool:
        """Wait until a process is up, and give it this set; False when it died."""
        try:
            if not worker.ready:
                await worker.child.receive()
                worker.ready = True
            if worker.number != visible.number:
                await worker.child.send({"views": visible.views})
                worker.number = visible.number
                self.counts.loaded += 1
        except ChildDied:
            return False
        except BaseException:
            await self._end(worker)
            raise
        return True

    async def _start(self, visible: Visible) -> Worker:
        self._starting += 1
        try:
            folder = await anyio.to_thread.run_sync(self._new_folder)
            try:
                child = await Child.start(MODULE, self._setup(folder, visible))
            except BaseException:
                await _remove(folder)
                raise
        except (OSError, ChildDied) as error:
            raise _no_process(getattr(error, "strerror", None) or "it ended at once") from error
        finally:
            self._starting -= 1
        worker = Worker(child, folder, visible.number)
        self._alive[id(worker)] = worker
        self.counts.started += 1
        self.counts.loaded += 1
        return worker

    def _setup(self, folder: Path, visible: Visible) -> dict[str, Any]:
        settings = self.settings
        paths = {path for view in visible.views for path, *_ in view["files"]}
        self._verified = {path: mark for path, mark in self._verified.items() if path in paths}
        return {
            "folder": str(folder),
            "address_space": settings.address_space,
            "limits": {
                "threads": min(MAX_THREADS, os.cpu_count() or 1),
                "memory": settings.memory_limit,
                "spill_bytes": settings.max_spill_bytes,
                "seconds": max(settings.timeout_secs, settings.export_timeout_secs),
            },
            "hidden": list(self.hidden),
            "verified": self._verified,
            "views": visible.views,
        }

    def _new_folder(self) -> Path:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="sql-", dir=self.scratch))

    async def _end(self, worker: Worker) -> None:
        with anyio.CancelScope(shield=True):
            await worker.child.aclose()
            await _remove(worker.folder)
        if self._alive.pop(id(worker), None) is not None:
            self.counts.ended += 1


async def _remove(folder: Path) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _no_process(why: str) -> LakehouseError:
    return Upstream(
        f"no query process could be started: {why}.",
        fix="Check memory and process limits, and that sql.address_space is not too small; the log has details.",
    )
