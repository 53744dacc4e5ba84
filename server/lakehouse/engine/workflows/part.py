"""Workflows as a part of the lake: found, checked, started, watched, answered, and gone on with."""

import copy
import hashlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.workflows.checks import check
from lakehouse.engine.workflows.language import SHELL_KINDS, Loaded, Source, load
from lakehouse.engine.workflows.language.bundle import child as bundled_child
from lakehouse.engine.workflows.language.bundle import pack, unpack
from lakehouse.engine.workflows.library import Library, Surroundings
from lakehouse.engine.workflows.model import Mode, Node, Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.problems import CannotRun, Problem
from lakehouse.engine.workflows.references import checked_inputs
from lakehouse.engine.workflows.running.dry import Dry, Unkept
from lakehouse.engine.workflows.running.gates import Answer, accepted, waits
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.run import execute
from lakehouse.engine.workflows.runs import NodeRecord, Planned, RunRecord, Starter, Store
from lakehouse.engine.workflows.runs.record import OVER, Failure
from lakehouse.engine.workflows.runs.store import unknown_run
from lakehouse.engine.workflows.shells import check_open, missing, needs_shell
from lakehouse.errors import Conflict, LakehouseError, Unavailable, Unprocessable, foreseen

Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]
MAX_DEPTH = 3  # workflows below workflows
MAX_REHEARSED = 32


@dataclass(frozen=True)
class RunState:
    """A run and its nodes, in the order of the file. `live`: this process runs it now."""

    record: RunRecord
    nodes: tuple[NodeRecord, ...]
    live: bool

    @property
    def status(self) -> str:
        """That of the record, and `interrupted` of a run that nobody runs."""
        return status_of(self.record, self.live)


def status_of(record: RunRecord, live: bool) -> str:
    """A run's status as it is shown: one that is `running` but that no process runs was interrupted."""
    return "interrupted" if record.status == "running" and not live else record.status


class Workflows:
    """Workflow files and their runs. One process owns a data directory, so that no run is run twice."""

    def __init__(
        self,
        home: Path,
        settings: config.Workflows,
        folders: Callable[[], Sequence[Path]],
        door: Door,
        later: Later,
        brief: Callable[[], bool] = lambda: False,
    ) -> None:
        """`folders` hold `workflows/`, the least important first; `door` is what nodes call through.

        `brief` says whether this process ends with the call it makes, so that nothing can go on in it.
        """
        self._home = home / "runs"
        self._settings = settings
        self._door = door
        self._later = later
        self._brief = brief
        self.library = Library(folders)
        self.store = Store(self._home, settings.max_output_bytes)
        self._live: dict[str, Live] = {}
        self._claimed: set[str] = set()
        self._rehearsed: dict[str, Live] = {}  # the newest dry runs
        self._broken: dict[str, Failure] = {}  # what ended runs that could not be written down
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
        background: bool = False,
        dry: Dry | None = None,
    ) -> RunRecord:
        """Begin a run; it goes on by itself, as long as the lake is open.

        `background` says that nobody waits for it. A `dry` run calls nothing and is kept nowhere: `wait` and `state`
        know of the newest. Raises NotFound, CannotRun, InvalidInput for inputs and stubs, TooLarge, Conflict for a
        background in which it cannot run, Forbidden for a shell that is not open to the starter, Unavailable.
        """
        source, loaded = await self.load(name, definition)
        if loaded.workflow is None:
            raise CannotRun.of(name, loaded.errors)
        runs_programs = dry is None or dry.exec_code
        shell = starter.shell or self._open(source.path) if runs_programs else None
        if shell is not None:
            check_open(loaded.workflow, shell)
        errors, _ = await self.checked(loaded.workflow, shell)
        if errors:
            raise CannotRun.of(name, errors)
        if background:
            self._check_background(loaded.workflow)
        return await self._started(_new_id(), pack(source, loaded), loaded, starter, inputs or {}, message, dry=dry)

    async def child(
        self,
        parent: Live,
        path: str,
        workflow: str,
        *,
        index: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        message: str = "",
    ) -> RunRecord:
        """Run a workflow below a node of a live run, and wait until it ends or pauses; the record of that run.

        Live has it as `children(path, workflow, index=…, inputs=…, message=…)`. It is a run of its own, under the
        starter's authority, whose leaf nodes share the root's places. Its id follows from the parent's, the path and
        the item's `index`: an earlier one of that id with the same inputs goes on as `resume` does, or is given back
        when it has completed (unless the node is `always_run`); one with others is forgotten. A gate in it leaves its
        status at `paused`: raise Pause then; answers to it go on with the root run, which comes by here again.
        Cancelling the task or the parent cancels it. Raises NotFound, CannotRun, InvalidInput, Unprocessable when it
        would lie over 3 deep.
        """
        above = parent.record
        if above.depth >= MAX_DEPTH:
            raise Unprocessable(
                f"workflow {workflow!r} would run {MAX_DEPTH + 1} deep.", fix=f"Nest at most {MAX_DEPTH} workflows."
            )
        bundle = bundled_child(above.bundle, workflow)
        if bundle is None:
            source, loaded = await self.load(workflow)
            bundle = pack(source, loaded)
        else:
            loaded = await self._understood(bundle)
        if loaded.workflow is None:
            raise CannotRun.of(workflow, loaded.errors)
        id = child_id(above.id, path, index)
        given = checked_inputs(loaded.workflow.inputs, inputs or {})
        with self._claim(id):
            record = await self.store.find(id)
            nodes: dict[str, NodeRecord] = {}
            if record is not None and (dict(record.inputs), record.message) == (given, message):
                node = parent.workflow.node(path)
                again = node is not None and node.always_run and record.status == "completed"
                if record.status == "completed" and not again:
                    return record
                nodes = {} if again else await self.store.nodes(id)
            if not nodes:
                if record is not None:
                    await self.store.remove([id])
                record = self._new(id, bundle, loaded.workflow, above.starter, given, message)
                record = record.changed(parent=above.id, depth=above.depth + 1, dry=above.dry)
                await self._check_shell(record, loaded.workflow)
                await self.store.add_run(record)
            assert record is not None
            live = await self._made(record, loaded.workflow, nodes, (parent, path))
        parent.below.append(live)
        try:
            await self._executed(live)
        finally:
            parent.below.remove(live)
        return live.record

    async def resume(self, run: str) -> RunRecord:
        """Go on with a run that failed, was cancelled or interrupted: what completed is kept, the rest runs again.

        Of a child run, the run at its root goes on. Raises NotFound, Conflict for a run that runs, has completed, or
        waits for an answer, Unavailable.
        """
        return await self._continued(await self._root(await self._found(run)))

    async def answer(self, run: str, node: str | None, decision: str, text: str = "", by: str = "") -> RunRecord:
        """Answer a gate that waits, of this run or of one below it, and go on; `node` None: the only one that waits.

        `decision` is approve, reject, or one of the gate's own; `text` what is said with it, or a loop's input. The
        same answer again changes nothing. Raises NotFound, InvalidInput for a decision the gate does not know,
        Conflict when nothing waits, several do, or another answer was faster.
        """
        record = await self._found(run)
        await self._root(record)
        nodes = await self._nodes(record.id)
        found = nodes.get(node) if node is not None else None
        waiting = [one for one in nodes.values() if waits(one)]
        if found is None and len(waiting) == 1:
            found = waiting[0]
        if found is None:
            raise Conflict(f"run {run} waits for nobody.", fix="See workflow_status.")
        await self.store.put_node(record.id, accepted(found, Answer(decision, text, by, time.time())))
        return await self._continued(await self._root(record), answered=True)

    async def cancel(self, run: str, reason: str = "") -> RunRecord:
        """End a run and those below it; of a cancelled one, nothing. Raises NotFound, Conflict when it is over."""
        record = await self._found(run)
        live = self._live.get(run)
        if live is not None:
            live.cancel(reason)
            while run in self._live:
                await live.heard.wait()
            return live.record
        await self._root(record)
        if record.status in OVER:
            if record.status == "cancelled":
                return record
            raise Conflict(f"run {run} is over: it {record.status}.", fix="Only a run that is not over is cancelled.")
        record = record.changed(status="cancelled", ended_at=time.time(), error=Failure("cancelled", reason))
        await self.store.put_run(record)
        return record

    async def checked(self, workflow: Workflow, shell: bool | None) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with a workflow that could be read, and what is strange. `shell`: see checks.check."""
        await self._door.ready()

        def work() -> tuple[list[Problem], list[Problem]]:
            errors, warnings = check(workflow, self._door, shell=shell)
            return errors + missing(workflow), warnings

        return await anyio.to_thread.run_sync(work)

    def _open(self, path: str) -> bool:
        """Whether bash is open to somebody far away: where the text is a file of this machine, and that is set."""
        return self._settings.allow_shell and bool(path)

    async def wait(self, run: str, seconds: float, progress: Progress = unheard) -> RunState:
        """The run once it has ended or pauses, or as it is after so many seconds."""
        with anyio.move_on_after(seconds):
            while (live := self._live.get(run)) is not None:
                heard = live.heard
                done, doing = live.told()
                await progress(done, len(live.workflow.nodes), doing)
                await heard.wait()
        return await self.state(run)

    async def state(self, run: str) -> RunState:
        """A run as it is now. Raises NotFound."""
        record = await self._found(run)
        nodes = await self._nodes(run)
        return RunState(record, _ordered(record, nodes), run in self._live)

    def within(self, profile: str) -> "Workflows":
        """The same for callers bound to a profile: they see the runs of that profile."""
        bound = copy.copy(self)
        bound._profile = profile
        return bound

    async def aclose(self) -> None:
        """Close the file of runs. What still runs was cancelled with the lake, and can be resumed."""
        await self.store.aclose()

    async def _started(
        self,
        id: str,
        bundle: Mapping[str, Any],
        loaded: Loaded,
        starter: Starter,
        inputs: Mapping[str, Any],
        message: str,
        *,
        dry: Dry | None = None,
    ) -> RunRecord:
        assert loaded.workflow is not None
        await self._door.ready()
        given = checked_inputs(loaded.workflow.inputs, inputs)
        record = self._new(id, bundle, loaded.workflow, starter, given, message)
        if dry is not None:
            return await self._rehearse(record, loaded.workflow, dry)
        await self._check_shell(record, loaded.workflow)
        with self._claim(id):
            await self.store.add_run(record)
            self._begin(await self._made(record, loaded.workflow, {}))
        return record

    async def _rehearse(self, record: RunRecord, workflow: Workflow, dry: Dry) -> RunRecord:
        dry.check(workflow.nodes)
        if dry.exec_code:
            await self._check_shell(record, workflow)
        record = record.changed(dry=vars(dry))
        live = await self._made(record, workflow, {}, dry=dry)
        while len(self._rehearsed) >= MAX_REHEARSED:
            del self._rehearsed[next(iter(self._rehearsed))]
        self._rehearsed[record.id] = live
        self._begin(live)
        return record

    def _new(
        self,
        id: str,
        bundle: Mapping[str, Any],
        workflow: Workflow,
        starter: Starter,
        inputs: Mapping[str, Any],
        message: str,
    ) -> RunRecord:
        return RunRecord(
            id=id,
            workflow=workflow.name,
            bundle=bundle,
            inputs=inputs,
            message=message,
            starter=starter,
            started_at=time.time(),
            plan=tuple(map(_planned, workflow.nodes)),
        )

    async def _continued(self, record: RunRecord, *, answered: bool = False) -> RunRecord:
        with self._claim(record.id):
            record = await self.store.run(record.id)  # as it is now that nobody else goes on with it
            if record.status == "completed":
                raise Conflict(f"run {record.id} has completed.", fix="Run it again with workflow_rerun.")
            nodes = await self.store.nodes(record.id)
            gates = [one.path for one in nodes.values() if waits(one)]
            if record.status == "paused" and gates and not answered:
                raise Conflict(f"run {record.id} waits at {', '.join(gates)}.", fix="Answer with workflow_approve.")
            loaded = await self._understood(record.bundle)
            if loaded.workflow is None:
                raise CannotRun.of(record.workflow, loaded.errors)
            await self._door.ready()
            record = record.changed(status="running", ended_at=None, error=None, result="", outcome=None)
            await self.store.put_run(record)
            self._begin(await self._made(record, loaded.workflow, nodes))
        return record

    async def _understood(self, bundle: Mapping[str, Any]) -> Loaded:
        def read() -> Loaded:
            return load(*unpack(bundle))

        return await anyio.to_thread.run_sync(read)

    async def _made(
        self,
        record: RunRecord,
        workflow: Workflow,
        nodes: Mapping[str, NodeRecord],
        above: tuple[Live, str] | None = None,
        dry: Dry | None = None,
    ) -> Live:
        """A live run, registered; it goes on with what is kept of its nodes."""
        folder = self._home / record.id
        shell = self._shell(record)
        store = self.store if dry is None else Unkept()
        live = Live(record, workflow, store, self._door, self._settings, folder, shell=shell, above=above, dry=dry)
        live.children = partial(self.child, live)
        live.nodes.update({path: again(node) for path, node in nodes.items()})
        self._broken.pop(record.id, None)
        self._live[record.id] = live
        return live

    def _begin(self, live: Live) -> None:
        async def work() -> None:
            try:
                await self._executed(live)
            except Exception as error:  # nobody waits for this task; what ended it is told with the run
                told = foreseen(error) or LakehouseError(f"{type(error).__name__}: {error}")
                self._broken[live.record.id] = Failure(told.code, told.detail, told.fix)

        if not self._later(work):
            del self._live[live.record.id]
            raise Unavailable("this lake is closed.", fix="Open it again.")

    async def _executed(self, live: Live) -> None:
        try:
            await execute(live)
        finally:
            del self._live[live.record.id]
            live.heard.set()

    @contextmanager
    def _claim(self, run: str) -> Iterator[None]:
        """Nobody else begins it meanwhile. Raises Conflict when somebody does, or it runs."""
        if run in self._live or run in self._claimed:
            raise Conflict(f"run {run} runs already.", fix="Wait for it: workflow_status.")
        self._claimed.add(run)
        try:
            yield
        finally:
            self._claimed.discard(run)

    async def _found(self, run: str) -> RunRecord:
        live = self._live.get(run) or self._rehearsed.get(run)
        record = live.record if live is not None else await self.store.run(run)
        if self._profile is not None and record.starter.profile != self._profile:
            raise unknown_run(run)
        broken = self._broken.get(run)
        return record if broken is None else record.changed(error=broken)

    async def _nodes(self, run: str) -> Mapping[str, NodeRecord]:
        live = self._live.get(run) or self._rehearsed.get(run)
        return live.nodes if live is not None else await self.store.nodes(run)

    async def _root(self, record: RunRecord) -> RunRecord:
        if record.dry is not None:
            raise Conflict(f"run {record.id} was a dry run: nothing of it is kept.", fix="Run the workflow.")
        while record.parent is not None:
            record = await self.store.run(record.parent)
        return record

    def _shell(self, record: RunRecord) -> bool:
        return record.starter.shell or (self._settings.allow_shell and bool(record.bundle["path"]))

    async def _check_shell(self, record: RunRecord, workflow: Workflow) -> None:
        """Raises Forbidden for a shell that is not open to the starter, CannotRun for programs that are not there."""
        check_open(workflow, self._shell(record))
        problems = await anyio.to_thread.run_sync(missing, workflow) if needs_shell(workflow) else []
        if problems:
            raise CannotRun.of(workflow.name, problems)

    def _check_background(self, workflow: Workflow) -> None:
        if self._brief():
            raise Conflict(
                "nothing serves this data directory: this process ends with its command, and the run with it.",
                fix="Start `lakehouse serve`, then run it; or run it without a background.",
            )


def again(node: NodeRecord) -> NodeRecord:
    """A node's record as a resumed run begins with it: what completed stays, all else is pending, with what it kept."""
    if node.status == "completed":
        return node
    return node.changed(status="pending", reason="", text="", typed=False, failure=None, ended_at=None)


def child_id(run: str, path: str, index: int | None) -> str:
    """The id of the run below a node of a run, or below it for one item: the same whenever it is asked for."""
    key = f"{run}:{path}" if index is None else f"{run}:{path}:{index}"
    return run[:14] + hashlib.sha256(key.encode()).hexdigest()[:16]


def _planned(node: Node) -> Planned:
    return Planned(node.id, node.kind, node.depends_on, node.body.name if isinstance(node.body, Mode) else "")


def _ordered(record: RunRecord, nodes: Mapping[str, NodeRecord]) -> tuple[NodeRecord, ...]:
    """All nodes, those of a group's iterations after the group; of those that never started, as pending."""
    below: dict[str, list[NodeRecord]] = {}
    for path, node in nodes.items():
        below.setdefault(path.partition("#")[0], []).append(node)
    found: list[NodeRecord] = []
    for planned in record.plan:
        mine = below.pop(planned.id, [])
        found += [nodes.get(planned.id) or NodeRecord(planned.id, planned.kind)]
        found += [node for node in mine if node.path != planned.id]
    return (*found, *(node for rest in below.values() for node in rest))


def _new_id() -> str:
    return f"{time.time_ns() // 1000:014x}{os.urandom(4).hex()}"


__all__ = ["SHELL_KINDS", "Dry", "RunState", "Workflows"]
