"""How an object a caller stored becomes a dataset: read and encoded again, never served as it came."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lakehouse.engine.datasets import DatasetNotFound, Datasets, EmptyFingerprint, Manifest
from lakehouse.engine.storage import Storage, check_key

if TYPE_CHECKING:
    from lakehouse.engine.ingest import Ingester


async def register(
    storage: Storage,
    datasets: Datasets,
    ingest: "Ingester",
    name: str,
    key: str,
    schema_fingerprint: str | None = None,
    row_count: int | None = None,
) -> tuple[Manifest, bool]:
    """Ingest a stored object as a dataset; returns the newest version and whether the dataset was there before.

    The format is that of the key's suffix. Nothing is committed unless the schema and the number of rows are those
    given, where they are given.

    Raises EmptyName, EmptyFingerprint, KeyNotFound, Conflict, SchemaChanged and what ingest raises.
    """
    if schema_fingerprint is not None and not schema_fingerprint.strip():
        raise EmptyFingerprint("schema_fingerprint: it is empty.", fix="Leave it out, or give the whole fingerprint.")
    existing = await _exists(datasets, name)
    async with storage.scratch() as folder:
        path = folder / PurePosixPath(check_key(key)).name
        await storage.bucket.get_to(key, path)
        with datasets.expecting(fingerprint=schema_fingerprint, row_count=row_count):
            await ingest.ingest_path(path, name, provenance={"object": f"{storage.bucket.name}://{key}"})
    return await datasets.get(name), existing


async def _exists(datasets: Datasets, name: str) -> bool:
    try:
        await datasets.get(name)
    except DatasetNotFound:
        return False
    return True
