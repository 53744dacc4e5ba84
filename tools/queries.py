"""Verified queries: questions whose SQL somebody found right."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool
from lakehouse.engine.queries import Found
from lakehouse.engine.sql import Rows

INSTRUCTIONS = "Before writing SQL ask list_queries whether somebody verified this question; save_query keeps yours."

Name = Annotated[str, "The query's name."]


class Column(BaseModel):
    """A column of a result."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its DuckDB type.")


class Query(BaseModel):
    """A query."""

    name: str = Field(description="Its name.")
    question: str = Field(description="What it answers.")
    sql: str = Field(description="Its statement.")
    params: dict[str, Any] = Field(description="Its parameters: type, description, default, limits.")
    datasets: Sequence[str] = Field(description="The datasets it reads.")
    columns: Sequence[Column] = Field(description="What comes out.")
    verified_at: str | None = Field(None, description="When it was last run and found right.")
    saved: bool = Field(description="True for one of save_query, false for one of a plugin folder.")
    problem: str | None = Field(None, description="Why it would not run now; absent when it would.")


class Page(BaseModel):
    """Queries, the likeliest first."""

    queries: Sequence[Query] = Field(description="The queries.")
    count: int = Field(description="How many are in this answer.")
    total: int = Field(description="How many match.")
    problems: Sequence[str] = Field((), description="Files that are left out, and why.")


class Deleted(BaseModel):
    """A query that is not there any more."""

    name: str = Field(description="Its name.")


@tool(name="list_queries", route="GET /v1/queries", toolset="sql", title="Find verified queries")
async def list(
    lake: Lakehouse,
    search: Annotated[str, "Words of a question; the queries that share most come first."] = "",
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 20,
) -> Page:
    """List the questions that have a verified query. Ask here before writing SQL; run one with run_query."""
    found, problems = await lake.queries.list(search)
    return Page(
        queries=[_shown(one) for one in found[:limit]],
        count=len(found[:limit]),
        total=len(found),
        problems=problems,
    )


@tool(name="run_query", route="/v1/queries/{name}/run", toolset="sql", title="Run a verified query")
async def run(
    lake: Lakehouse, name: Name, params: Annotated[dict[str, Any] | None, "Values of its parameters."] = None
) -> Rows:
    """Run a verified query by name. It is refused when its datasets changed since: look, then verify_query."""
    return await lake.queries.run(name, params or {}, lake.room)


@tool("writes", name="save_query", route="/v1/queries", toolset="sql", title="Save a verified query")
async def save(
    lake: Lakehouse,
    name: Annotated[str, "Of a-z, 0-9, _."],
    question: Annotated[str, "What it answers."],
    sql: Annotated[str, "One statement; parameters as $name."],
    params: Annotated[
        dict[str, Any] | None,
        "By name: a default value, or {type, description, default, example, enum, min, max}; type is integer, number, "
        "string, boolean, date or timestamp.",
    ] = None,
) -> Query:
    """Keep a question with SQL that you checked; it is run once. run_query has it at once, a tool of its own follows.

    Example: {"name": "orders_of", "question": "Which orders are of a year?", "sql": "FROM orders WHERE year = $y",
    "params": {"y": 2024}}
    """
    return _shown(await lake.queries.save(name, question, sql, params))


@tool(
    "writes",
    name="verify_query",
    route="/v1/queries/{name}/verify",
    toolset="sql",
    title="Verify a query again",
    idempotent=True,
)
async def verify(lake: Lakehouse, name: Name) -> Query:
    """Run a query again and accept its datasets as they are now. Only after looking whether its SQL is still right."""
    return _shown(await lake.queries.verify(name))


@tool("destroys", name="delete_query", route="DELETE /v1/queries/{name}", toolset="sql", title="Delete a saved query")
async def delete(lake: Lakehouse, name: Name) -> Deleted:
    """Delete a saved query."""
    await lake.queries.delete(name)
    return Deleted(name=name)


def _shown(found: Found) -> Query:
    query, verified = found.query, found.query.verified
    return Query(
        name=query.name,
        question=query.question,
        sql=query.sql,
        params={name: parameter.model_dump(exclude_unset=True) for name, parameter in query.params.items()},
        datasets=[*verified.datasets] if verified else [],
        columns=[Column(name=column.name, type=column.type) for column in verified.columns] if verified else [],
        verified_at=verified.at if verified else None,
        saved=found.saved,
        problem=found.problem or None,
    )
