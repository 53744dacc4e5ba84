"""Runs as they are told to callers."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from lakehouse.engine import moment
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.runs.record import SETTLED, Failure, NodeRecord, RunRecord
from lakehouse.engine.workflows.runs.timeline import Timeline


class NodeReport(BaseModel):
    """One node of a run."""

    id: str = Field(description="Its id; within a loop group `group#2/id`, the second iteration's.")
    kind: str = Field(description="What it is: prompt, bash, mode, approval and so on.")
    mode: str | None = Field(None, description="Of a mode: which; else its kind.")
    status: str = Field(description="pending, running, completed, failed, skipped or paused.")
    output: Any = Field(None, description="What it put out.")
    error: str | None = Field(None, description="Why it failed.")
    reason: str | None = Field(None, description="Why it was skipped, or how it is told apart: idle, copied.")
    started_at: str | None = Field(None, description="When it began.")
    duration_ms: float | None = Field(None, description="How long it took.")
    attempts: int = Field(0, description="How often it was tried.")
    cost_usd: float | None = Field(None, description="What its models cost.")
    dry_run: bool | None = Field(None, description="true: nothing was called, and nothing is kept.")


class GateReport(BaseModel):
    """A question to somebody."""

    node: str = Field(description="The node that asks.")
    run: str | None = Field(None, description="The run it is in, where that is one below: to be answered there.")
    message: str = Field(description="What it asks.")
    decisions: Sequence[str] = Field(description="What may be answered.")
    labels: Mapping[str, str] | None = Field(None, description="What decisions are called.")


class RunReport(BaseModel):
    """A run."""

    run_id: str = Field(description="Its handle, for workflow_status and the others.")
    workflow: str = Field(description="The workflow's name.")
    status: str = Field(description="running, completed, failed, cancelled, paused, or interrupted: workflow_resume.")
    result: str | None = Field(None, description="What it returns.")
    outcome: bool | None = Field(None, description="The verdict of its outcome_field.")
    error: str | None = Field(None, description="Why it failed.")
    waits: Sequence[GateReport] = Field((), description="What it waits for: workflow_approve or workflow_reject.")
    nodes: Sequence[NodeReport] = Field(description="In the order of the file.")
    ops: Sequence[str] = Field(description="The observed operations of its nodes.")
    cost_usd: float | None = Field(None, description="What its models cost.")
    dry_run: bool | None = Field(None, description="true: nothing was called, and nothing is kept.")
    parent: str | None = Field(None, description="The run it belongs to.")
    rerun_of: str | None = Field(None, description="The run it was made of.")
    warnings: Sequence[str] | None = Field(None, description="What is strange about it, or was left out.")
    timeline: Timeline | None = Field(None, description="When what ran.")


class RunLine(BaseModel):
    """A run in a list."""

    run_id: str = Field(description="Its handle.")
    workflow: str = Field(description="The workflow's name.")
    status: str = Field(description="As in workflow_status.")
    started_at: str = Field(description="When it began.")
    duration_ms: float | None = Field(None, description="How long it took.")
    error: str | None = Field(None, description="Why it failed.")
    parent: str | None = Field(None, description="The run it belongs to.")


class RunPage(BaseModel):
    """Runs, the newest first."""

    runs: Sequence[RunLine] = Field(description="The runs.")
    count: int = Field(description="How many are in this answer.")
    next: str | None = Field(None, description="Give it as `before` for older ones; absent when there are none.")


def report_of(
    record: RunRecord,
    status: str,
    nodes: Sequence[NodeRecord],
    gates: Sequence[tuple[str | None, NodeRecord]],
    timeline: Timeline | None,
    warnings: Sequence[str] = (),
) -> RunReport:
    """A run with its nodes, its status as it is shown, and the gates that wait, of runs below it with their runs."""
    modes = {one.id: one.mode for one in record.plan}
    return RunReport(
        run_id=record.id,
        workflow=record.workflow,
        status=status,
        result=record.result or None,
        outcome=record.outcome,
        error=_told(record.error),
        waits=[_gate(run, node) for run, node in gates],
        nodes=[_node(node, modes.get(node.path)) for node in nodes],
        ops=[op for node in nodes for op in node.ops],
        cost_usd=sum(node.cost_usd for node in nodes) or None,
        dry_run=True if record.dry is not None else None,
        parent=record.parent,
        rerun_of=record.rerun_of,
        timeline=timeline,
        warnings=warnings or None,
    )


def page_of(found: Sequence[tuple[RunRecord, str]], limit: int) -> RunPage:
    """Runs, each with its status as it is shown, of which one more than the limit was asked for."""
    lines = [
        RunLine(
            run_id=record.id,
            workflow=record.workflow,
            status=status,
            started_at=moment.text_of(record.started_at),
            duration_ms=_ms(record.started_at, record.ended_at),
            error=_told(record.error),
            parent=record.parent,
        )
        for record, status in found[:limit]
    ]
    return RunPage(runs=lines, count=len(lines), next=lines[-1].run_id if len(found) > limit else None)


def _node(node: NodeRecord, mode: str | None) -> NodeReport:
    began = node.started_at or (node.ended_at if node.status == "skipped" else None)
    return NodeReport(
        id=node.path,
        kind=node.kind,
        mode=mode or (node.kind if node.kind != "mode" else None),
        status=node.status,
        output=_output(node),
        error=_told(node.failure),
        reason=node.reason or None,
        started_at=moment.text_of(began) if began else None,
        duration_ms=_ms(began, node.ended_at),
        attempts=node.attempts,
        cost_usd=node.cost_usd or None,
    )


def _output(node: NodeRecord) -> Any:
    if node.text:
        return Output(node.text, node.typed).value
    return "" if node.status in SETTLED else None


def _gate(run: str | None, node: NodeRecord) -> GateReport:
    extra = node.extra
    return GateReport(
        node=node.path,
        run=run,
        message=extra.get("message", ""),
        decisions=extra.get("decisions", ()),
        labels=extra.get("labels") or None,
    )


def _told(failure: Failure | None) -> str | None:
    return f"{failure.detail} {failure.fix}".strip() if failure else None


def _ms(begin: float | None, end: float | None) -> float | None:
    return round(max(0.0, end - begin) * 1000, 3) if begin is not None and end is not None else None
