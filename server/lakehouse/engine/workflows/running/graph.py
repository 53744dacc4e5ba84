"""Nodes that run as soon as what each depends on has settled."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import anyio
from anyio.abc import TaskGroup

from lakehouse.engine.workflows.model import Cancel, Node
from lakehouse.engine.workflows.ports import Asked
from lakehouse.engine.workflows.references import Scope
from lakehouse.engine.workflows.running.attempt import Attempt, given, op_name
from lakehouse.engine.workflows.running.kinds import CONTAINERS, OBSERVED
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.retry import delay
from lakehouse.engine.workflows.running.trigger import fires
from lakehouse.engine.workflows.runs import Failure, NodeRecord
from lakehouse.engine.workflows.runs.record import SETTLED
from lakehouse.errors import LakehouseError


@dataclass
class _Tries:
    """How often a node failed since the run went on, and when its time is up."""

    until: float
    failures: int = 0


class Graph:
    """The nodes of a run, or of one iteration of a loop group.

    Of the nodes that are ready, the first of the file starts first. Nodes that ended together become durable in one
    commit, and only then does anything start that depends on them.
    """

    def __init__(self, live: Live, nodes: Sequence[Node], scope: Scope, prefix: str = "") -> None:
        """`prefix` stands before the ids of nodes in the run's records: `group#2/`."""
        self.live = live
        self.nodes = nodes
        self.scope = scope
        self.prefix = prefix
        self._place = {node.id: place for place, node in enumerate(nodes)}
        self._after: dict[str, list[Node]] = {}
        self._waits: dict[str, int] = {}
        for node in nodes:
            # Of a part of a graph, what lies outside has settled.
            needed = {id for id in node.depends_on if id in self._place}
            self._waits[node.id] = len(needed)
            for id in needed:
                self._after.setdefault(id, []).append(node)
        self._known: set[str] = set()  # ids of nodes that completed in an earlier part of the run
        self._ready: list[int] = []  # a heap of places: leaves that wait for one of the run's places
        self._takers = self._waiting = self._under_way = 0
        self._tries: dict[str, _Tries] = {}
        self._ended: list[Node] = []
        self._news = anyio.Event()

    async def run(self) -> list[NodeRecord]:
        """Run until nothing more can; the nodes' records in file order. Those behind a gate that waits are pending."""
        opened = deque(node for node in self.nodes if not self._waits[node.id])
        for node in self.nodes:
            record = self._record(node)
            if record.status == "completed" and not node.always_run and type(node.body) is not Cancel:
                self._known.add(node.id)
                self._settle(node, record, opened)
        async with anyio.create_task_group() as group:
            self._start(group, await self._advance([], opened))
            while self._under_way or self._ended:
                if not self._ended:
                    await self._news.wait()
                self._news = anyio.Event()
                ended, self._ended = self._ended, []
                if ended:
                    self._start(group, await self._advance(ended, deque()))
        return [self._record(node) for node in self.nodes]

    def _record(self, node: Node) -> NodeRecord:
        path = self.prefix + node.id
        return self.live.nodes.get(path) or NodeRecord(path, node.kind)

    def _settle(self, node: Node, record: NodeRecord, opened: deque[Node]) -> None:
        """Count a node as settled, if it is; those that waited for nothing else any more are opened."""
        if record.status not in SETTLED:
            return
        self.scope.settled[node.id] = record
        if not self.prefix:
            self.live.settled.add(node.id)
        for after in self._after.get(node.id, ()):
            self._waits[after.id] -= 1
            if not self._waits[after.id]:
                opened.append(after)

    async def _advance(self, ended: Sequence[Node], opened: deque[Node]) -> list[Node]:
        """Make durable how nodes ended, with all that are skipped because of it; the nodes that may start now."""
        skipped, ready = [], []
        records = [self._record(node) for node in ended]
        for node, record in zip(ended, records, strict=True):
            self._settle(node, record, opened)
        while opened:
            node = opened.popleft()
            if node.id in self._known:
                continue
            refused = await self._refused(node)
            if refused is None:
                ready.append(node)
            else:
                skipped.append(refused)
                self._settle(node, refused, opened)
        records += skipped
        if records:
            self.live.nodes.update({record.path: record for record in skipped})
            with anyio.CancelScope(shield=True):  # what is told is kept, and what is not told is not
                for record in records:
                    self.live.tell_end(record)
                # The others stay as they are: a gate among them can be answered from the moment it asks.
                await self.live.save(*(record.path for record in records))
        return sorted(ready, key=lambda node: self._place[node.id])

    async def _refused(self, node: Node) -> NodeRecord | None:
        """The record of a node that does not run: skipped, or failed because its condition cannot be told."""
        reason, error = "", None
        if not fires(node.trigger_rule, [self.scope.settled[id].status for id in node.depends_on]):
            reason = "trigger_rule"
        elif node.when:
            try:
                held = self.scope.when(node.when)
                reason = held.reason
                if held.warning:
                    self.live.warn(held.warning, path=self._record(node).path)
            except LakehouseError as missing:
                error = missing
        if not reason and error is None:
            return None
        record = _anew(self._record(node))
        run, now = self.live.record, self.live.now()
        if not self.live.dry:
            name = op_name(node) if type(node.body) in OBSERVED else f"workflow.{node.kind}"
            asked = Asked(run.starter, run.id, run.workflow, record.path, f"{run.id}:{record.path}")
            told = error.detail if error else "skipped"
            record = record.changed(
                ops=(*record.ops, await self.live.door.record(asked, name, given(node), None, told, 0.0))
            )
        if error is not None:
            failure = Failure(error.code, error.detail, self.live.dry.advice(error) if self.live.dry else error.fix)
            return record.changed(status="failed", failure=failure, started_at=now, ended_at=now)
        return record.changed(status="skipped", reason=reason, ended_at=now)

    def _start(self, group: TaskGroup, nodes: Iterable[Node]) -> None:
        if self.live.closing:
            return
        for node in nodes:
            if type(node.body) in CONTAINERS:
                self._under_way += 1
                group.start_soon(self._contain, group, node)
            else:
                heappush(self._ready, self._place[node.id])
        while self._waiting < len(self._ready) and self._takers < self.live.settings.at_once:
            self._takers += 1
            self._waiting += 1
            self._under_way += 1
            group.start_soon(self._take, group)

    async def _take(self, group: TaskGroup) -> None:
        """Run leaves that are ready, one after another, each in one of the run's places."""
        while self._ready:
            async with self.live.places:
                if not self._ready or self.live.closing:
                    break
                node = self.nodes[heappop(self._ready)]
                self._waiting -= 1
                record, again = await self._attempt(node)
                self._waiting += 1
            self._conclude(group, node, record, again)
        self._takers -= 1
        self._waiting -= 1
        self._leave()

    async def _contain(self, group: TaskGroup, node: Node) -> None:
        self._conclude(group, node, *await self._attempt(node))
        self._leave()

    async def _attempt(self, node: Node) -> tuple[NodeRecord, float | None]:
        """Its record after another attempt, and seconds until the next if there is one."""
        tries = self._tries.get(node.id)
        record = self._record(node)
        if tries is None:
            until = math.inf if node.timeout is None else anyio.current_time() + node.timeout
            tries = self._tries[node.id] = _Tries(until)
            record = _anew(record).changed(started_at=self.live.now())
        attempt = Attempt(
            self.live, node, record.changed(status="running", attempts=record.attempts + 1), self.scope, tries.until
        )
        record = await attempt.run()
        again = None
        if attempt.error is not None and not self.live.closing:
            tries.failures += 1
            again = delay(node, attempt.error, tries.failures)
            if again is not None and anyio.current_time() + again >= tries.until:
                again = None  # its time would be up before
        return record, again

    def _conclude(self, group: TaskGroup, node: Node, record: NodeRecord, again: float | None) -> None:
        self.live.nodes[record.path] = record
        self.live.unsaved.add(record.path)
        if again is None:
            self._ended.append(node)
            self._news.set()
        else:
            self._under_way += 1
            group.start_soon(self._wait, group, node, again)

    async def _wait(self, group: TaskGroup, node: Node, seconds: float) -> None:
        """Start a node again after some time, in which another may have its place."""
        record = self._record(node)
        error = record.failure.detail if record.failure else ""
        self.live.tell("node_retried", record.path, attempt=record.attempts, delay_secs=seconds, error=error)
        await anyio.sleep(seconds)
        if self.live.closing:
            self._ended.append(node)
        else:
            self._start(group, [node])
        self._leave()

    def _leave(self) -> None:
        self._under_way -= 1
        self._news.set()


def _anew(record: NodeRecord) -> NodeRecord:
    """A record of an earlier part of the run, for a node that runs again."""
    if record.status == "pending":
        return record
    kept = {} if record.status == "completed" else record.extra  # what completed begins from the start
    return record.changed(status="pending", reason="", text="", typed=False, failure=None, ended_at=None, extra=kept)
