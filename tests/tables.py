"""Datasets from Arrow tables and Python values, for tests of what comes after ingest."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse import Lakehouse
from lakehouse.engine.datasets import Column, DataFile, Manifest, data_key, fingerprint


async def commit(lake: Lakehouse, name: str, table: Mapping[str, Sequence[Any]] | Any) -> Manifest:
    """Store an Arrow table, or columns, as a Parquet file and make it the newest version of a dataset."""
    import pyarrow

    if isinstance(table, Mapping):
        table = pyarrow.table({key: list(values) for key, values in table.items()})
    columns = [Column(field.name, str(field.type)) for field in table.schema]
    async with lake.storage.scratch() as folder:
        path = folder / "rows.parquet"
        sha256, size = await anyio.to_thread.run_sync(_write, table, path)
        key = data_key(name, fingerprint(columns), sha256)
        await lake.storage.bucket.put_file(key, path)
    manifest, _ = await lake.datasets.commit(name, columns, [DataFile(key, sha256, size, table.num_rows)])
    return manifest


def _write(table: Any, path: Path) -> tuple[str, int]:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path, row_group_size=700)
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), len(content)
