"""The first rows of a dataset, read straight from its Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse.engine.datasets import Datasets, Manifest, lost
from lakehouse.engine.merged import batches


async def sample(
    datasets: Datasets, name: str, limit: int = 20, as_of: int | str | None = None
) -> tuple[Manifest, list[list[Any]]]:
    """A dataset's manifest, the newest or as of a version or a moment, and its first rows as JSON values.

    Raises DatasetNotFound, InvalidInput and DatasetDamaged.
    """
    manifest = await (datasets.get(name) if as_of is None else datasets.at(name, as_of))
    paths = await datasets.local_files(manifest)
    return manifest, await anyio.to_thread.run_sync(_first_rows, manifest, paths, limit)


def _first_rows(manifest: Manifest, paths: Sequence[Path], limit: int) -> list[list[Any]]:
    import pyarrow
    import pyarrow.parquet

    from lakehouse.engine.arrow_json import rows_of

    rows: list[list[Any]] = []
    if manifest.merged:
        columns = [column.name for column in manifest.columns]
        try:
            return rows_of(list(batches(manifest, paths, columns, limit, limit)))
        except (pyarrow.ArrowException, OSError) as error:
            raise lost(f"a data file cannot be read as Parquet ({type(error).__name__}).") from error
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
