"""How an object a caller stored becomes a dataset: read and encoded again, never served as it came."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.engine.datasets import Column, DatasetNotFound, Datasets, EmptyFingerprint, Manifest, fingerprint
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.ingest import Ingester


async def register(
    datasets: Datasets,
    ingest: "Ingester",
    name: str,
    key: str,
    *,
    sha256: str | None = None,
    size_bytes: int | None = None,
    schema_fingerprint: str | None = None,
    columns: Sequence[Column] | None = None,
    row_count: int | None = None,
) -> tuple[Manifest, bool]:
    """Ingest a stored object as a dataset; returns the newest version and whether the dataset was there before.

    The format is that of the key's suffix. Nothing is stored unless the bytes, the schema and the number of rows are
    those given, where they are given.

    Raises EmptyName, EmptyFingerprint, KeyNotFound, Conflict, SchemaChanged and what ingest raises.
    """
    from lakehouse.engine.ingest import Expected

    if schema_fingerprint is not None and not schema_fingerprint.strip():
        raise EmptyFingerprint("schema_fingerprint: it is empty.", fix="Leave it out, or give the whole fingerprint.")
    if columns is not None:
        named = fingerprint(columns)
        if schema_fingerprint not in (None, named):
            raise InvalidInput("schema_fingerprint: it is not that of columns.", fix="Leave one of them out.")
        schema_fingerprint = named
    existing = await _exists(datasets, name)
    await ingest.ingest_object(key, name, expected=Expected(schema_fingerprint, row_count, sha256, size_bytes))
    return await datasets.get(name), existing


async def _exists(datasets: Datasets, name: str) -> bool:
    try:
        await datasets.get(name)
    except DatasetNotFound:
        return False
    return True
