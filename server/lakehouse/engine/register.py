"""How an object a caller stored becomes a dataset: read and encoded again, never served as it came."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import anyio

from lakehouse.engine import files
from lakehouse.engine.datasets import Column, DatasetNotFound, Datasets, EmptyFingerprint, Manifest, fingerprint
from lakehouse.engine.storage import Storage, check_key
from lakehouse.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.ingest import Ingester


@dataclass(frozen=True)
class Source:
    """A stored object, and what the caller says of its bytes."""

    key: str
    sha256: str | None = None
    size_bytes: int | None = None


async def register(
    storage: Storage,
    datasets: Datasets,
    ingest: "Ingester",
    name: str,
    source: Source,
    *,
    schema_fingerprint: str | None = None,
    columns: Sequence[Column] | None = None,
    row_count: int | None = None,
) -> tuple[Manifest, bool]:
    """Ingest a stored object as a dataset; returns the newest version and whether the dataset was there before.

    The format is that of the key's suffix. Nothing is committed unless the bytes, the schema and the number of rows
    are those given, where they are given.

    Raises EmptyName, EmptyFingerprint, KeyNotFound, Conflict, SchemaChanged and what ingest raises.
    """
    if schema_fingerprint is not None and not schema_fingerprint.strip():
        raise EmptyFingerprint("schema_fingerprint: it is empty.", fix="Leave it out, or give the whole fingerprint.")
    if columns is not None:
        named = fingerprint(columns)
        if schema_fingerprint not in (None, named):
            raise InvalidInput("schema_fingerprint: it is not that of columns.", fix="Leave one of them out.")
        schema_fingerprint = named
    existing = await _exists(datasets, name)
    async with storage.scratch() as folder:
        path = folder / PurePosixPath(check_key(source.key)).name
        await storage.bucket.get_to(source.key, path)
        await anyio.to_thread.run_sync(_compare, source, path)
        with datasets.expecting(fingerprint=schema_fingerprint, row_count=row_count):
            await ingest.ingest_path(path, name, provenance={"object": f"{storage.bucket.name}://{source.key}"})
    return await datasets.get(name), existing


def _compare(source: Source, path: Path) -> None:
    size = path.stat().st_size
    if source.size_bytes not in (None, size):
        raise Conflict(
            f"object {source.key!r} has {size} bytes, not {source.size_bytes}.",
            fix="Put it again, or leave size_bytes out.",
        )
    if source.sha256 is not None and source.sha256.lower() != (found := files.sha256_of(path)):
        raise Conflict(f"object {source.key!r} has the SHA-256 {found}.", fix="Put it again, or leave sha256 out.")


async def _exists(datasets: Datasets, name: str) -> bool:
    try:
        await datasets.get(name)
    except DatasetNotFound:
        return False
    return True
