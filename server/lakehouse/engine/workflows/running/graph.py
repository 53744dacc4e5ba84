"""Nodes that run as soon as what each depends on has settled."""

import time
from collections.abc import Sequence
from contextlib import nullcontext

import anyio
from anyio.abc import TaskGroup

from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.kinds import CONTAINERS, EXECUTORS, OBSERVED
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.step import Pause, Step, Stop
from lakehouse.engine.workflows.runs import Failure, NodeRecord
from lakehouse.engine.workflows.runs.record import SETTLED
from lakehouse.errors import LakehouseError, foreseen


class Graph:
    """The nodes of a run, or of one iteration of a loop group. Nodes that became ready together start in file order."""

    def __init__(self, live: Live, nodes: Sequence[Node], scope: Scope, prefix: str = "") -> None:
        """`prefix` stands before the ids of nodes in the run's records: `group#2/`."""
        self.live = live
        self.nodes = nodes
        self.scope = scope
        self.prefix = prefix
        own = {node.id for node in nodes}  # of a part of a graph, the rest has settled
        self._waits = {node.id: own & set(node.depends_on) for node in nodes}
        self._after: dict[str, list[Node]] = {}
        for node in nodes:
            for id in dict.fromkeys(node.depends_on):
                self._after.setdefault(id, []).append(node)

    async def run(self) -> list[NodeRecord]:
        """Run until nothing more can; the nodes' records in file order. Those behind a gate that waits are pending."""
        async with anyio.create_task_group() as group:
            for node in self.nodes:
                if not self._waits[node.id]:
                    group.start_soon(self._node, node, group)
        return [self._record(node) for node in self.nodes]

    def _record(self, node: Node) -> NodeRecord:
        path = self.prefix + node.id
        return self.live.nodes.get(path) or NodeRecord(path, node.kind)

    async def _node(self, node: Node, group: TaskGroup) -> None:
        record = self._record(node)
        if record.status != "completed" or node.always_run:
            record = await self._settled(node, record)
        if record.status in SETTLED:
            self.scope.settled[node.id] = record
            for after in self._after.get(node.id, ()):
                waits = self._waits[after.id]
                waits.discard(node.id)
                if not waits:
                    group.start_soon(self._node, after, group)

    async def _settled(self, node: Node, record: NodeRecord) -> NodeRecord:
        """Skip it, or run it; the durable record of how that ended."""
        live = self.live
        if not all(self.scope.settled[id].status == "completed" for id in node.depends_on):
            record = record.changed(status="skipped", reason="trigger_rule", ended_at=time.time())
            await live.keep(record)
            return record
        body = node.body
        async with nullcontext() if type(body) in CONTAINERS else live.places:
            record = record.changed(status="running", started_at=time.time(), attempts=record.attempts + 1)
            live.nodes[record.path] = record
            live.tell("node_started", record.path)
            step = Step(live, node, record.path, self.scope, record.attempts, record.extra)
            try:
                output = await EXECUTORS[type(body)](step)
                record = record.changed(status="completed", text=output.text, typed=output.typed, failure=None)
            except Pause as pause:
                record = record.changed(status="paused")
                await step.keep(**pause.extra)
            except Stop as stop:
                live.cancel(str(stop))
                raise
            except Exception as error:
                failure = foreseen(error) or LakehouseError(f"{type(error).__name__}: {error}")
                record = record.changed(status="failed", failure=Failure(failure.code, failure.detail, failure.fix))
        record = record.changed(extra=live.nodes[record.path].extra)  # what its kind has kept meanwhile
        if type(body) not in OBSERVED:
            began = record.started_at or 0.0
            said = Output(record.text, record.typed).value
            error_text = record.failure.detail if record.failure else None
            op = await live.door.record(
                step.asked, f"workflow.{node.kind}", dict(node.given), said, error_text, time.time() - began
            )
            step.ops.append(op)
        record = record.changed(
            ended_at=time.time(),
            ops=(*record.ops, *step.ops),
            cost_usd=record.cost_usd + step.cost_usd,
            tokens=record.tokens + step.tokens,
            model=step.model or record.model,
        )
        live.tell(f"node_{record.status}", record.path)
        await live.keep(record)
        return record
