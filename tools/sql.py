"""SQL: read-only queries over the datasets."""

from typing import Annotated, Any

from pydantic import Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.sql import Rows

INSTRUCTIONS = (
    "Exact questions (counts, joins, filters, sums): query_sql, one read-only statement over the dataset names."
)


@tool(name="query_sql", route="/v1/sql", title="Query datasets with SQL", toolset="core sql", short="sql SQL")
async def query(
    lake: Lakehouse,
    sql: Annotated[str, "One read-only statement: SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN SELECT."],
    params: Annotated[list[Any] | dict[str, Any] | None, "Values for ? (a list) or $name (an object)."] = None,
    max_rows: Annotated[int | None, Field(ge=1), "Rows to answer at most; the rest is behind a handle."] = None,
    profile: Annotated[str | None, "Only what this profile sees."] = None,
) -> Rows:
    """Run one read-only SQL statement (DuckDB dialect) over the datasets, by name; DESCRIBE name shows the columns.

    Not for finding by meaning (matrix_search) or storing (ingest_file). Lambdas: `lambda x: x + 1`.
    Example: {"sql": "SELECT city, count(*) AS n FROM orders WHERE year = $y GROUP BY ALL", "params": {"y": 2024}}
    """
    async with lake.within(profile):
        return await lake.sql.query(sql, params, max_rows=max_rows)
