"""The first rows of a dataset, read straight from its Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse.engine.datasets import Datasets, Manifest, lost


async def sample(datasets: Datasets, name: str, limit: int = 20) -> tuple[Manifest, list[list[Any]]]:
    """A dataset's newest manifest and its first rows as JSON values.

    Raises DatasetNotFound and DatasetDamaged.
    """
    manifest = await datasets.get(name)
    paths = await datasets.local_files(manifest)
    return manifest, await anyio.to_thread.run_sync(first_rows, paths, limit)


def first_rows(paths: Sequence[Path], limit: int) -> list[list[Any]]:
    """The first rows of Parquet files as JSON values; blocking. Raises DatasetDamaged."""
    import pyarrow
    import pyarrow.parquet

    from lakehouse.engine.arrow_json import rows_of

    rows: list[list[Any]] = []
    for path in paths:
        if len(rows) >= limit:
            break
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                # One small batch: what is not asked for is not decoded.
                batch = next(file.iter_batches(batch_size=limit - len(rows)), None)
        except (pyarrow.ArrowException, OSError) as error:
            raise lost(f"a data file cannot be read as Parquet ({type(error).__name__}).") from error
        rows += rows_of([batch] if batch is not None else [])
    return rows
