"""The parent's side of ingest: a child process reads, then the finished file is stored and committed."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Unpack

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine import datasets as catalog
from lakehouse.engine.datasets import DataFile, Datasets, Manifest
from lakehouse.engine.ingest import reading
from lakehouse.engine.ingest.options import Asked, Expected, Options
from lakehouse.engine.ingest.reading import Read
from lakehouse.engine.ingest.source import check_options, check_size, local_file, source_of
from lakehouse.engine.places import check_remote
from lakehouse.engine.storage import KeyExists, Storage

__all__ = ["Expected", "Ingested", "IngestedColumn", "Ingester"]

_AT_ONCE = 2  # each takes ingest.memory_limit; more wait


class IngestedColumn(BaseModel):
    """One column of the dataset."""

    name: str = Field(description="As in the source's header or keys.")
    type: str = Field(description="Arrow type: int64, double, bool, string, date32[day], timestamp[us], ...")


class Ingested(BaseModel):
    """A dataset's version made from one source."""

    dataset_id: str = Field(description="The dataset's id: a UUID of its name.")
    name: str = Field(description="The dataset's name, as SQL knows it.")
    version: int = Field(description="The version that holds this data.")
    schema_fingerprint: str = Field(description="SHA-256 over the columns' names and types.")
    key: str = Field(description="The Parquet object in the bucket.")
    row_count: int = Field(description="Rows stored.")
    columns: list[IngestedColumn] = Field(description="The columns in order.")
    existing: bool = Field(description="True when this very data was there already and nothing was written.")
    bytes: int = Field(description="Size of the Parquet object.")
    warnings: list[str] = Field(description="What was read differently than it may look.")


class Ingester:
    """Turns files into datasets, whole or not at all: until the commit nothing is visible, and a kill leaves nothing.

    At most two run at once; others wait their turn.
    """

    def __init__(self, storage: Storage, datasets: Datasets, settings: config.Ingest) -> None:
        self._storage = storage
        self._datasets = datasets
        self._settings = settings
        self._turns = anyio.CapacityLimiter(_AT_ONCE)

    async def ingest_path(
        self,
        path: Path,
        name: str,
        *,
        anywhere: bool = True,
        remote: bool = False,
        filename: str | None = None,
        **asked: Unpack[Asked],
    ) -> Ingested:
        """Make a local file the newest version of a dataset; for what can be asked for see Options.

        Unless `anywhere`, the file must lie below `ingest.roots`; for a `remote` caller there must be such, too.
        `filename` is what it is called, where that is not its name here.

        Raises InvalidInput for bad contents (with up to 100 bad rows in `data["rows"]`), NotFound, Forbidden,
        TooLarge naming the setting, SchemaChanged when the dataset has other columns, Conflict when the data is not
        what was `expected`, Upstream when the disk or the reader fails. Nothing is stored then.
        """
        catalog.check_name(name)
        options = Options.of(asked)
        roots = None if anywhere else self._settings.roots
        if remote:
            check_remote(path, self._settings.roots, "ingest.roots")
        # Before its name is: a folder or a missing file is what is wrong with a path, whatever it ends like.
        real = await anyio.to_thread.run_sync(local_file, path, roots, self._settings.max_path_bytes)
        called = path.name if filename is None else filename
        kind = source_of(called, options.source)
        check_options(kind, options.delimiter, options.encoding)
        options = replace(options, source=kind, provenance={"file": called, **options.provenance})
        async with self._turns, self._storage.scratch() as folder:
            return await self._ingest(real, name, options, folder)

    async def ingest_content(
        self, content: bytes, filename_or_source: str, name: str, **asked: Unpack[Asked]
    ) -> Ingested:
        """Make content that came with a request the newest version of a dataset; like `ingest_path` otherwise."""
        check_size(len(content), self._settings.max_bytes, "ingest.max_bytes")
        given = filename_or_source if "." not in filename_or_source else None
        kind = source_of(filename_or_source, given)
        async with self._storage.scratch() as folder:
            path = folder / f"content.{kind}"
            await anyio.to_thread.run_sync(path.write_bytes, content)
            asked["source"] = kind
            return await self.ingest_path(path, name, **asked)

    async def ingest_object(self, key: str, name: str, **asked: Unpack[Asked]) -> Ingested:
        """Make a stored object the newest version of a dataset; like `ingest_path` otherwise.

        `key` may be bucket://key. Raises KeyNotFound when there is no such object, NotFound for no such bucket.
        """
        bucket, key = self._storage.place_of(key)
        check_size((await bucket.head(key)).size, self._settings.max_path_bytes, "ingest.max_path_bytes")
        async with self._storage.scratch() as folder:
            path = folder / PurePosixPath(key).name
            await bucket.get_to(key, path)
            asked["provenance"] = {"object": f"{bucket.name}://{key}"}
            return await self.ingest_path(path, name, **asked)

    async def _ingest(self, path: Path, name: str, options: Options, folder: Path) -> Ingested:
        read = await reading.read(path, options, folder, self._settings)
        await self._check(name, read, options)
        await options.progress(96, 100, "storing")
        file = await self._store(name, read, options)
        manifest, existing = await self._change(name, read, file, options)
        await options.progress(100, 100, "committed")
        return Ingested(
            dataset_id=manifest.dataset_id,
            name=manifest.name,
            version=manifest.version,
            schema_fingerprint=manifest.schema_fingerprint,
            key=file.key,
            row_count=read.rows,
            columns=[IngestedColumn(name=column.name, type=column.type) for column in manifest.columns],
            existing=existing,
            bytes=read.bytes,
            warnings=list(read.warnings),
        )

    async def _check(self, name: str, read: Read, options: Options) -> None:
        """Raises what keeps the data from being the dataset's next version; nothing is stored yet."""
        if options.expected is not None:
            options.expected.check(name, catalog.fingerprint(read.columns), read.rows, read.source)
        await self._datasets.bucket_for(name, options.bucket)
        await self._datasets.check_schema(name, read.columns)

    async def _store(self, name: str, read: Read, options: Options) -> DataFile:
        """Put the file where the dataset's files are, under a name that says its content."""
        key = catalog.data_key(name, catalog.fingerprint(read.columns), read.sha256)
        bucket = await self._datasets.bucket_for(name, options.bucket)
        try:
            await self._storage.put_immutable(key, read.path, read.sha256, bucket)
        except KeyExists:
            pass  # named by its content: what is there is the same
        return DataFile(key, read.sha256, read.bytes, read.rows)

    async def _change(self, name: str, read: Read, file: DataFile, options: Options) -> tuple[Manifest, bool]:
        """Commit the next version."""
        provenance = {**options.provenance, "source": options.source, **read.source}
        return await self._datasets.commit(name, read.columns, [file], provenance=provenance, bucket=options.bucket)
