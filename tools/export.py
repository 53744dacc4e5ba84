"""All rows of a query as a file."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Download, Lakehouse, download, tool
from lakehouse.engine.export import MEDIA, FormatName, Place, format_called
from lakehouse.engine.sql import AsOf

INSTRUCTIONS = "Rows as a file (Parquet, CSV, Excel, Arrow, JSON): export_sql; all rows, or an error and no file."

Params = Annotated[list[Any] | dict[str, Any] | None, "For ? a list, for $name an object."]
When = Annotated[AsOf | None, "As for query_sql."]
Guard = Annotated[bool, "CSV: put an apostrophe before = + - @."]


class Exported(BaseModel):
    """A finished file."""

    path: str = Field(description="Where it lies.")
    format: FormatName = Field(description="Its format.")
    row_count: int = Field(description="Its rows.")
    size_bytes: int = Field(description="Its size.")


@tool("writes", route="/v1/export/sql", toolset="sql data", title="Export a query", long=True, short="export SQL PATH")
async def sql(
    lake: Lakehouse,
    sql: Annotated[str, "As for query_sql."],
    path: Annotated[Path, "Of a file; its suffix says the format."],
    format: Annotated[FormatName | None, "Default by suffix; other ones from the shell only."] = None,
    params: Params = None,
    as_of: When = None,
    overwrite: Annotated[bool, "Replace a file."] = False,
    guard_formulas: Guard = False,
) -> Exported:
    """Write all rows of a query to a local file, whole or not at all. For few rows use query_sql.

    Example: {"sql": "SELECT * FROM orders", "path": "exports/orders.xlsx"}
    """
    place = Place(path, overwrite, anywhere=lake.via in ("python", "cli"), remote=lake.caller.remote)
    made = await lake.exports.query_to(
        lake.sql, sql, params, place, format, as_of=as_of, guard=guard_formulas, progress=lake.progress
    )
    return Exported(path=str(path), format=made.format.name, row_count=made.rows, size_bytes=made.size)


@download("POST /v1/sql/export", title="Download a query's rows", formats=MEDIA)
async def rows(
    lake: Lakehouse,
    sql: Annotated[str, "As for query_sql."],
    format: Annotated[FormatName | None, "The format; absent, what Accept names."] = None,
    params: Params = None,
    as_of: When = None,
    guard_formulas: Guard = False,
) -> Download:
    """All rows of a query as a file, in the format that `format` or the Accept header names; never a part of them."""
    made = await lake.exports.query(
        lake.sql, sql, params, format_called(format), as_of=as_of, guard=guard_formulas, progress=lake.progress
    )
    return Download(
        path=made.path, size=made.size, media_type=made.format.media_type, filename=made.filename, temporary=True
    )
