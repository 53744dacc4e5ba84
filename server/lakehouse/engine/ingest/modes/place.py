"""Where a change is prepared: the dataset, a folder for unfinished files, and how finished ones are stored."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.datasets import Column, DataFile, Datasets, data_key, fingerprint
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.storage import KeyExists, Storage
from lakehouse.engine.tables import Desk, Table, Written, desk


@dataclass(frozen=True)
class Place:
    """What it takes to prepare a version of the dataset `name` in `folder`."""

    name: str
    datasets: Datasets
    storage: Storage
    settings: config.Ingest
    folder: Path
    bucket: str | None = None

    def desk(self, tables: Mapping[str, Table]) -> AbstractAsyncContextManager[Desk]:
        """A process with these tables."""
        return desk(tables, self.folder, self.settings)

    async def store(
        self, written: Written, *, role: str = "base", lacks: Sequence[str] = (), current: Manifest | None = None
    ) -> DataFile:
        """Put a finished file where the dataset's files are, under a name that says its content. The file stays, too.

        Raises Unavailable, Upstream.
        """
        columns = [Column(name, kind) for name, kind in written.columns]
        key = data_key(self.name, fingerprint(columns), written.sha256)
        bucket = current.bucket if current else await self.datasets.bucket_for(self.name, self.bucket)
        copy = self.folder / f"{written.path.stem}.stored"
        await anyio.to_thread.run_sync(_link, written.path, copy)
        try:
            await self.storage.put_immutable(key, copy, written.sha256, bucket)
        except KeyExists:
            pass  # named by its content: what is there is the same
        return DataFile(key, written.sha256, written.bytes, written.rows, role, tuple(lacks))


def _link(path: Path, copy: Path) -> None:
    # Who is asked for the next version again, after a lost race, finds the file where it was.
    copy.unlink(missing_ok=True)
    os.link(path, copy)
