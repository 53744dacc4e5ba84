"""Workflows as a part of the lake: found, checked, started, watched, and gone on with."""

import copy
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.workflows.checks import check
from lakehouse.engine.workflows.language import SHELL_KINDS, Loaded, Source, load
from lakehouse.engine.workflows.library import Library, Surroundings
from lakehouse.engine.workflows.model import Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.problems import CannotRun, Problem
from lakehouse.engine.workflows.references import checked_inputs
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.run import execute
from lakehouse.engine.workflows.runs import NodeRecord, RunRecord, Starter, Store
from lakehouse.engine.workflows.runs.store import unknown_run
from lakehouse.errors import Conflict, Unavailable

Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


@dataclass(frozen=True)
class RunState:
    """A run and its nodes, in the order of the file. `live`: this process runs it now."""

    record: RunRecord
    nodes: tuple[NodeRecord, ...]
    live: bool


class Workflows:
    """Workflow files and their runs. One process owns a data directory, so that no run is run twice."""

    def __init__(
        self, home: Path, settings: config.Workflows, folders: Callable[[], Sequence[Path]], door: Door, later: Later
    ) -> None:
        """`folders` hold `workflows/`, the least important first; `door` is what nodes call through."""
        self._home = home / "runs"
        self._settings = settings
        self._door = door
        self._later = later
        self.library = Library(folders)
        self.store = Store(self._home)
        self._live: dict[str, Live] = {}
        self._profile: str | None = None

    async def load(self, name: str, definition: str | None = None) -> tuple[Source, Loaded]:
        """A workflow by name, or a text given. Raises NotFound; what is wrong with it stands in Loaded."""

        def read() -> tuple[Source, Loaded]:
            source = self.library.find(name) if definition is None else Source(name, definition)
            return source, load(source, Surroundings(self.library, source.path))

        return await anyio.to_thread.run_sync(read)

    async def start(
        self,
        name: str,
        starter: Starter,
        *,
        definition: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        message: str = "",
    ) -> RunRecord:
        """Begin a run; it goes on by itself. Raises NotFound, CannotRun, InvalidInput for inputs, Unavailable."""
        source, loaded = await self.load(name, definition)
        if loaded.workflow is None:
            raise CannotRun.of(name, loaded.errors)
        errors, _ = await self.checked(loaded.workflow, starter.shell or self._open(source.path))
        if errors:
            raise CannotRun.of(name, errors)
        given = checked_inputs(loaded.workflow.inputs, inputs or {})
        bundle = {"name": source.name, "text": source.text, "path": source.path}
        record = RunRecord(
            id=_new_id(),
            workflow=loaded.workflow.name,
            bundle=bundle,
            inputs=given,
            message=message,
            starter=starter,
            started_at=time.time(),
        )
        await self.store.put_run(record)
        self._begin(record, loaded)
        return record

    async def checked(self, workflow: Workflow, shell: bool | None) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with a workflow that could be read, and what is strange. `shell`: see checks.check."""
        await self._door.ready()
        return await anyio.to_thread.run_sync(lambda: check(workflow, self._door, shell=shell))

    def _begin(self, record: RunRecord, loaded: Loaded) -> Live:
        assert loaded.workflow is not None
        if record.id in self._live:
            raise Conflict(f"run {record.id} runs already.", fix="Wait for it: workflow_status.")
        shell = self._shell(record)
        live = Live(
            record, loaded.workflow, self.store, self._door, self._settings, self._home / record.id, shell=shell
        )
        self._live[record.id] = live

        async def work() -> None:
            try:
                await execute(live)
            finally:
                del self._live[record.id]
                live.heard.set()

        if not self._later(work):
            del self._live[record.id]
            raise Unavailable("this lake is closed.", fix="Open it again.")
        return live

    def _shell(self, record: RunRecord) -> bool:
        return record.starter.shell or self._open(record.bundle["path"])

    def _open(self, path: str) -> bool:
        """Whether bash is open to somebody far away: where the text is a file of this machine, and that is set."""
        return self._settings.allow_shell and bool(path)

    async def wait(self, run: str, seconds: float, progress: Progress = unheard) -> RunState:
        """The run once it has ended or pauses, or as it is after so many seconds."""
        with anyio.move_on_after(seconds):
            while (live := self._live.get(run)) is not None:
                heard = live.heard
                done = sum(node.status in ("completed", "failed", "skipped") for node in live.nodes.values())
                await progress(done, len(live.workflow.nodes), _doing(live))
                await heard.wait()
        return await self.state(run)

    async def state(self, run: str) -> RunState:
        """A run as it is now. Raises NotFound."""
        live = self._live.get(run)
        if live is not None:
            return RunState(self._visible(live.record), tuple(live.nodes.values()), True)
        record = self._visible(await self.store.run(run))
        return RunState(record, tuple((await self.store.nodes(run)).values()), False)

    def _visible(self, record: RunRecord) -> RunRecord:
        if self._profile is not None and record.starter.profile != self._profile:
            raise unknown_run(record.id)
        return record

    def within(self, profile: str) -> "Workflows":
        """The same for callers bound to a profile: they see the runs of that profile."""
        bound = copy.copy(self)
        bound._profile = profile
        return bound

    async def aclose(self) -> None:
        """Close the file of runs. What still runs was cancelled with the lake, and can be resumed."""
        await self.store.aclose()


def _doing(live: Live) -> str:
    return ", ".join(node.path for node in live.nodes.values() if node.status == "running")


def _new_id() -> str:
    return f"{time.time_ns() // 1000:014x}{os.urandom(4).hex()}"


__all__ = ["SHELL_KINDS", "RunState", "Workflows"]
