"""What happened lately: each call, its outcome and duration."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, resource, tool


class Op(BaseModel):
    """One call."""

    id: str = Field(description="The call's id; log lines and errors name it.")
    ts: str = Field(description="When it began, UTC.")
    source: str = Field(description="Where it came from: mcp, cli, python and so on.")
    op: str = Field(description="The capability.")
    success: bool = Field(description="Whether it succeeded.")
    duration_ms: float = Field(description="How long it took.")
    input_summary: str = Field(description="Its arguments, shortened, without credentials.")
    output_summary: str = Field(description="Its result, shortened, without credentials.")
    error: str | None = Field(None, description="What went wrong.")
    parent: str | None = Field(None, description="The call that made this one, or the run of a workflow.")
    workflow: str | None = Field(None, description="Of a workflow's node: which.")
    node_id: str | None = Field(None, description="That node, by its path in the run.")


class Ops(BaseModel):
    """Calls, newest first."""

    ops: Sequence[Op] = Field(description="The calls.")
    count: int = Field(description="How many.")


class Stats(BaseModel):
    """Calls counted since `since`."""

    total: int = Field(description="Calls.")
    failed: int = Field(description="Those that failed.")
    success_rate: float | None = Field(None, description="Share that succeeded, 0 to 1; absent without calls.")
    by_source: dict[str, int] = Field(description="Calls by where they came from.")
    by_op: dict[str, int] = Field(description="Calls by capability.")
    p50_ms: float | None = Field(None, description="Median duration of the calls in the ring.")
    p95_ms: float | None = Field(None, description="95th percentile of the same.")
    ring_size: int = Field(description="Calls kept in memory.")
    ring_capacity: int = Field(description="The most that are.")
    since: str = Field(description="When the first counted call began, UTC.")
    persist_errors: int = Field(description="Calls that could not be written to the journal.")
    last_error: str | None = Field(None, description="Why the last of them could not.")


@tool(name="observer_recent", route="GET /v1/observer/recent", toolset="admin", title="Recent calls")
async def recent(
    lake: Lakehouse,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 20,
    source: Annotated[str | None, "mcp, http, cli, python."] = None,
    op: Annotated[str | None, "As sql.query."] = None,
    failed: Annotated[bool, "Failures only."] = False,
) -> Ops:
    """Show the latest calls with their outcome and duration. Use it to find out what failed and why."""
    found = lake.observer.recent(limit, source=source, op=op, failed=failed)
    return Ops(ops=[Op(**vars(one)) for one in found], count=len(found))


@tool(name="observer_stats", route="GET /v1/observer/stats", toolset="admin", title="Call statistics")
async def stats(lake: Lakehouse) -> Stats:
    """Count calls by source and capability, with success rate and durations."""
    return Stats(**vars(lake.observer.stats()))


@resource("lakehouse://observer/stats", title="Call statistics")
async def stats_resource(lake: Lakehouse) -> Stats:
    """Calls by source and capability, with success rate and durations."""
    return await stats(lake)
