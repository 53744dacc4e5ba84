"""Turn a file into a dataset."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lakehouse import Accepts, InvalidInput, Lakehouse, Upload, tool
from lakehouse.engine.ingest import Ingested
from lakehouse.engine.ingest.options import Asked

INSTRUCTIONS = "Bring data in: ingest_file makes a CSV, TSV, JSON, JSON Lines or Parquet file a dataset with a name."


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
    path: Annotated[Path | None, "Local file; or give content, or object_key."] = None,
    content: Annotated[str | None, "The data itself; base64 for parquet."] = None,
    object_key: Annotated[str | None, "Key of a stored object, or bucket://key."] = None,
    source: Annotated[
        Literal["csv", "tsv", "json", "jsonl", "parquet"] | None, "Format; default by suffix, csv for content."
    ] = None,
    delimiter: Annotated[str | None, Field(min_length=1, max_length=1), "Between cells; found out by default."] = None,
    encoding: Annotated[str | None, "Of a text file that is not UTF-8: latin-1, cp1252, utf-16-le."] = None,
    types: Annotated[
        dict[str, str] | None, "Column types to use: BIGINT DOUBLE BOOLEAN DATE TIMESTAMP TIMESTAMPTZ VARCHAR."
    ] = None,
    bucket: Annotated[str | None, "Where a new dataset goes; default primary."] = None,
    mode: Annotated[
        Literal["replace", "append", "upsert"],
        "replace all rows; append; upsert: rows of the same key are replaced.",
    ] = "replace",
    key: Annotated[Sequence[str] | None, "Columns that tell rows apart; an upsert needs them once."] = None,
    evolve: Annotated[bool, "Let new columns become columns of the dataset, null in older rows."] = False,
    repeat: Annotated[bool, "Append content even if the dataset has it already."] = False,
    upload: Annotated[Upload | None, Accepts(lambda config, _: config.ingest.max_bytes, "ingest.max_bytes")] = None,
) -> Ingested:
    """Make a CSV, TSV, JSON, JSON Lines or Parquet file (gzip or zstd too) a dataset that query_sql can read.

    All or nothing; the same bytes again change nothing. Example: {"name": "orders", "path": "orders.csv"}
    """
    asked: Asked = {
        "source": source,
        "delimiter": delimiter,
        "encoding": encoding,
        "types": types,
        "mode": mode,
        "key": key,
        "evolve": evolve,
        "repeat": repeat,
        "bucket": bucket,
        "progress": lake.progress,
    }
    given = [value for value in (path, content, object_key, upload) if value is not None]
    if len(given) != 1:
        raise InvalidInput("path, content, object_key: exactly one is needed.", fix="Give one of the three.")
    if upload is not None:
        return await lake.ingest.ingest_path(upload.path, name, filename=upload.filename, **asked)
    if path is not None:
        anywhere = lake.via in ("python", "cli")
        return await lake.ingest.ingest_path(path, name, anywhere=anywhere, remote=lake.caller.remote, **asked)
    if object_key is not None:
        return await lake.ingest.ingest_object(object_key, name, **asked)
    if encoding is not None:
        raise InvalidInput("encoding: content is text already.", fix="Leave it out, or give a path.")
    return await lake.ingest.ingest_content(_decoded(content or "", source), source or "csv", name, **asked)


def _decoded(content: str, source: str | None) -> bytes:
    try:
        return base64.b64decode(content, validate=True) if source == "parquet" else content.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise InvalidInput("content: it cannot be decoded.", fix="Send text, or base64 for parquet.") from None
