"""A whole run, from its first node to its verdict."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse.engine.workflows.references import Scope
from lakehouse.engine.workflows.running.branch import base_branch
from lakehouse.engine.workflows.running.files import artifacts, check_evidence, prepare, state
from lakehouse.engine.workflows.running.graph import Graph
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.runs import Failure, NodeRecord
from lakehouse.engine.workflows.runs.record import RunStatus
from lakehouse.errors import LakehouseError, TimedOut, foreseen

log = logging.getLogger("lakehouse")


async def execute(live: Live) -> None:
    """Run it until it ends or pauses; how it went is durable then.

    Where this task is cancelled by neither `live.cancel` nor a run above, the run stays as it is and can be resumed.
    Raises Upstream where the disk fails, when nothing that it could not keep was built upon.
    """
    live.tell("run_resumed" if live.nodes else "run_started")
    _remember(live)
    try:
        error = await _graph(live)
        await _end(live, error)
    except anyio.get_cancelled_exc_class():
        if live.cancelled_for is not None or live.ended_from_above:
            live.cancelled_for = live.cancelled_for or "the run it belongs to ended."
            with anyio.CancelScope(shield=True):
                await _end(live, None)
        elif live.above is None and live.dry is None:
            log.warning(
                "workflow.interrupted run %s of %s: workflow_resume goes on with it", live.record.id, live.workflow.name
            )
        raise


async def _graph(live: Live) -> LakehouseError | None:
    """Run the nodes; what went wrong with the run itself."""
    seconds = live.workflow.timeout or live.settings.timeout_secs
    live.scope.deadline = anyio.current_time() + seconds
    try:
        with live.scope:
            await prepare(live)
            around = variables(live) | await _checkout(live)
            scope = Scope.of(live.workflow.nodes, live.record.inputs, around, live.door.mode)
            await Graph(live, live.workflow.nodes, scope).run()
            return live.refusal
    except Exception as error:
        # What an attempt meets is in its record: this is the store, or a fault of ours.
        found = live.broken or foreseen(error)
        if found is None:
            found = live.broken = LakehouseError(f"{type(error).__name__}: {error}")
            found.__cause__ = error
        return found
    if live.cancelled_for is not None:
        return None
    setting = "timeout" if live.workflow.timeout else "workflows.timeout_secs"
    return TimedOut(f"the run took over {seconds:g} seconds.", fix=f"Raise {setting}, or let it do less.")


async def _end(live: Live, error: LakehouseError | None) -> None:
    """Make the verdict durable, with the nodes it ended and those that never started."""
    with anyio.CancelScope(shield=True):
        status: RunStatus = "failed"
        if live.cancelled_for is not None:
            status = "cancelled"
        elif error is None:
            if orphans := _orphans(live):
                await live.keep(*orphans)
            status = verdict(live.records())
            try:
                if status == "completed":
                    await check_evidence(live)
            except LakehouseError as missing:
                status, error = "failed", missing
        if live.cancelled_for is not None or (error is not None and live.broken is None):
            ended = _ended(live, error)
            for record in ended:
                if record is live.nodes.get(record.path):  # it had ended by itself, and nothing was made of it any more
                    live.tell_end(record)
            await live.keep(*ended)
        if live.cancelled_for is not None:
            failure: Failure | None = Failure("cancelled", live.cancelled_for)
        elif error is not None:
            failure = Failure(error.code, error.detail, error.fix)
        else:
            failure = _first_failure(live.records()) if status == "failed" else None
        live.tell(f"run_{status}", **({"reason": live.cancelled_for} if live.cancelled_for is not None else {}))
        await live.keep_run(
            status=status,
            error=failure,
            ended_at=None if status == "paused" else live.now(),
            result=_result(live),
            outcome=_outcome(live),
        )
    if live.broken is not None:
        raise live.broken


def _ended(live: Live, error: LakehouseError | None) -> list[NodeRecord]:
    """The records of nodes that a run left when it ended early: those that ran failed, the others are skipped."""
    if live.cancelled_for is not None or error is None:
        reason, failure = "cancelled", Failure("cancelled", live.cancelled_for or "")
    else:
        reason = "timeout" if isinstance(error, TimedOut) else "budget"
        failure = Failure(error.code, error.detail, error.fix)
    found: list[NodeRecord] = []
    now = live.now()
    for record in live.records():
        if record.status in ("running", "paused"):
            record = record.changed(status="failed", reason=reason, failure=failure, ended_at=now)
        elif record.status == "pending":
            record = record.changed(status="skipped", reason=reason, ended_at=now)
        elif record.path not in live.unsaved:
            continue
        found.append(record)
    return found


def _orphans(live: Live) -> list[NodeRecord]:
    """The records of nodes that ran when the group they belong to ran out of time."""
    failure = Failure("cancelled", "the group it belongs to ended.")
    now = live.now()
    return [
        record.changed(status="failed", reason="cancelled", failure=failure, ended_at=now)
        for record in live.records()
        if record.status == "running"
    ]


def verdict(nodes: Sequence[NodeRecord]) -> RunStatus:
    """paused while a gate waits; failed if any node failed or none completed; else completed."""
    if any(node.status == "paused" for node in nodes):
        return "paused"
    if any(node.status == "failed" for node in nodes) or not any(node.status == "completed" for node in nodes):
        return "failed"
    return "completed"


def _first_failure(nodes: Sequence[NodeRecord]) -> Failure:
    for node in nodes:
        if node.status == "failed" and node.failure is not None:
            return Failure(node.failure.code, f"{node.path}: {node.failure.detail}", node.failure.fix)
    return Failure("unprocessable", "no node completed: all were skipped.", "See why in the reasons of the nodes.")


def _result(live: Live) -> str:
    """The output of the node that `returns` names, else of the first node nothing depends on that is not blank."""
    nodes = live.nodes
    if live.workflow.returns:
        return nodes[live.workflow.returns].text if live.workflow.returns in nodes else ""
    needed = {id for node in live.workflow.nodes for id in node.depends_on}
    sinks = [nodes[node.id].text for node in live.workflow.nodes if node.id not in needed and node.id in nodes]
    return next((text for text in sinks if text.strip()), "")


def _outcome(live: Live) -> bool | None:
    """What the field says that `outcome_field` names, of the node that `returns` does."""
    found = live.nodes.get(live.workflow.returns)
    if not live.workflow.outcome_field or found is None or found.status != "completed":
        return None
    try:
        value = json.loads(found.text)
    except (ValueError, RecursionError):
        return None
    said = value.get(live.workflow.outcome_field) if isinstance(value, dict) else None
    return said if isinstance(said, bool) else None


def _remember(live: Live) -> None:
    """What earlier parts of the run cost."""
    live.cost_usd = sum(record.cost_usd for record in live.nodes.values())
    live.spend(0.0)


async def _checkout(live: Live) -> dict[str, str]:
    """What is to be known of the checkout the run stands in, where its file asks for it."""
    starter = live.record.starter
    if not (starter.shell and starter.folder) or "BASE_BRANCH" not in repr(live.record.bundle):
        return {}
    return {"BASE_BRANCH": await anyio.to_thread.run_sync(base_branch, Path(starter.folder))}


def variables(live: Live) -> dict[str, str]:
    """What `$NAME` stands for in this run's texts, outside of loops and gates."""
    message = live.record.message
    empty = ("CONTEXT", "EXTERNAL_CONTEXT", "ISSUE_CONTEXT", "LOOP_USER_INPUT", "LOOP_PREV_OUTPUT", "REJECTION_REASON")
    return {
        "ARGUMENTS": message,
        "USER_MESSAGE": message,
        "WORKFLOW_ID": live.record.id,
        "ARTIFACTS_DIR": str(artifacts(live)),
        "STATE_DIR": str(state(live)),
        "DOCS_DIR": "docs/",
        **dict.fromkeys(empty, ""),
    }
