"""One attempt at a node, from its start to a record of how it ended."""

import math
import time
from typing import Any

import anyio

from lakehouse.engine.workflows.model import (
    IDLE_SECS,
    Approval,
    Bash,
    Cancel,
    Child,
    Loop,
    LoopGroup,
    Mode,
    Node,
    Prompt,
    Script,
)
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.files import keep_output
from lakehouse.engine.workflows.running.kinds import CONTAINERS, EXECUTORS, OBSERVED
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.step import Pause, Step, Stop
from lakehouse.engine.workflows.runs import Failure, NodeRecord
from lakehouse.errors import LakehouseError, TimedOut, foreseen


class Attempt:
    """One attempt. `error` is why it failed, for who decides whether there is another."""

    def __init__(self, live: Live, node: Node, record: NodeRecord, scope: Scope, until: float) -> None:
        """`until` is the moment of the loop's clock at which the node's `timeout` is over."""
        self.live = live
        self.node = node
        self.error: LakehouseError | None = None
        self._until = until
        self._step = Step(live, node, record.path, scope, record.attempts, record.extra, spent_usd=record.cost_usd)
        live.nodes[record.path] = record

    async def run(self) -> NodeRecord:
        """Run it; its record afterwards is completed, failed or paused, and not yet durable.

        Raises Upstream when the store failed, and nothing else but cancellation.
        """
        live, node, step = self.live, self.node, self._step
        path, began = step.path, time.perf_counter()
        changes: dict[str, Any] = {}
        live.tell("node_started", path)
        try:
            output = await self._output()
            live.store.outputs.check(output.text, "its output")
            changes = {"status": "completed", "reason": step.reason, "text": output.text, "typed": output.typed}
            changes["failure"] = None
            if node.output_type:
                await keep_output(live, node, path, output, step.model)
        except Pause as pause:
            changes = {"status": "paused", "extra": {**live.nodes[path].extra, **pause.extra}}
        except Stop as stop:
            cancels = type(node.body) is Cancel
            changes = (
                {"status": "completed", "text": str(stop)}
                if cancels
                else {"status": "failed", "reason": "cancelled", "failure": Failure("cancelled", str(stop))}
            )
            live.cancel(str(stop))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._observe({"failure": Failure("cancelled", "cancelled")}, time.perf_counter() - began)
            live.nodes[path] = self._with_ledger(live.nodes[path])
            raise
        except Exception as error:
            if live.broken is not None:
                raise live.broken from error
            self.error = foreseen(error) or LakehouseError(f"{type(error).__name__}: {error}")
            fix = live.dry.advice(self.error) if live.dry else self.error.fix
            failure = Failure(self.error.code, self.error.detail, fix)
            changes = {"status": "failed", "failure": failure, "text": "", "typed": False}
        step.count()
        await self._observe(changes, time.perf_counter() - began)
        return self._with_ledger(live.nodes[path]).changed(**changes, ended_at=live.now())

    def _with_ledger(self, record: NodeRecord) -> NodeRecord:
        """A record with what this attempt took."""
        step = self._step
        return record.changed(
            ops=(*record.ops, *step.ops),
            cost_usd=record.cost_usd + step.cost_usd + self.live.passed.pop(step.path, 0.0),
            tokens=record.tokens + step.tokens,
            model=step.model or record.model,
        )

    async def _output(self) -> Output:
        live, node, step = self.live, self.node, self._step
        kind = type(node.body)
        execute = live.dry.executor(kind) if live.dry else EXECUTORS[kind]
        # Containers hear of their own nodes, which have idle times themselves; what asks no model is silent by nature,
        # so that only a time its file gives counts.
        silent = kind in CONTAINERS or (node.agent is None and node.idle_timeout == IDLE_SECS)
        idle = math.inf if silent else node.idle_timeout
        with anyio.CancelScope() as scope:
            live.watch(step.path, scope, idle, self._until)
            try:
                return await execute(step)
            finally:
                live.unwatch(step.path)
        if anyio.current_time() >= self._until:
            raise TimedOut(f"it took over {node.timeout:g} seconds.", fix="Raise the node's timeout, in milliseconds.")
        if step.partial.strip() and not (node.agent and node.agent.output_format):
            step.reason = "idle"
            return Output(step.partial)
        raise TimedOut(
            f"nothing came for {node.idle_timeout:g} seconds.", fix="Raise the node's idle_timeout, in milliseconds."
        )

    async def _observe(self, changes: dict[str, Any], seconds: float) -> None:
        """The op of this attempt, unless its calls were observed themselves."""
        step, node = self._step, self.node
        observed = type(node.body) in OBSERVED
        if self.live.dry or (observed and step.ops):
            return
        failure = changes.get("failure")
        said = Output(changes["text"], changes.get("typed", False)).value if changes.get("text") else None
        op = op_name(node) if observed else f"workflow.{node.kind}"
        error = failure.detail if failure else None
        step.ops.append(await self.live.door.record(step.asked, op, given(node), said, error, seconds))


def op_name(node: Node) -> str:
    """The op of a node whose call is observed at the door."""
    return node.body.name if isinstance(node.body, Mode) else "llm.chat"


def given(node: Node) -> dict[str, Any]:
    """What a node was written with, for its op."""
    body = node.body
    if isinstance(body, Bash):
        return {"bash": body.script}
    if isinstance(body, Script):
        return {"script": body.name or body.source, **node.given}
    if isinstance(body, Approval):
        return {"message": body.message}
    if isinstance(body, Cancel):
        return {"reason": body.reason}
    if isinstance(body, Child):
        return {"workflow": body.workflow, **node.given}
    if isinstance(body, Prompt | Loop):
        return {"prompt": (body.prompt if isinstance(body, Loop) else body).text, **node.given}
    return {"nodes": [inner.id for inner in body.nodes]} if isinstance(body, LoopGroup) else dict(node.given)
