"""The runs of this process: begun, gone on with, those below them, and none of them twice."""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.workflows.checks import check
from lakehouse.engine.workflows.language import Loaded, Source, load
from lakehouse.engine.workflows.language.bundle import child as bundle_below
from lakehouse.engine.workflows.language.bundle import pack, unpack
from lakehouse.engine.workflows.model import MAX_DEPTH, Mode, Node, Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.problems import CannotRun, Problem
from lakehouse.engine.workflows.references import checked_inputs
from lakehouse.engine.workflows.running.dry import Dry, Unkept
from lakehouse.engine.workflows.running.gates import waits
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.run import execute
from lakehouse.engine.workflows.runs import NodeRecord, Planned, RunRecord, Starter, Store
from lakehouse.engine.workflows.runs.again import again, child_id
from lakehouse.engine.workflows.runs.outputs import check_inputs, clean
from lakehouse.engine.workflows.runs.record import OVER, WARNED, Failure, Warnings
from lakehouse.engine.workflows.shells import check_open, missing
from lakehouse.errors import Conflict, LakehouseError, Unavailable, Unprocessable, foreseen

log = logging.getLogger("lakehouse")

Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]
MAX_REHEARSED = 32


class Present:
    """What runs in this process, and what may."""

    def __init__(
        self,
        folder: Path,
        settings: config.Workflows,
        store: Store,
        door: Door,
        later: Later,
        brief: Callable[[], bool],
        load: Callable[[str, str | None, Starter | None], Awaitable[tuple[Source, Loaded]]],
    ) -> None:
        """`folder` holds a folder for each run; `load` finds workflows by name.

        `brief` says whether this process ends with the call it makes.
        """
        self.brief = brief
        self._folder = folder
        self._settings = settings
        self._store = store
        self._door = door
        self._later = later
        self._load = load
        self.live: dict[str, Live] = {}
        self.broken: dict[str, Failure] = {}  # what ended runs and could not be written down
        self.rehearsed: dict[str, Live] = {}  # the newest dry runs
        self.answered: set[str] = set()  # runs that were answered while they ran: they go on once they pause
        self._claimed: dict[str, anyio.Event] = {}
        # Held while an answer is kept, and from where a run's nodes are read until it goes on with them: an answer that
        # came between would be written over.
        self.answering = anyio.Lock(fast_acquire=True)
        self._below: WeakKeyDictionary[Live, dict[str, tuple[Mapping[str, Any], Workflow]]] = WeakKeyDictionary()

    def runs(self, run: str) -> bool:
        """Whether a run is this process' business now."""
        return run in self.live or run in self._claimed

    @contextmanager
    def claim(self, run: str) -> Iterator[None]:
        """Nobody else begins it meanwhile. Raises Conflict when somebody does, or it runs."""
        if self.runs(run):
            raise Conflict(f"run {run} runs already.", fix="Wait for it with workflow_status.")
        self._claimed[run] = anyio.Event()
        try:
            yield
        finally:
            self._claimed.pop(run).set()

    async def unclaimed(self, run: str) -> None:
        """Wait until nobody is about to begin it."""
        while (claimed := self._claimed.get(run)) is not None:
            await claimed.wait()

    def new(
        self,
        bundle: Mapping[str, Any],
        workflow: Workflow,
        starter: Starter,
        inputs: Mapping[str, Any],
        message: str,
        id: str | None = None,
    ) -> RunRecord:
        """The record of a run that is to begin, of a fresh id if none is given. Raises InvalidInput, TooLarge."""
        given = checked_inputs(workflow.inputs, inputs)
        check_inputs(given, message, self._settings.max_output_bytes)
        return RunRecord(
            id=id or f"{time.time_ns() // 1000:014x}{os.urandom(4).hex()}",
            workflow=workflow.name,
            bundle=bundle,
            inputs=given,
            message=clean(message),
            starter=starter,
            started_at=time.time(),
            plan=tuple(map(_planned, workflow.nodes)),
        )

    async def checked(
        self, workflow: Workflow, shell: bool | None, programs: bool = True
    ) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with a workflow that could be read, and what is strange. `shell`: see checks.check.

        With `programs`, what its scripts need that is not on this machine is wrong, too.
        """
        await self._door.ready()

        def work() -> tuple[list[Problem], list[Problem]]:
            errors, warnings = check(workflow, self._door, shell=shell)
            return errors + (missing(workflow) if programs else []), warnings

        return await anyio.to_thread.run_sync(work)

    async def rehearse(self, record: RunRecord, loaded: Loaded, dry: Dry) -> RunRecord:
        """Begin a dry run. Raises CannotRun, Forbidden, InvalidInput for stubs, Unavailable."""
        workflow = runnable(record.workflow, loaded)
        strange = await self._check(record, workflow, dry.exec_code)
        dry.check(workflow.nodes)
        record = record.changed(dry=vars(dry))
        live = self._made(record, workflow, {}, dry=dry)
        while len(self.rehearsed) >= MAX_REHEARSED:
            del self.rehearsed[next(iter(self.rehearsed))]
        self.rehearsed[record.id] = live
        live.warn(*map(str, (*loaded.warnings, *loaded.placed(strange))))
        self._begin(live)
        return record

    async def begin(
        self, record: RunRecord, loaded: Loaded, nodes: Mapping[str, NodeRecord] | None = None
    ) -> RunRecord:
        """Begin a run; it has these nodes already. Raises CannotRun, Forbidden, Unavailable."""
        workflow = runnable(record.workflow, loaded)
        strange = await self._check(record, workflow)
        with self.claim(record.id):
            await self._store.add_run(record, tuple((nodes or {}).values()))
            live = self._made(record, workflow, nodes or {})
            live.warn(*map(str, (*loaded.warnings, *loaded.placed(strange))))
            self._begin(live)
        return record

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
        Cancelling the task or the parent cancels it. Raises NotFound, CannotRun, InvalidInput, TooLarge, Forbidden,
        and Unprocessable when it would lie over 3 deep.
        """
        above = parent.record
        if above.depth >= MAX_DEPTH:
            detail = f"workflow {workflow[:80]!r} would run {MAX_DEPTH + 1} deep."
            raise Unprocessable(detail, fix=f"Nest at most {MAX_DEPTH} workflows.")
        bundle, understood = await self._named(parent, workflow)
        fresh = self.new(bundle, understood, above.starter, inputs or {}, message)
        id = child_id(above.id, path, index)
        fresh = fresh.changed(id=id, parent=above.id, depth=above.depth + 1)
        node = parent.workflow.node(path)
        with self.claim(id):
            found = await self._store.find(id)
            if found is not None:
                same = (found.inputs, found.message) == (fresh.inputs, fresh.message)
                over = found.status == "completed"
                if same and over and not (node and node.always_run):
                    return found
                if over or not same:
                    await self._store.remove([id, *(one.id for one in await self._store.below(id))])
                    found = None
            if found is None:
                await self._store.add_run(fresh)
                live = self._made(fresh, understood, {}, (parent, path))
            else:
                live = await self._reopened(found, understood, (parent, path))
        await self._executed(live)
        return live.record

    async def _named(self, parent: Live, name: str) -> tuple[Mapping[str, Any], Workflow]:
        """A workflow that a run may have below it, and its bundle: that of its own bundle, if it is there; checked."""
        found = self._below.setdefault(parent, {})
        if name not in found:
            bundle = bundle_below(parent.record.bundle, name)
            if bundle is None:
                source, loaded = await self._load(name, None, parent.record.starter)
                bundle = pack(source, loaded)
            else:
                loaded = await self.understood(bundle)
            workflow = runnable(name, loaded)
            await self._check(parent.record.changed(bundle=bundle), workflow)
            found[name] = bundle, workflow
        return found[name]

    async def go_on(self, record: RunRecord, *, answered: bool = False) -> RunRecord:
        """Go on with a run that no other is above. Raises Conflict, CannotRun, Unavailable.

        Because it was `answered`: not where it is over by now, which nobody asked to undo.
        """
        with self.claim(record.id):
            record = await self._store.run(record.id)  # as it is now that nobody else goes on with it
            if answered and record.status in OVER:
                return record
            if record.status == "completed":
                raise Conflict(f"run {record.id} has completed.", fix="Run it anew with workflow_rerun.")
            gates = await self.gates(record)
            asking = [node.path for _, node in gates if waits(node)]
            if record.status == "paused" and asking and len(asking) == len(gates):
                detail = f"run {record.id} waits for an answer at {', '.join(asking)}."
                raise Conflict(detail, fix="Use workflow_approve or workflow_reject.")
            workflow = runnable(record.workflow, await self.understood(record.bundle))
            await self._door.ready()
            live = await self._reopened(record, workflow)
            self._begin(live)
        return live.record

    async def nodes(self, run: str) -> Mapping[str, NodeRecord]:
        """The nodes of a run, as they are now."""
        live = self.live.get(run) or self.rehearsed.get(run)
        return dict(live.nodes) if live is not None else await self._store.nodes(run)

    async def warnings(self, run: str) -> Sequence[str]:
        """What is strange about a run or its file, or was left out, each once."""
        live = self.live.get(run) or self.rehearsed.get(run)
        if live is not None:
            return live.warnings.told()
        found = Warnings()
        for event in await self._store.events_of(run, WARNED):
            found.add(event.path, event.data)
        return found.told()

    async def gates(self, record: RunRecord) -> list[tuple[RunRecord, NodeRecord]]:
        """The gates of a run and of those below it that wait, or that were answered and have not gone on."""
        found = []
        for one in (record, *(below for below in await self._store.below(record.id) if below.status not in OVER)):
            found += [(one, node) for node in (await self.nodes(one.id)).values() if asks(node)]
        return found

    async def _reopened(self, record: RunRecord, workflow: Workflow, above: tuple[Live, str] | None = None) -> Live:
        """A live run that goes on with what is kept; its gates wait no more until they ask again."""
        record = record.changed(status="running", ended_at=None, error=None, result="", outcome=None)
        async with self.answering:
            nodes = await self._store.nodes(record.id)
            await self._store.reopen(record, [again(node) for node in nodes.values() if node.status == "paused"])
            return self._made(record, workflow, nodes, above)

    async def understood(self, bundle: Mapping[str, Any]) -> Loaded:
        """What a bundle holds."""
        return await anyio.to_thread.run_sync(lambda: load(*unpack(bundle)))

    def _made(
        self,
        record: RunRecord,
        workflow: Workflow,
        nodes: Mapping[str, NodeRecord],
        above: tuple[Live, str] | None = None,
        dry: Dry | None = None,
    ) -> Live:
        """A live run that goes on with what is kept of its nodes; from now on it is this one that runs it."""
        live = Live(
            record,
            workflow,
            self._store if dry is None else Unkept(),
            self._door,
            self._settings,
            self._folder / record.id,
            shell=self._shell(record),
            above=above,
            dry=dry,
        )
        live.children = partial(self.child, live)
        live.goes_on(nodes)
        self.broken.pop(record.id, None)
        self.live[record.id] = live
        return live

    def _begin(self, live: Live) -> None:
        run = live.record.id

        async def run_it() -> None:
            try:
                await self._executed(live)
                if live.record.status == "paused" and run in self.answered:
                    with suppress(Conflict):  # whoever answered goes on with it already
                        await self.go_on(live.record, answered=True)
            except Exception as error:  # nobody waits for this task: what ended it is told with the run
                told = foreseen(error)
                if told is None:
                    log.exception("workflow.crashed run %s", run)
                    told = LakehouseError("the run failed in a way nobody foresaw.", fix="See the server's log.")
                self.broken[run] = Failure(told.code, told.detail, told.fix)

        async def work() -> None:
            # A lake that closes cancels this task as asyncio does, which stops at no shield. Below a task group the
            # same arrives as a cancellation of anyio: what is being written is written first.
            async with anyio.create_task_group() as group:
                group.start_soon(run_it)

        self.answered.discard(run)
        if not self._later(work):
            del self.live[run]
            raise Unavailable("this lake is closed.", fix="Open it again.")

    async def _executed(self, live: Live) -> None:
        above = live.above[0] if live.above else None
        if above:
            above.below.append(live)
        try:
            await execute(live)
        finally:
            if above:
                above.below.remove(live)
            del self.live[live.record.id]
            live.heard.set()

    def _shell(self, record: RunRecord) -> bool:
        return record.starter.shell or (self._settings.allow_shell and bool(record.bundle["path"]))

    async def _check(self, record: RunRecord, workflow: Workflow, programs: bool = True) -> list[Problem]:
        """What is strange. Raises CannotRun and Forbidden for what would fail in any case, before any of it runs."""
        shell = self._shell(record) or not programs
        check_open(workflow, shell)
        errors, warnings = await self.checked(workflow, shell, programs)
        if errors:
            raise CannotRun.of(workflow.name, (await self.understood(record.bundle)).placed(errors))
        return warnings

    def check_background(self, background: bool, workflow: Workflow | None = None) -> None:
        """Raises Conflict for what cannot run while nobody waits for it: here at all, or a workflow that asks."""
        if background and self.brief():
            raise Conflict(
                "nothing serves this data directory: this process ends with its command, and would end the run.",
                fix="Start `lakehouse serve` first, or wait for the run.",
            )
        if background and workflow is not None and workflow.interactive:
            raise Conflict(
                f"workflow {workflow.name} is interactive: it asks somebody while it runs.", fix="Run it and wait."
            )


def asks(node: NodeRecord) -> bool:
    """Whether a node is a gate that waits, or that was answered and has not gone on."""
    return node.status == "paused" and "asked" in node.extra


def runnable(name: str, loaded: Loaded) -> Workflow:
    """The workflow that was understood. Raises CannotRun."""
    if loaded.workflow is None:
        raise CannotRun.of(name, loaded.errors)
    return loaded.workflow


def _planned(node: Node) -> Planned:
    return Planned(node.id, node.kind, node.depends_on, node.body.name if isinstance(node.body, Mode) else "")
