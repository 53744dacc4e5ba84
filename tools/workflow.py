"""What workflows are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


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
