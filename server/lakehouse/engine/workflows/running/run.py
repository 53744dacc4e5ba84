"""A whole run, from its first node to its verdict."""

import time
from collections.abc import Sequence

import anyio

from lakehouse.engine.workflows.references import Scope
from lakehouse.engine.workflows.running.graph import Graph
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.step import Stop
from lakehouse.engine.workflows.runs import Failure, NodeRecord
from lakehouse.engine.workflows.runs.record import RunStatus


async def execute(live: Live) -> None:
    """Run it until it ends or pauses; how it went is durable then."""
    live.tell("run_started")
    scope = Scope.of(live.workflow.nodes, live.record.inputs, _variables(live), live.door.mode)
    nodes: Sequence[NodeRecord] = ()
    with live.scope:
        try:
            nodes = await Graph(live, live.workflow.nodes, scope).run()
        except* Stop:
            pass
    if live.cancelled_for is not None:
        status: RunStatus = "cancelled"
    else:
        status = verdict(nodes)
    failed = next((node for node in nodes if node.status == "failed"), None)
    error = (
        Failure(failed.failure.code, f"{failed.path}: {failed.failure.detail}") if failed and failed.failure else None
    )
    live.tell(f"run_{status}")
    with anyio.CancelScope(shield=True):
        await live.keep_run(status=status, error=error, ended_at=time.time(), result=_result(live, nodes))


def verdict(nodes: Sequence[NodeRecord]) -> RunStatus:
    """paused while a gate waits; failed if any node failed or none completed; else completed."""
    if any(node.status == "paused" for node in nodes):
        return "paused"
    if any(node.status == "failed" for node in nodes) or not any(node.status == "completed" for node in nodes):
        return "failed"
    return "completed"


def _result(live: Live, nodes: Sequence[NodeRecord]) -> str:
    """The output of the node that `returns` names, else of the first node nothing depends on that is not blank."""
    by_path = {node.path: node for node in nodes}
    if live.workflow.returns:
        return by_path[live.workflow.returns].text if live.workflow.returns in by_path else ""
    needed = {id for node in live.workflow.nodes for id in node.depends_on}
    sinks = [by_path[node.id].text for node in live.workflow.nodes if node.id not in needed and node.id in by_path]
    return next((text for text in sinks if text.strip()), "")


def _variables(live: Live) -> dict[str, str]:
    message = live.record.message
    return {
        "ARGUMENTS": message,
        "USER_MESSAGE": message,
        "WORKFLOW_ID": live.record.id,
        "ARTIFACTS_DIR": str(live.folder / "artifacts"),
    }
