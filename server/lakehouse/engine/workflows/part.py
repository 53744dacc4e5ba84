"""Workflows as a part of the lake: found, started, watched, answered, gone on with, compared and forgotten."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.workflows.language import Loaded, Source, load
from lakehouse.engine.workflows.language.bundle import pack
from lakehouse.engine.workflows.library import Library, places_of
from lakehouse.engine.workflows.model import Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.problems import Problem
from lakehouse.engine.workflows.running.dry import Dry
from lakehouse.engine.workflows.running.following import watched
from lakehouse.engine.workflows.running.gates import Answer, accepted, answers, waits
from lakehouse.engine.workflows.running.present import Later, Present, runnable
from lakehouse.engine.workflows.runs import NodeRecord, RunRecord, Starter, Store
from lakehouse.engine.workflows.runs.again import copied, ordered
from lakehouse.engine.workflows.runs.diff import RunDiff, diff_of
from lakehouse.engine.workflows.runs.logs import Logs, logs_of
from lakehouse.engine.workflows.runs.record import OVER, Failure
from lakehouse.engine.workflows.runs.report import RunReport, report_of
from lakehouse.engine.workflows.runs.retention import Forgotten, forget
from lakehouse.engine.workflows.runs.store import unknown_run
from lakehouse.engine.workflows.runs.timeline import Timeline, timeline_of
from lakehouse.errors import Conflict, InvalidInput, NotFound

WAIT_SECS = 60.0  # that a call waits for a run which goes on by itself


@dataclass(frozen=True)
class RunState:
    """A run and its nodes, in the order of the file. `live`: this process runs it now."""

    record: RunRecord
    nodes: tuple[NodeRecord, ...]
    live: bool

    @property
    def status(self) -> str:
        """That of the record; `interrupted` of a run that should run and that no process runs."""
        return status_of(self.record, self.live)

    @property
    def gates(self) -> tuple[NodeRecord, ...]:
        """The nodes of it that wait for somebody."""
        return () if self.record.status in OVER else tuple(filter(waits, self.nodes))


def status_of(record: RunRecord, live: bool) -> str:
    """A run's status as it is shown."""
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

        `brief` says whether this process ends with the call it makes, so that nothing goes on in it afterwards.
        """
        self.folder = home / "runs"
        self.settings = settings
        self.library = Library(folders)
        self.store = Store(self.folder, settings.max_output_bytes)
        self._present = Present(self.folder, settings, self.store, door, later, brief, self.load)
        self._profile: str | None = None

    async def load(
        self, name: str, definition: str | None = None, starter: Starter | None = None
    ) -> tuple[Source, Loaded]:
        """A workflow by name, or a text given. Raises NotFound; what is wrong with it stands in Loaded.

        A `starter` on this machine may name a file by its path, and has the workflows of its folder at a command line.
        """

        def read() -> tuple[Source, Loaded]:
            base, beside = places_of(starter)
            if definition is None:
                source = self.library.find(name, beside, base)
            else:
                source = Source(name, definition)
            return source, load(source, self.library.around(source, beside))

        return await anyio.to_thread.run_sync(read)

    async def validate(
        self, name: str, definition: str | None = None, starter: Starter | None = None
    ) -> dict[str, Any]:
        """All that is wrong or strange about a workflow, in its text and in its graph. See Loaded.report."""
        _, loaded = await self.load(name, definition, starter)
        if loaded.workflow is None:
            return loaded.report()
        return loaded.report(*await self.checked(loaded.workflow, None))

    async def listing(self, starter: Starter | None = None) -> list[Loaded]:
        """The workflows there are, as they are understood; those with errors, too."""

        def read() -> list[Loaded]:
            return self.library.listing(places_of(starter)[1])

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
        providers: Mapping[str, str] | None = None,
        id: str | None = None,
    ) -> RunRecord:
        """Begin a run; it goes on by itself, as long as the lake is open.

        `background` says that nobody waits for it. A `dry` run calls nothing and is kept nowhere: `wait` and `state`
        know of the newest. `providers` are the models that names of providers (`claude`), of models, or of both
        (`claude:opus`) stand for, in runs below it, too; `id` is a free one. Raises NotFound, CannotRun, InvalidInput
        for inputs and stubs, TooLarge, Conflict for a background it cannot run in, Forbidden for a shell, Unavailable.
        """
        source, loaded = await self.load(name, definition, starter)
        workflow = runnable(name, loaded)
        self._present.check_background(background, workflow)
        bundle = pack(source, loaded) | ({"providers": dict(providers)} if providers else {})
        record = self._present.new(bundle, workflow, starter, inputs or {}, message, id)
        if dry is not None:
            return await self._present.rehearse(record, loaded, dry)
        return await self._present.begin(record, loaded)

    async def checked(self, workflow: Workflow, shell: bool | None) -> tuple[list[Problem], list[Problem]]:
        """What is wrong with a workflow that could be read, and what is strange. `shell`: see checks.check."""
        return await self._present.checked(workflow, shell)

    async def rerun(
        self,
        run: str,
        starter: Starter,
        *,
        from_node: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        message: str | None = None,
        current: bool = False,
        background: bool = False,
    ) -> RunRecord:
        """Begin another run of what a run ran, with its inputs but for those given anew.

        With `from_node` what completed is taken over, as are the files of its artifacts, but that node and all that
        depends on it. `current` runs the file as it is now. Raises as `start` does, and InvalidInput for a node that
        is not there, or a text that came with its call and is no file.
        """
        old = await self._found(run)
        bundle: Mapping[str, Any] = old.bundle
        if current:
            if not old.bundle["path"]:
                raise InvalidInput(f"current: run {run} ran a text that is no file.", fix="Give the text to a new run.")
            source, loaded = await self.load(old.bundle["name"], starter=starter)
            bundle = pack(source, loaded) | {"providers": old.bundle.get("providers", {})}
        else:
            loaded = await self._present.understood(bundle)
        workflow = runnable(old.workflow, loaded)
        self._present.check_background(background, workflow)
        given = {name: value for name, value in old.inputs.items() if name in workflow.inputs} | dict(inputs or {})
        record = self._present.new(bundle, workflow, starter, given, old.message if message is None else message)
        record = record.changed(rerun_of=old.id)
        await self._root(old)
        if from_node is None:
            return await self._present.begin(record, loaded)
        nodes = copied(record.plan, await self._present.nodes(run), from_node, record.started_at)
        await anyio.to_thread.run_sync(self.store.outputs.copy, old.id, record.id)
        return await self._present.begin(record, loaded, nodes)

    async def resume(self, run: str, background: bool = False) -> RunRecord:
        """Go on with a run that failed, was cancelled or interrupted: what completed is kept, the rest runs again.

        It is the starter's run still. Of a child run, the run at its root goes on. Raises NotFound, Conflict for a
        run that runs, has completed, or waits for an answer, Unavailable.
        """
        root = await self._root(await self._found(run))
        self._present.check_background(background)
        return await self._present.go_on(root)

    async def answer(
        self, run: str, node: str | None, decision: str, text: str = "", by: str = "", background: bool = False
    ) -> RunRecord:
        """Answer a gate that waits, of this run or of one below it, and go on; `node` None: the only one that waits.

        `decision` is approve, reject, or one of the gate's own; `text` is what is said with it, or a loop's input.
        The answer it had already changes nothing. Returns the run at the root, which goes on. Raises NotFound,
        InvalidInput for a decision the gate does not offer, Conflict when nothing waits, several do, or somebody
        answered otherwise before.
        """
        record = await self._found(run)
        self._present.check_background(background)
        async with self._present.answering:
            at, gate = await self._gate(record, node)
            given = answers(gate.extra)
            root = await self._root(at)
            if waits(gate) or not given or (given[-1].decision, given[-1].text) != (decision, text):
                if at.status in OVER:
                    raise Conflict(f"run {at.id} is over: it {_ended(at)}.", fix="Run it anew with workflow_rerun.")
                kept = accepted(gate, Answer(decision, text, by, time.time()))
                live = self._present.live.get(at.id)
                await (live.keep(kept) if live is not None else self.store.put_node(at.id, kept))
            elif gate.status != "paused" or at.status in OVER:
                return root  # it has gone on with this answer
        if self._present.runs(root.id):
            self._present.answered.add(root.id)
            return root  # its other branches run still, and it goes on when they have ended; or it is about to
        return await self._present.go_on(root, answered=True)

    async def cancel(self, run: str, reason: str = "") -> RunRecord:
        """End a run and those below it; of a cancelled one, nothing. Raises NotFound, Conflict when it is over."""
        record = await self._found(run)
        while record.status not in OVER:
            await self._present.unclaimed(run)
            if (live := self._present.live.get(run)) is None:
                record = await self._ended_here(run, reason)
                continue
            live.cancel(reason or "cancelled.")
            while self._present.live.get(run) is live:
                await live.heard.wait()
            if live.broken is not None:
                raise live.broken
            record = live.record  # paused, where it came to that before it heard
        if record.status != "cancelled":
            raise Conflict(f"run {run} is over: it {_ended(record)}.", fix="There is nothing to cancel.")
        return record

    async def _ended_here(self, run: str, reason: str) -> RunRecord:
        """Cancel a run that nobody runs, with those below it, unless it is over."""
        with self._present.claim(run):
            record = await self.store.run(run)
            if record.status not in OVER:
                for below in await self.store.below(run):
                    if below.status not in OVER:
                        await self.store.put_run(_cancelled(below, reason))
                record = _cancelled(record, reason)
                await self.store.put_run(record)
        return record

    async def wait(self, run: str, seconds: float | None = None, progress: Progress = unheard) -> RunState:
        """The run once it has ended or pauses, or as it is after so many seconds.

        None: after a minute; or after all, where this process ends with its call. Each event is reported, and when
        none comes what runs; `done` is the nodes that ended, and grows between them.
        """
        patience = (None if self._present.brief() else WAIT_SECS) if seconds is None else seconds
        with anyio.move_on_after(patience):
            await watched(lambda: self._present.live.get(run), progress)
        return await self.state(run)

    async def state(self, run: str) -> RunState:
        """A run as it is now. Raises NotFound."""
        record = await self._found(run)
        nodes = await self._present.nodes(run)
        return RunState(record, ordered(record.plan, nodes), self._present.runs(run))

    async def report(self, state: RunState, *, timeline: bool = False) -> RunReport:
        """A run as it is told, with when what ran if that is wanted."""
        run = state.record.id
        drawn = await self.timeline(run) if timeline else None
        gates: Sequence[tuple[str | None, NodeRecord]] = [(None, node) for node in state.gates]
        if state.record.status == "paused" and not gates:  # it waits for a run below it
            gates = [(below.id, node) for below, node in await self._present.gates(state.record) if waits(node)]
        told = await self._present.warnings(run)
        return await anyio.to_thread.run_sync(report_of, state.record, state.status, state.nodes, gates, drawn, told)

    async def runs(
        self,
        limit: int = 20,
        *,
        workflow: str | None = None,
        status: str | None = None,
        parent: str | None = None,
        before: str | None = None,
    ) -> list[tuple[RunRecord, str]]:
        """The newest runs, newest first, without bundles, inputs and plans, each with its status as it is shown.

        `before` is the last run of the page before; `parent` lists the runs below one, else there are roots only.
        """
        shown = "running" if status == "interrupted" else status
        found = await self.store.runs(
            limit,
            workflow=workflow,
            statuses=(shown,) if shown else (),
            profile=self._profile,
            parent=parent,
            roots=parent is None,
            before=before,
            among=tuple(self._present.live) if status == "running" else None,
            without=tuple(self._present.live) if status == "interrupted" else (),
        )
        return [(record, status_of(record, self._present.runs(record.id))) for record in found]

    def within(self, profile: str) -> "Workflows":
        """The same for callers bound to a profile: they see the runs of that profile."""
        bound = copy.copy(self)
        bound._profile = profile
        return bound

    async def timeline(self, run: str) -> Timeline:
        """A run as it can be drawn. Raises NotFound."""
        state = await self.state(run)
        paused = await self.store.events_of(run, "node_paused")
        nodes = {node.path: node for node in state.nodes}
        return await anyio.to_thread.run_sync(timeline_of, state.record, nodes, paused)

    async def diff(self, a: str, b: str) -> RunDiff:
        """What is different between two runs. Raises NotFound."""
        one, other = await self.state(a), await self.state(b)
        left, right = ((state.record, state.status, state.nodes) for state in (one, other))
        return await anyio.to_thread.run_sync(diff_of, left, right)

    async def logs(self, run: str, node: str | None = None, after: int = 0, limit: int = 100) -> Logs:
        """What happened in a run after the event of a number; of one node also what its programs printed last.

        Raises NotFound.
        """
        state = await self.state(run)
        if node is not None and node not in {one.path for one in state.nodes}:
            raise NotFound(f"run {run} has no node {node[:80]!r}.", fix="workflow_status shows its nodes.")
        events = await self.store.events(run, after, limit, path=node)
        return await anyio.to_thread.run_sync(logs_of, self.store.outputs.folder(run), node, events, after, limit)

    async def collect(self, *, dry_run: bool = False) -> Forgotten:
        """Forget runs that the settings do not keep, with all below them; those that are not over stay."""
        if not await anyio.to_thread.run_sync(self.folder.is_dir):
            return Forgotten()
        return await forget(self.store, self.settings, self._present.claim, dry_run=dry_run)

    async def aclose(self) -> None:
        """Close the file of runs. What still runs was cancelled with the lake, and can be resumed."""
        await self.store.aclose()

    async def _found(self, run: str) -> RunRecord:
        live = self._present.live.get(run) or self._present.rehearsed.get(run)
        record = live.record if live is not None else await self.store.run(run)
        if self._profile is not None and record.starter.profile != self._profile:
            raise unknown_run(run)
        broken = self._present.broken.get(run)
        return record if broken is None else record.changed(error=broken)

    async def _gate(self, record: RunRecord, path: str | None) -> tuple[RunRecord, NodeRecord]:
        """The gate that somebody means. Raises NotFound, Conflict."""
        nodes = await self._present.nodes(record.id)
        if path is not None and path in nodes and "asked" in nodes[path].extra:
            return record, nodes[path]
        gates = await self._present.gates(record)
        asking = [(run, node) for run, node in gates if waits(node) and path in (None, node.path)]
        if len(asking) > 1:
            told = ", ".join(f"{node.path} of run {run.id}" for run, node in asking)
            detail = f"run {record.id} waits in several places: {told}."
            raise Conflict(detail, fix="Name the node, or the run it is in.")
        if asking:
            return asking[0]
        if path is not None and path not in nodes and path not in {one.id for one in record.plan}:
            raise NotFound(f"run {record.id} has no node {path[:80]!r}.", fix="workflow_status shows its nodes.")
        had = [node for node in nodes.values() if path is None and answers(node.extra)]
        if had:
            return record, max(had, key=lambda node: answers(node.extra)[-1].at)
        raise Conflict(f"run {record.id} waits for no answer.", fix="workflow_status tells what a run waits for.")

    async def _root(self, record: RunRecord) -> RunRecord:
        """The run at the root. Raises Conflict for a dry run."""
        if record.dry is not None:
            raise Conflict(f"run {record.id} was a dry run: nothing of it is kept.", fix="Run the workflow.")
        while record.parent is not None:
            record = await self.store.run(record.parent)
        return record


def _ended(record: RunRecord) -> str:
    return "was cancelled" if record.status == "cancelled" else record.status


def _cancelled(record: RunRecord, reason: str) -> RunRecord:
    return record.changed(status="cancelled", ended_at=time.time(), error=Failure("cancelled", reason or "cancelled."))


__all__ = ["RunState", "Workflows"]
