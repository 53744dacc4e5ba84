"""What workflows are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool
from lakehouse.engine import moment
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.references import Output


class Step(BaseModel):
    """One thing a node of a workflow may do."""

    mode: str = Field(description="Its name.")
    description: str = Field(description="What it does.")
    effect: str = Field(description="reads, writes or destroys.")
    tool: bool = Field(description="Whether it is a tool too; the others are steps only.")
    arguments: dict[str, Any] | None = Field(None, description="What it takes, as a JSON Schema; of a named one only.")


class Steps(BaseModel):
    """What there is."""

    modes: list[Step] = Field(description="In the order of the catalogue.")
    count: int = Field(description="How many there are.")


@tool(toolset="workflow", route="GET /v1/observer/workflow/modes", title="List workflow modes")
async def modes(lake: Lakehouse, name: Annotated[str | None, "Only this one, with what it takes."] = None) -> Steps:
    """List the modes a workflow's nodes can run: steps of their own, and every tool; with a name, what that one takes.

    Example: {"name": "sql.query"}.
    """
    wanted = [lake.catalogue.find(name)] if name is not None else list(lake.catalogue.values())
    found = [
        Step(
            mode=capability.name,
            description=capability.description.partition("\n")[0],
            effect=capability.effect,
            tool=capability.public,
            arguments=None if name is None else capability.input_schema,
        )
        for capability in wanted
        if capability.facts.kind in ("tool", "mode")
    ]
    return Steps(modes=found, count=len(found))


class NodeReport(BaseModel):
    """One node of a run."""

    id: str = Field(description="Its id; within a loop group `group#2/id`, the second iteration's.")
    kind: str = Field(description="What it is: prompt, bash, mode, approval and so on.")
    mode: str | None = Field(None, description="Of a mode: which.")
    status: str = Field(description="pending, running, completed, failed, skipped or paused.")
    output: Any = Field(None, description="What it put out.")
    error: str | None = Field(None, description="Why it failed.")
    reason: str | None = Field(None, description="Why it was skipped.")
    started_at: str | None = Field(None, description="When it began.")
    duration_ms: float | None = Field(None, description="How long it took.")


class RunReport(BaseModel):
    """A run."""

    run_id: str = Field(description="Its handle, for workflow_status and the others.")
    workflow: str = Field(description="The workflow's name.")
    status: str = Field(description="running, completed, failed, cancelled or paused.")
    result: str | None = Field(None, description="What it returns.")
    error: str | None = Field(None, description="Why it failed.")
    nodes: list[NodeReport] = Field(description="In the order of the file.")
    ops: list[str] = Field(description="The observed operations of its nodes.")


def _report(state: RunState) -> RunReport:
    record = state.record
    return RunReport(
        run_id=record.id,
        workflow=record.workflow,
        status=record.status,
        result=record.result or None,
        error=record.error.detail if record.error else None,
        nodes=[
            NodeReport(
                id=node.path,
                kind=node.kind,
                status=node.status,
                output=Output(node.text, node.typed).value,
                error=node.failure.detail if node.failure else None,
                reason=node.reason or None,
                started_at=moment.text_of(node.started_at) if node.started_at else None,
                duration_ms=(node.ended_at - node.started_at) * 1000 if node.ended_at and node.started_at else None,
            )
            for node in state.nodes
        ],
        ops=[op for node in state.nodes for op in node.ops],
    )


@tool(
    "writes",
    toolset="workflow core",
    route="POST /v1/observer/workflow/run",
    title="Run a workflow",
    long=True,
    short="run WORKFLOW",
)
async def run(
    lake: Lakehouse,
    workflow: Annotated[str, "Its name; see workflow_list."],
    input: Annotated[dict[str, Any] | None, "Its inputs by name."] = None,
    message: Annotated[str, "What `$ARGUMENTS` stands for."] = "",
) -> RunReport:
    """Run a workflow and wait for it; a long one goes on by itself, and its run_id finds it again.

    Example: {"workflow": "fixture-chain", "input": {"word": "hello"}}.
    """
    record = await lake.workflows.start(workflow, lake.starter, inputs=input, message=message)
    return _report(await lake.workflows.wait(record.id, 60, lake.progress))
