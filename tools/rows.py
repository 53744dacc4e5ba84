"""Rows of a dataset changed or removed, and its files folded."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from lakehouse import InvalidInput, Lakehouse, tool
from lakehouse.engine.ingest import Compacted, Deleted, Ingested

INSTRUCTIONS = (
    "Change rows by key with ingest_file mode=upsert, remove some with delete_rows; old versions stay readable."
)


@tool(
    "destroys",
    name="delete_rows",
    route="/v1/rows/delete",
    title="Delete rows",
    toolset="data",
    long=True,
    idempotent=True,
)
async def delete(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    where: Annotated[str | None, Field(max_length=65536), "SQL condition; rows it is true for go."] = None,
    keys: Annotated[
        Sequence[Any] | None, Field(min_length=1), 'Or the rows by key: values, or {"id": 7} for each.'
    ] = None,
) -> Deleted:
    """Remove rows from a dataset as a new version; says how many went. None found: nothing changes.

    Example: {"name": "orders", "where": "status = 'void'"}
    """
    if (where is None) == (keys is None):
        raise InvalidInput("where, keys: exactly one is needed.", fix="Give one of the two.")
    return await lake.ingest.delete(name, where=where, keys=keys)


@tool(
    "writes",
    name="register_delta",
    route="/v1/catalog/register-delta",
    title="Change rows by key",
    toolset="data",
    long=True,
    idempotent=True,
)
async def register_delta(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    object_key: Annotated[str | None, "Stored object with the rows."] = None,
    rows: Annotated[Sequence[dict[str, Any]] | None, Field(min_length=1), "Or the rows."] = None,
    key_columns: Annotated[Sequence[str] | None, "Columns that tell rows apart."] = None,
) -> Ingested:
    """Replace the rows that have the same key, add the others; rows with "_deleted": true go.

    Example: {"name": "orders", "rows": [{"id": 7, "_deleted": true}], "key_columns": ["id"]}
    """
    if (object_key is None) == (rows is None):
        raise InvalidInput("object_key, rows: exactly one is needed.", fix="Give one of the two.")
    return await lake.ingest.register_delta(name, object_key, rows, key_columns or ())


@tool(
    "writes",
    name="compact_dataset",
    route="/v1/catalog/compact",
    title="Fold a dataset's files",
    toolset="data",
    long=True,
    idempotent=True,
)
async def compact(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Compacted:
    """Fold changes and small files into one file. Rows stay the same; this also runs by itself past 50 files."""
    return await lake.ingest.compact(name)
