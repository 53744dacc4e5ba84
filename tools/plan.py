"""What an ingest would do, before it does it."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from lakehouse import InvalidInput, Lakehouse, tool
from lakehouse.engine.expectations import read as read_expectations
from lakehouse.engine.ingest.options import Asked
from lakehouse.engine.ingest.plan import Plan
from lakehouse.engine.ingest.source import decoded


@tool(name="plan_ingest", route="/v1/ingest/plan", toolset="data", title="Plan an ingest", long=True, short="plan PATH")
async def ingest(
    lake: Lakehouse,
    name: Annotated[str, "All as for ingest_file."],
    path: Annotated[Path | None, "File, folder or pattern."] = None,
    content: Annotated[str | None, "Or the data."] = None,
    object_key: Annotated[str | None, "Or a stored object."] = None,
    url: Annotated[str | None, "Or a URL."] = None,
    source: Annotated[str | None, "Format."] = None,
    delimiter: Annotated[str | None, "Between cells."] = None,
    encoding: Annotated[str | None, "Of a text file."] = None,
    types: Annotated[dict[str, str] | None, "Column types."] = None,
    sheet: Annotated[str | None, "Of xlsx."] = None,
    header_row: Annotated[int | None, Field(ge=1), "Of xlsx."] = None,
    source_column: Annotated[str | None, "Of many files."] = None,
    mode: Annotated[Literal["replace", "append", "upsert"], "How it is stored."] = "replace",
    key: Annotated[list[str] | None, "Of upsert."] = None,
    evolve: Annotated[bool, "Take new columns."] = False,
    quarantine: Annotated[bool, "Set bad rows aside."] = False,
    expectations: Annotated[list[dict[str, Any]] | None, "Rules."] = None,
) -> Plan:
    """Say what ingest_file would do, storing nothing: format, types, first rows, and why it would be refused."""
    asked: Asked = {
        "source": source,
        "delimiter": delimiter,
        "encoding": encoding,
        "types": types,
        "sheet": sheet,
        "header_row": header_row,
        "source_column": source_column,
        "mode": mode,
        "key": key,
        "evolve": evolve,
        "quarantine": quarantine,
        "expectations": None if expectations is None else read_expectations(expectations),
        "progress": lake.progress,
    }
    if sum(value is not None for value in (path, content, object_key, url)) != 1:
        raise InvalidInput("path, content, object_key, url: exactly one is needed.", fix="Give one of the four.")
    if path is not None:
        local = lake.via in ("python", "cli")
        found: Any = await lake.planner.ingest_path(path, name, anywhere=local, remote=lake.caller.remote, **asked)
    elif object_key is not None:
        found = await lake.planner.ingest_object(object_key, name, **asked)
    elif url is not None:
        found = await lake.planner.ingest_url(url, name, **asked)
    else:
        if encoding is not None:
            raise InvalidInput("encoding: content is text already.", fix="Leave it out, or give a path.")
        found = await lake.planner.ingest_content(decoded(content or "", source), source or "csv", name, **asked)
    return cast(Plan, found)
