"""The rows of a dataset as documents."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine import merged
from lakehouse.engine.corpora.table import ROWS, Table
from lakehouse.engine.datasets import Datasets, Manifest
from lakehouse.errors import InvalidInput, Upstream

if TYPE_CHECKING:
    import pyarrow


class Rows(Table):
    """A version of a dataset. `metadata` None means every column that is no text column."""

    def __init__(
        self,
        datasets: Datasets,
        manifest: Manifest,
        text: Sequence[str],
        id: str,
        metadata: Sequence[str] | None,
        limit: int | None,
    ) -> None:
        super().__init__([column.name for column in manifest.columns], text, id, metadata)
        self.name = manifest.name
        self._datasets = datasets
        self._manifest = manifest
        self._limit = limit
        self._files: list[Path] = []

    def facts(self) -> dict[str, Any]:
        """The dataset, its version and the roles of its columns."""
        return {
            "source": "dataset",
            "dataset": self._manifest.name,
            "dataset_version": self._manifest.version,
            "bucket": self._manifest.bucket,
            "text": self._text,
            "id": self._id,
            "metadata": self._fields,
        }

    async def prepare(self) -> int:
        """The number of rows. Raises InvalidInput for no rows, rows without an id and ids that occur twice."""
        self._files = await self._datasets.local_files(self._manifest)
        count = await anyio.to_thread.run_sync(self._check_ids)
        if not count:
            raise InvalidInput(f"dataset: {self.name} has no rows.", fix="Ingest some first.")
        return count

    def _batches(self, columns: list[str]) -> "Generator[pyarrow.RecordBatch, None, None]":
        import pyarrow
        import pyarrow.parquet

        left = self._limit
        try:
            if self._manifest.merged:
                yield from merged.batches(self._manifest, self._files, columns, ROWS, left)
                return
            for path in self._files:
                with pyarrow.parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                        part = batch if left is None else batch.slice(0, left)
                        left = None if left is None else left - part.num_rows
                        if part.num_rows:
                            yield part
                        if left == 0:
                            return
        except (pyarrow.ArrowException, OSError) as error:
            raise Upstream(
                f"dataset {self.name} cannot be read: {type(error).__name__}.", fix="Run `lakehouse doctor`."
            ) from error
