"""How well and how fast vector indexes answer, measured."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Trial(BaseModel):
    """One comparison with exact search."""

    ts: str = Field(description="When.")
    index: str = Field(description="The index.")
    generation: int = Field(description="Its generation then.")
    count: int = Field(description="Items it had.")
    params: dict[str, int] = Field(description="m, ef_construction, ef_search; without a graph, none.")
    n: int = Field(description="Questions asked.")
    k: int = Field(description="Neighbours asked for.")
    recall_at_k: float = Field(description="Share of the true neighbours found.")
    p50_ms: float = Field(description="Median of a search.")
    p95_ms: float = Field(description="What 95 of 100 searches stayed under.")
    exact_p50_ms: float = Field(description="Median of an exact search.")
    build_s: float = Field(description="Seconds its graphs took to build; 0: it has none, every search is exact.")
    scanned: str = Field(description="graph, scan, or both.")


class Trials(BaseModel):
    """Comparisons."""

    trials: Sequence[Trial] = Field(description="What was measured.")
    count: int = Field(description="How many.")


@tool(
    "writes",
    name="calibrate_index",
    route="/v1/vectors/index/{index}/calibrate",
    toolset="retrieval",
    title="Measure a vector index",
    long=True,
)
async def index(
    lake: Lakehouse,
    index: Annotated[str, "The index."],
    queries: Annotated[Sequence[Sequence[float]] | None, "Vectors to search."] = None,
    sample: Annotated[int, "Or so many of its own."] = 100,
    k: Annotated[int, "Neighbours."] = 10,
    ef_search: Annotated[int | None, "Effort to try.", Field(ge=1, le=10_000)] = None,
    target: Annotated[float | None, "Recall to tune ef_search for, and keep."] = None,
) -> Trials:
    """Measure recall and speed of an index against exact search. Example: {"index": "faces", "target": 0.99}"""
    found = await lake.calibration.calibrate(
        index, queries, sample=sample, k=k, ef_search=ef_search, target=target, progress=lake.progress
    )
    return Trials(trials=[Trial(**vars(each)) for each in found], count=len(found))


@tool(name="hnsw_trials", route="GET /v1/hnsw/trials", toolset="retrieval", title="List index measurements")
async def trials(
    lake: Lakehouse,
    limit: Annotated[int, "At most.", Field(ge=1, le=1000)] = 50,
    index: Annotated[str | None, "Of this index only."] = None,
) -> Trials:
    """What calibrate_index measured, newest first."""
    found = await lake.calibration.trials(limit, index)
    return Trials(trials=[Trial(**vars(each)) for each in found], count=len(found))
