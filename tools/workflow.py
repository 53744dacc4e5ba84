"""What workflows are made of, and their runs."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, mode, resource, tool
from lakehouse.engine.workflows.lifting.told import FromOps
from lakehouse.engine.workflows.running.dry import dry_of
from lakehouse.engine.workflows.runs.diff import RunDiff
from lakehouse.engine.workflows.runs.logs import Logs
from lakehouse.engine.workflows.runs.report import RunPage, RunReport, page_of
from lakehouse.engine.workflows.runs.timeline import Timeline
from lakehouse.engine.workflows.told import Listing, Validation, check_named, listing, output_of, validation
from lakehouse.engine.workflows.triggers.report import TriggerList

INSTRUCTIONS = (
    "Work of several steps, durable and with approvals: workflow_list and workflow_run. How to write one: "
    "lakehouse://guide and workflow_modes."
)

Run = Annotated[str, "Its run_id."]
Gate = Annotated[str | None, "Where several wait."]
Background = Annotated[bool, "Answer at once."]
Wait = Annotated[Annotated[float, Field(ge=0)] | None, "Seconds."]
Status = Literal["running", "completed", "failed", "cancelled", "paused", "interrupted"]


class Mode(BaseModel):
    """One thing a node of a workflow may do."""

    mode: str = Field(description="Its name.")
    description: str = Field(description="What it does.")
    effect: str = Field(description="reads, writes or destroys.")
    tool: bool = Field(description="Whether it is a tool too; the others are steps only.")
    arguments: dict[str, Any] | None = Field(None, description="Of a named one: what `with:` takes, as a JSON Schema.")
    output: dict[str, Any] | None = Field(None, description="Of a named one: what `$node.output` is, as a JSON Schema.")


class Modes(BaseModel):
    """What there is."""

    modes: Sequence[Mode] = Field(description="In the order of the catalogue.")
    count: int = Field(description="How many there are.")


class Values(BaseModel):
    """What there is to choose from."""

    values: Sequence[str] = Field(description="In order.")


@tool(toolset="workflow", route="GET /v1/observer/workflow/modes", title="List workflow modes")
async def modes(lake: Lakehouse, name: Annotated[str | None, "Only this one, with what it takes."] = None) -> Modes:
    """List the modes a workflow's nodes can run: steps of their own, and every tool; with a name, what that one takes.

    Example: {"name": "sql.query"}.
    """
    found = [
        Mode(
            mode=one.name,
            description=" ".join(one.description.partition("Example: ")[0].split()),
            effect=one.effect,
            tool=one.public,
            arguments=one.input_schema if name is not None else None,
            output=one.output_schema if name is not None else None,
        )
        for one in lake.catalogue.steps(name)
    ]
    return Modes(modes=found, count=len(found))


@tool(
    "writes",
    toolset="workflow core",
    route="POST /v1/observer/workflow/run",
    title="Run a workflow",
    long=True,
)
async def run(
    lake: Lakehouse,
    workflow: Annotated[str, "Its name."] = "",
    definition: Annotated[str | None, "Its YAML instead."] = None,
    input: Annotated[dict[str, Any] | None, "Its inputs by name."] = None,
    message: Annotated[str, "`$ARGUMENTS`."] = "",
    background: Background = False,
    wait: Wait = None,
    dry_run: Annotated[bool, "Call nothing, keep nothing."] = False,
    stubs: Annotated[dict[str, Any] | None, "Dry: outputs by node."] = None,
    exec_code: Annotated[bool, "Dry: run scripts."] = False,
    pause_at_gates: Annotated[bool, "Dry: stop at gates."] = False,
    provider_map: Annotated[dict[str, str] | None, "Models for names in its file."] = None,
) -> RunReport:
    """Run a workflow of workflow_list and wait for it. A long one goes on by itself: workflow_status takes its run_id.

    Example: {"workflow": "fixture-chain", "input": {"word": "hello"}}.
    """
    lake.check_starts()
    check_named(workflow, definition)
    record = await lake.workflows.start(
        workflow,
        lake.starter,
        definition=definition,
        inputs=input,
        message=message,
        background=background,
        dry=dry_of(dry_run, stubs, exec_code, pause_at_gates),
        providers=provider_map,
    )
    return await lake.followed(record.id, 0 if background else wait, own=True)


@tool(toolset="workflow", route="POST /v1/observer/workflow/validate", title="Examine workflows")
async def validate(
    lake: Lakehouse,
    workflow: Annotated[str, "Its name; else all."] = "",
    definition: Annotated[str | None, "Its YAML instead."] = None,
) -> Validation:
    """Tell what is wrong or strange about a workflow before it runs."""
    return await validation(lake.workflows, workflow, definition, lake.starter)


@tool(toolset="workflow", route="GET /v1/observer/workflow/runs/{run}", title="Show a run")
async def status(lake: Lakehouse, run: Run, timeline: Annotated[bool, "For drawing."] = False) -> RunReport:
    """Show how a run stands: its nodes, what they put out, what it waits for."""
    return await lake.workflows.report(await lake.workflows.state(run), timeline=timeline)


@tool(toolset="workflow", route="GET /v1/observer/workflow/runs", title="List runs")
async def runs(
    lake: Lakehouse,
    workflow: Annotated[str | None, "Of this workflow."] = None,
    status: Annotated[Status | None, "With this status."] = None,
    parent: Annotated[str | None, "Below this run; else roots."] = None,
    before: Annotated[str | None, "`next` of the page before."] = None,
    limit: Annotated[int, Field(ge=1, le=500), "At most."] = 20,
) -> RunPage:
    """List runs of workflows, the newest first."""
    found = await lake.workflows.runs(limit + 1, workflow=workflow, status=status, parent=parent, before=before)
    return page_of(found, limit)


@tool(toolset="workflow", route="GET /v1/observer/workflow/runs/{run}/logs", title="Show a run's events")
async def logs(
    lake: Lakehouse,
    run: Run,
    node: Annotated[str | None, "Only this node's, with its log."] = None,
    after: Annotated[int, Field(ge=0), "`next` of the answer before."] = 0,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 100,
) -> Logs:
    """Show what happened in a run, event by event."""
    return await lake.workflows.logs(run, node, after, limit)


@tool(
    "writes",
    toolset="workflow",
    route="/v1/observer/workflow/runs/{run}/cancel",
    title="Cancel a run",
    idempotent=True,
)
async def cancel(lake: Lakehouse, run: Run, reason: Annotated[str, "Why."] = "") -> RunReport:
    """End a run: what runs is ended, nothing more starts."""
    await lake.workflows.cancel(run, reason)
    await lake.record("cancel", "run", run, after={"reason": reason})
    return await lake.workflows.report(await lake.workflows.state(run))


@tool("writes", toolset="workflow", route="/v1/observer/workflow/runs/{run}/resume", title="Resume a run", long=True)
async def resume(lake: Lakehouse, run: Run, wait: Wait = None) -> RunReport:
    """Go on with a run that failed, was cancelled or interrupted; what completed is kept."""
    lake.check_starts()
    record = await lake.workflows.resume(run)
    await lake.record("resume", "run", record.id)
    return await lake.followed(record.id, wait)


@tool(
    "writes",
    toolset="workflow",
    route="/v1/observer/workflow/runs/{run}/approve",
    title="Approve a run's gate",
    long=True,
    idempotent=True,
)
async def approve(
    lake: Lakehouse,
    run: Run,
    text: Annotated[str, "What is said, or a loop asks for."] = "",
    node: Gate = None,
    decision: Annotated[str, "One that the gate offers."] = "approve",
    wait: Wait = None,
) -> RunReport:
    """Answer what a paused run waits for, and let it go on."""
    return await _answered(lake, run, node, decision, text, wait)


@tool(
    "writes",
    toolset="workflow",
    route="/v1/observer/workflow/runs/{run}/reject",
    title="Reject a run's gate",
    long=True,
    idempotent=True,
)
async def reject(
    lake: Lakehouse,
    run: Run,
    text: Annotated[str, "Why."] = "",
    node: Gate = None,
    wait: Wait = None,
) -> RunReport:
    """Say no where a run waits: it is cancelled, or done over."""
    return await _answered(lake, run, node, "reject", text, wait)


async def _answered(
    lake: Lakehouse, run: str, node: str | None, decision: str, text: str, wait: float | None
) -> RunReport:
    by = lake.caller.name or lake.via
    record = await lake.workflows.answer(run, node, decision, text, by)
    await lake.record("answer", "run", run, after={"node": node, "decision": decision})
    return await lake.followed(record.id, wait)


@tool("writes", toolset="workflow", route="/v1/observer/workflow/runs/{run}/rerun", title="Run again", long=True)
async def rerun(
    lake: Lakehouse,
    run: Run,
    from_node: Annotated[str | None, "Begin here; the rest is taken over."] = None,
    input: Annotated[dict[str, Any] | None, "Inputs that are to be others."] = None,
    current: Annotated[bool, "The file as it is now."] = False,
    wait: Wait = None,
) -> RunReport:
    """Run again what a run ran, as a new run."""
    lake.check_starts()
    record = await lake.workflows.rerun(run, lake.starter, from_node=from_node, inputs=input, current=current)
    await lake.record("rerun", "run", record.id, after={"rerun_of": run})
    return await lake.followed(record.id, wait, own=True)


@tool(toolset="workflow", route="GET /v1/observer/workflow/diff", title="Compare two runs")
async def diff(lake: Lakehouse, a: Run, b: Run) -> RunDiff:
    """Compare two runs, node by node."""
    return await lake.workflows.diff(a, b)


@mode()
async def names(lake: Lakehouse, prefix: Annotated[str, "How the names begin."] = "") -> Values:
    """List the names of workflows."""
    found = await listing(lake.workflows, lake.starter)
    return Values(values=[one.name for one in found.workflows if one.valid and one.name.startswith(prefix)])


@mode()
async def ids(lake: Lakehouse, prefix: Annotated[str, "How the ids begin."] = "") -> Values:
    """List the newest runs."""
    found = await lake.workflows.runs(100)
    return Values(values=[record.id for record, _ in found if record.id.startswith(prefix)])


@resource(
    "lakehouse://workflows/{name}",
    title="A workflow's file",
    mime_type="text/yaml",
    complete={"name": "workflow.names"},
    listed=True,
)
async def file(lake: Lakehouse, name: Annotated[str, "The workflow."]) -> str:
    """The text of a workflow."""
    source, _ = await lake.workflows.load(name)
    return source.text


@resource("lakehouse://runs/{id}", title="A run", complete={"id": "workflow.ids"})
async def report(lake: Lakehouse, id: Annotated[str, "The run."]) -> RunReport:
    """How a run stands."""
    return await status(lake, id)


@resource("lakehouse://runs/{id}/timeline", title="When what ran in a run", complete={"id": "workflow.ids"})
async def timeline(lake: Lakehouse, id: Annotated[str, "The run."]) -> Timeline:
    """A run as it can be drawn."""
    return await lake.workflows.timeline(id)


@resource(
    "lakehouse://runs/{id}/nodes/{node}",
    title="What a node put out",
    mime_type="text/plain",
    complete={"id": "workflow.ids"},
)
async def output(lake: Lakehouse, id: Annotated[str, "The run."], node: Annotated[str, "The node."]) -> str:
    """All that a node of a run put out; of a loop group's, write `group#2/id` as `group%232%2Fid`."""
    return output_of(await lake.workflows.state(id), node)


@tool(toolset="workflow", route="GET /v1/observer/workflow/triggers", title="List triggers")
async def triggers(lake: Lakehouse) -> TriggerList:
    """List what starts workflows by itself: next, last run, missed."""
    found = await lake.triggers.report()
    return TriggerList(enabled=lake.triggers.enabled, triggers=found, count=len(found))


@tool("writes", toolset="workflow", route="/v1/observer/workflow/from-ops", title="Make a workflow of calls")
async def from_ops(
    lake: Lakehouse,
    of: Annotated[Sequence[str], "A run; calls by id; or mcp, cli: its last calls."],
    last: Annotated[int, Field(ge=1, le=1000), "So many."] = 10,
    name: Annotated[str, "Its name."] = "",
    save: Annotated[bool, "As a file."] = False,
) -> FromOps:
    """Make a workflow file of recorded calls, with inputs, stubs and a test."""
    return await lake.lifting.lift(of, lake.starter, last=last, name=name, save=save)


@tool(toolset="workflow", route="GET /v1/observer/workflow/list", title="List workflows")
async def list(lake: Lakehouse) -> Listing:
    """List the workflows there are, with what they are for and take."""
    return await listing(lake.workflows, lake.starter)
