"""Turn a file into a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lakehouse import Accepts, InvalidInput, Lakehouse, Upload, tool
from lakehouse.engine.corpora import Built
from lakehouse.engine.expectations import read as read_expectations
from lakehouse.engine.ingest import Ingested
from lakehouse.engine.ingest.options import Asked
from lakehouse.engine.ingest.source import decoded

INSTRUCTIONS = (
    "Bring data in: ingest_file makes a CSV, TSV, JSON, JSON Lines, Parquet, Excel or PDF file, a folder of them or a "
    "URL a dataset with a name."
)


class Made(Ingested):
    """A dataset's version made from one source, and the corpus of it."""

    corpus: Built | None = Field(None, description="Of `embed`: what was built.")


@tool(
    "writes",
    name="ingest_file",
    route="/v1/ingest",
    title="Ingest a file as a dataset",
    toolset="core data",
    long=True,
    idempotent=True,
    short="ingest PATH",
)
async def file(
    lake: Lakehouse,
    name: Annotated[str, "The dataset, new or not."],
    path: Annotated[Path | None, "A file, or a folder or pattern (data/*.csv) of like ones."] = None,
    content: Annotated[str | None, "Or the data; base64 for parquet, xlsx, pdf."] = None,
    object_key: Annotated[str | None, "Or a stored object: its key, or bucket://key."] = None,
    url: Annotated[str | None, "Or an https URL, where settings allow it."] = None,
    source: Annotated[
        Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx", "pdf"] | None,
        "Default by suffix; csv for content.",
    ] = None,
    delimiter: Annotated[str | None, Field(min_length=1, max_length=1), "Default: found out."] = None,
    encoding: Annotated[str | None, "Default UTF-8; latin-1, cp1252, utf-16-le."] = None,
    types: Annotated[dict[str, str] | None, 'SQL types of columns, as {"zip": "VARCHAR"}.'] = None,
    sheet: Annotated[str | None, "Of xlsx: name or number."] = None,
    header_row: Annotated[int | None, Field(ge=1), "Of xlsx: where column names are."] = None,
    source_column: Annotated[str | None, "Add a column of this name with each row's file."] = None,
    mode: Annotated[
        Literal["replace", "append", "upsert"],
        "upsert replaces rows of the same key.",
    ] = "replace",
    key: Annotated[Sequence[str] | None, "Columns that tell rows apart, for upsert."] = None,
    evolve: Annotated[bool, "Take new columns, null in older rows."] = False,
    repeat: Annotated[bool, "Append the same content again."] = False,
    quarantine: Annotated[bool, "Put bad rows into NAME_rejects instead of refusing all."] = False,
    expectations: Annotated[list[dict[str, Any]] | None, "As set_expectations takes them."] = None,
    bucket: Annotated[str | None, "Of a new dataset; default primary."] = None,
    embed: Annotated[Sequence[str] | None, "Text columns to make searchable, now and with each later version."] = None,
    corpus: Annotated[str | None, "Name of that corpus; default the dataset's."] = None,
    id: Annotated[str | None, "Its id column; default the key."] = None,
    upload: Annotated[Upload | None, Accepts(lambda config, _: config.ingest.max_bytes, "ingest.max_bytes")] = None,
) -> Made:
    """Make a CSV, TSV, JSON, JSON Lines, Parquet, Excel or PDF file a dataset for query_sql, all or nothing.

    Unknown files: plan_ingest first. Example: {"name": "orders", "path": "orders.csv"}
    """
    given = [value for value in (path, content, object_key, url, upload) if value is not None]
    if len(given) != 1:
        raise InvalidInput("path, content, object_key, url: exactly one is needed.", fix="Give one of the four.")
    asked: Asked = {
        "source": source,
        "delimiter": delimiter,
        "encoding": encoding,
        "types": types,
        "mode": mode,
        "key": key,
        "evolve": evolve,
        "repeat": repeat,
        "quarantine": quarantine,
        "expectations": None if expectations is None else read_expectations(expectations),
        "bucket": bucket,
        "sheet": sheet,
        "header_row": header_row,
        "source_column": source_column,
        "progress": lake.progress,
    }
    if embed or corpus or id:
        embedding = await lake.corpora.embedding(corpus or name, name, embed, id, key)
        asked["progress"] = embedding.before(lake.progress)
        made = await _ingested(lake, name, asked, path, content, object_key, url, upload)
        built = await lake.corpora.embed(embedding, lake.progress)
        return Made(**dict(made), corpus=built)
    return Made(**dict(await _ingested(lake, name, asked, path, content, object_key, url, upload)))


async def _ingested(
    lake: Lakehouse,
    name: str,
    asked: Asked,
    path: Path | None,
    content: str | None,
    object_key: str | None,
    url: str | None,
    upload: Upload | None,
) -> Ingested:
    source, encoding = asked["source"], asked["encoding"]
    if upload is not None:
        return await lake.ingest.ingest_path(upload.path, name, filename=upload.filename, **asked)
    if path is not None:
        local = lake.via in ("python", "cli")
        return await lake.ingest.ingest_path(path, name, anywhere=local, remote=lake.caller.remote, **asked)
    if object_key is not None:
        return await lake.ingest.ingest_object(object_key, name, **asked)
    if url is not None:
        return await lake.ingest.ingest_url(url, name, **asked)
    if encoding is not None:
        raise InvalidInput("encoding: content is text already.", fix="Leave it out, or give a path.")
    return await lake.ingest.ingest_content(decoded(content or "", source), source or "csv", name, **asked)
