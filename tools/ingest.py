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
    name: Annotated[str, "Name of the dataset to make or to give a new version."],
    path: Annotated[
        Path | None, "Local file, or a folder or pattern (data/*.csv) of files with the same columns."
    ] = None,
    content: Annotated[str | None, "The data itself; base64 for parquet, xlsx, pdf."] = None,
    object_key: Annotated[str | None, "Key of a stored object, or bucket://key."] = None,
    url: Annotated[str | None, "https URL, where the settings allow it."] = None,
    source: Annotated[
        Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx", "pdf"] | None,
        "Format; default by suffix, csv for content.",
    ] = None,
    delimiter: Annotated[str | None, Field(min_length=1, max_length=1), "Between cells; found out by default."] = None,
    encoding: Annotated[str | None, "Of a text file that is not UTF-8: latin-1, cp1252, utf-16-le."] = None,
    types: Annotated[
        dict[str, str] | None, "Column types to use: BIGINT DOUBLE BOOLEAN DATE TIMESTAMP TIMESTAMPTZ VARCHAR."
    ] = None,
    sheet: Annotated[str | None, "Of xlsx: name or number; default the first."] = None,
    header_row: Annotated[
        int | None, Field(ge=1), "Of xlsx: row of the column names; default the first filled."
    ] = None,
    source_column: Annotated[str | None, "Of many files: add a column of this name with each row's file."] = None,
    mode: Annotated[
        Literal["replace", "append", "upsert"],
        "replace all rows; append; upsert: rows of the same key are replaced.",
    ] = "replace",
    key: Annotated[Sequence[str] | None, "Columns that tell rows apart; an upsert needs them once."] = None,
    evolve: Annotated[bool, "Let new columns become columns of the dataset, null in older rows."] = False,
    repeat: Annotated[bool, "Append content even if the dataset has it already."] = False,
    quarantine: Annotated[bool, "Store the good rows; those that cannot be are the dataset NAME_rejects."] = False,
    expectations: Annotated[
        list[dict[str, Any]] | None, "What it must hold from now on, as for set_expectations."
    ] = None,
    bucket: Annotated[str | None, "Where a new dataset goes; default primary."] = None,
    embed: Annotated[
        Sequence[str] | None, "Columns to make searchable: their corpus is built now, and again with each version."
    ] = None,
    corpus: Annotated[str | None, "What to call that corpus; default as the dataset."] = None,
    id: Annotated[str | None, "Its column that names each row; default the key."] = None,
    upload: Annotated[Upload | None, Accepts(lambda config, _: config.ingest.max_bytes, "ingest.max_bytes")] = None,
) -> Made:
    """Make a CSV, TSV, JSON, JSON Lines, Parquet, Excel or PDF file (gzip, zstd too) a dataset for query_sql.

    All or nothing; the same bytes again change nothing. Example: {"name": "orders", "path": "orders.csv"}
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
