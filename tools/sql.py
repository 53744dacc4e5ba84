"""SQL: read-only queries over the datasets, what they would cost, and those that were asked."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.sql import AsOf, Explanation, Rows

INSTRUCTIONS = (
    "Exact questions (counts, joins, filters, sums): query_sql, one read-only statement over the dataset names."
)


class Query(BaseModel):
    """A query that was asked."""

    ts: str = Field(description="When it began, UTC.")
    who: str = Field(description="Who asked: a token's name, or the face it came through.")
    sql: str = Field(description="The statement, shortened, without credentials.")
    outcome: str = Field(description="ok, cancelled, or the error's code.")
    ms: float = Field(description="Milliseconds it took, waiting included.")
    datasets: Sequence[str] = Field(description="What it read: name@version.")
    rows: int = Field(description="Rows it answered.")
    bytes: int = Field(description="Bytes of JSON it answered.")
    error: str | None = Field(None, description="What went wrong.")
    call: str | None = Field(None, description="The call's id, as in observer_recent.")
    profile: str | None = Field(None, description="The profile it was asked under.")


class Queries(BaseModel):
    """Queries, newest first."""

    queries: Sequence[Query] = Field(description="The queries.")
    count: int = Field(description="How many.")


@tool(name="query_sql", route="/v1/sql", title="Query datasets with SQL", toolset="core sql", short="sql SQL")
async def query(
    lake: Lakehouse,
    sql: Annotated[str, "One statement: SELECT, WITH, FROM, DESCRIBE, SUMMARIZE."],
    params: Annotated[list[Any] | dict[str, Any] | None, "For ? a list, for $name an object."] = None,
    max_rows: Annotated[int | None, Field(ge=1), "More are behind a handle."] = None,
    as_of: Annotated[AsOf | None, 'A version, a moment, or by name: {"orders": 3, "*": "2026-05-01"}.'] = None,
    max_bytes: Annotated[int | None, Field(ge=1), "Likewise."] = None,
    timeout: Annotated[float | None, Field(gt=0), "Seconds."] = None,
    memory: Annotated[str | None, "As 200MB."] = None,
    profile: Annotated[str | None, "Only what this profile sees."] = None,
) -> Rows:
    """Run one read-only SQL statement (DuckDB dialect) over the datasets, by name; DESCRIBE name shows the columns.

    To find texts use matrix_search. Lambdas: `lambda x: x + 1`. An older version is a table, too: "orders@v3".
    Example: {"sql": "SELECT city, count(*) AS n FROM orders WHERE year = $y GROUP BY ALL", "params": {"y": 2024}}
    """
    max_bytes = min(filter(None, (max_bytes, lake.room)), default=None)  # what does not fit is kept with its types
    async with lake.within(profile):
        return await lake.sql.query(
            sql, params, as_of=as_of, max_rows=max_rows, max_bytes=max_bytes, timeout=timeout, memory=memory
        )


@tool(name="explain_sql", route="/v1/sql/explain", title="Explain a query", toolset="sql")
async def explain(
    lake: Lakehouse,
    sql: Annotated[str, "One SELECT."],
    params: Annotated[list[Any] | dict[str, Any] | None, "For ? a list, for $name an object."] = None,
    analyze: Annotated[bool, "Run it, and tell what that took."] = False,
    as_of: Annotated[AsOf | None, "As in query_sql."] = None,
    timeout: Annotated[float | None, Field(gt=0), "Seconds."] = None,
    memory: Annotated[str | None, "As 200MB."] = None,
) -> Explanation:
    """Tell what a query would do: its plan, the rows and bytes it reads of each dataset, what may make it slow.

    Example: {"sql": "SELECT count(*) FROM orders WHERE id < 100", "analyze": true}
    """
    return await lake.sql.explain(sql, params, analyze=analyze, as_of=as_of, timeout=timeout, memory=memory)


@tool(name="query_history", route="GET /v1/sql/history", title="Queries asked before", toolset="sql admin")
async def history(
    lake: Lakehouse,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 20,
    min_ms: Annotated[float, Field(ge=0), "Slower ones only."] = 0,
    failed_only: Annotated[bool, "Failures only."] = False,
    contains: Annotated[str | None, "With this text."] = None,
) -> Queries:
    """Show the queries asked before, newest first: who, when, how long, over which versions, and how they ended.

    Those worth keeping: list_queries. Example: {"min_ms": 1000, "contains": "orders"}
    """
    scope = lake.profile.digest if lake.profile is not None else None
    found = await lake.history.recent(limit, min_ms=min_ms, failed_only=failed_only, contains=contains, scope=scope)
    return Queries(queries=[Query(**vars(one)) for one in found], count=len(found))
