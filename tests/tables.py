"""Datasets from Python values, for tests of what comes after ingest."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread

from lakehouse import Lakehouse
from lakehouse.engine.datasets import Column, DataFile, Manifest, data_key, fingerprint


async def commit(lake: Lakehouse, name: str, columns: Mapping[str, Sequence[Any]]) -> Manifest:
    """Store columns as a Parquet file and make it the newest version of a dataset."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({key: list(values) for key, values in columns.items()})
    async with lake.storage.scratch() as folder:
        path = folder / "rows.parquet"
        await anyio.to_thread.run_sync(lambda: pyarrow.parquet.write_table(table, path, row_group_size=700))
        data = await anyio.to_thread.run_sync(path.read_bytes)
        shape = [Column(field.name, str(field.type)) for field in table.schema]
        sha256 = hashlib.sha256(data).hexdigest()
        key = data_key(name, fingerprint(shape), sha256)
        await lake.storage.bucket.put_file(key, path)
    manifest, _ = await lake.datasets.commit(name, shape, [DataFile(key, sha256, len(data), table.num_rows)])
    return manifest
