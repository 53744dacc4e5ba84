"""Results too large for one answer, read back in pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Download, Lakehouse, download, mode, resource, tool
from lakehouse.engine.export import MEDIA, FormatName, Place, format_called

INSTRUCTIONS = "A handle (lakehouse://results/...) stands for a long answer: read on with get_result."


class Page(BaseModel):
    """A page of a result: rows of a table, or a piece of JSON text."""

    offset: int = Field(description="Where the page begins: a row, or a character.")
    next_offset: int | None = Field(None, description="Where the next page begins; absent at the end.")
    columns: Sequence[dict[str, Any]] | None = Field(None, description="The table's columns: name and type.")
    rows: Sequence[Sequence[Any]] | None = Field(None, description="Rows of the table, a value a column.")
    row_count: int | None = Field(None, description="Rows of the whole table.")
    complete: bool | None = Field(None, description="Whether the kept table is all there was.")
    text: str | None = Field(None, description="A piece of the JSON text; all pieces together are the value.")
    total_chars: int | None = Field(None, description="Characters of the whole text.")


@tool(
    name="get_result",
    route="GET /v1/results/{id:path}",
    toolset="core data sql retrieval admin",
    title="Read a large result",
)
async def get(
    lake: Lakehouse,
    id: Annotated[str, "The handle, or its last part."],
    offset: Annotated[int, Field(ge=0), "next_offset of the page before."] = 0,
    limit: Annotated[int | None, Field(ge=1), "Rows or characters; default some 30 KB."] = None,
) -> Page:
    """Read on where an answer was cut and gave a handle. Prefer a narrower query when few rows are needed."""
    return Page(**vars(await lake.results.read(id, offset, limit, lake.room)))


class Exported(BaseModel):
    """A finished file."""

    path: str = Field(description="Where it lies.")
    format: FormatName = Field(description="Its format.")
    row_count: int = Field(description="Its rows.")
    size_bytes: int = Field(description="Its size.")


@tool("writes", name="export_result", toolset="sql data", title="Export a result", long=True)
async def export(
    lake: Lakehouse,
    id: Annotated[str, "The handle."],
    path: Annotated[Path, "Of a file; its suffix says the format."],
    format: Annotated[FormatName | None, "Default by suffix; other ones from the shell only."] = None,
    overwrite: Annotated[bool, "Replace a file."] = False,
    guard_formulas: Annotated[bool, "As for export_sql."] = False,
) -> Exported:
    """Write a kept result to a local file, whole or not at all. One that was cut is refused: use export_sql."""
    place = Place(path, overwrite, anywhere=lake.via in ("python", "cli"), remote=lake.caller.remote)
    made = await lake.exports.result_to(id, place, format, guard=guard_formulas, progress=lake.progress)
    return Exported(path=str(path), format=made.format.name, row_count=made.rows, size_bytes=made.size)


@download(
    "GET /v1/results/{id:path}",
    title="Download a large result",
    formats={kind: name for kind, name in MEDIA.items() if name != "json"},  # JSON is what the tool answers, too
)
async def file(
    lake: Lakehouse,
    id: Annotated[str, "The handle, or only its last part."],
    format: Annotated[FormatName | None, "The format of the file."] = None,
    guard_formulas: Annotated[bool, "CSV: an apostrophe before text that a spreadsheet takes for a formula."] = False,
) -> Download:
    """The whole result as a file. One that was cut when it was kept, or that does not fit the format, is refused."""
    made = await lake.exports.result(id, format_called(format), guard=guard_formulas, progress=lake.progress)
    return Download(
        path=made.path,
        size=made.size,
        media_type=made.format.media_type,
        etag=made.etag,
        filename=made.filename,
        temporary=made.temporary,
    )


class Ids(BaseModel):
    """Ids to choose from."""

    values: Sequence[str] = Field(description="Ids, newest first.")


@mode()
async def ids(lake: Lakehouse, prefix: Annotated[str, "How the ids begin."] = "") -> Ids:
    """List the ids of the results that can be read."""
    return Ids(values=[id for id in await lake.results.ids() if id.startswith(prefix)])


@resource("lakehouse://results/{id}", title="A large result", complete={"id": "results.ids"})
async def whole(lake: Lakehouse, id: Annotated[str, "The handle's last part."]) -> str:
    """A whole kept result as JSON, up to 16 MiB."""
    return await lake.results.whole(id)
