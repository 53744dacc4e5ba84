"""The parent's side of ingest: a child process reads, then the finished file is stored and committed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

import anyio
import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine import datasets as catalog
from lakehouse.engine.compact import Compacted, Compactor, Later, not_beside
from lakehouse.engine.datasets import DatasetAway, DatasetNotFound, Datasets, Manifest
from lakehouse.engine.ingest import origins, reading
from lakehouse.engine.ingest.matches import Matches, files_of
from lakehouse.engine.ingest.modes import Deletion, Incoming, Place
from lakehouse.engine.ingest.modes.incoming import held
from lakehouse.engine.ingest.modes.named import json_lines, named_rows
from lakehouse.engine.ingest.options import Asked, Expected, Options
from lakehouse.engine.ingest.sifted import Arrival, Sieve, expecting, rejects_name
from lakehouse.engine.ingest.source import check_options, check_size, local_file, source_of
from lakehouse.engine.places import check_remote
from lakehouse.engine.relation import DELETED
from lakehouse.engine.storage import Storage
from lakehouse.errors import InvalidInput, Unavailable

__all__ = ["Compacted", "Deleted", "Expected", "Ingested", "IngestedColumn", "Ingester"]

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
    row_count: int = Field(description="Rows of the dataset now.")
    rows_read: int = Field(description="Rows of this source.")
    replaced: int = Field(0, description="Rows that an upsert replaced or removed.")
    columns: list[IngestedColumn] = Field(description="The columns in order.")
    existing: bool = Field(description="True when this very data was there already and nothing was written.")
    bytes: int = Field(description="Size of the Parquet object.")
    warnings: list[str] = Field(description="What was read differently than it may look.")
    rejected: int = Field(0, description="Rows set aside by quarantine.")
    rejects: str | None = Field(None, description="The dataset they are in.")


class Deleted(BaseModel):
    """A dataset after rows were removed."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="Its newest version.")
    deleted: int = Field(description="Rows that are gone.")
    row_count: int = Field(description="Rows it has now.")


class Ingester:
    """Turns files into datasets, whole or not at all: until the commit nothing is visible, and a kill leaves nothing.

    At most two run at once; others wait their turn.
    """

    def __init__(
        self,
        storage: Storage,
        datasets: Datasets,
        settings: config.Ingest,
        later: Later = not_beside,
        after: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        self._storage = storage
        self._datasets = datasets
        self._settings = settings
        self._after = after  # is told of each new version
        self._sieve = Sieve(storage, datasets, settings)
        self._turns = anyio.CapacityLimiter(_AT_ONCE)
        self._compactor = Compactor(storage, datasets, settings, later)

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

        A folder, or a pattern (`data/*.csv`, `data/**/*.csv`), stands for many files of the same columns. Unless
        `anywhere`, each file must lie below `ingest.roots`; for a `remote` caller there must be such, too. `filename`
        is what it is called, where that is not its name here.

        Raises InvalidInput for bad contents (with up to 100 bad rows in `data["rows"]`), NotFound, Forbidden,
        TooLarge naming the setting, SchemaChanged when the dataset has other columns, Conflict when the data is not
        what was `expected`, Upstream when the disk or the reader fails. Nothing is stored then.
        """
        catalog.check_name(name)
        options = Options.of(asked)
        roots = None if anywhere else self._settings.roots
        if remote:
            check_remote(path, self._settings.roots, "ingest.roots")
        many = await anyio.to_thread.run_sync(files_of, path, roots, options.source, self._settings)
        if many is not None:
            return await self._ingest_many(path, many, name, options)
        if options.source_column is not None:
            raise InvalidInput("source_column: there is one file.", fix="Leave it out, or give a folder or a pattern.")
        # Before its name is: a folder or a missing file is what is wrong with a path, whatever it ends like.
        real = await anyio.to_thread.run_sync(local_file, path, roots, self._settings.max_path_bytes)
        called = path.name if filename is None else filename
        kind = source_of(called, options.source)
        check_options(kind, options.delimiter, options.encoding, options.sheet, options.header_row)
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

    async def ingest_object(self, object_key: str, name: str, **asked: Unpack[Asked]) -> Ingested:
        """Make a stored object the newest version of a dataset; like `ingest_path` otherwise.

        `object_key` may be bucket://key. Raises KeyNotFound when there is no such object, NotFound for no such bucket.
        """
        bucket, object_key = self._storage.place_of(object_key)
        check_size((await bucket.head(object_key)).size, self._settings.max_path_bytes, "ingest.max_path_bytes")
        async with self._storage.scratch() as folder:
            path = folder / PurePosixPath(object_key).name
            await bucket.get_to(object_key, path)
            asked["provenance"] = {"object": f"{bucket.name}://{object_key}"}
            return await self.ingest_path(path, name, **asked)

    async def ingest_url(self, url: str, name: str, **asked: Unpack[Asked]) -> Ingested:
        """Make what a URL leads to the newest version of a dataset; like `ingest_path` otherwise.

        Raises Forbidden unless its host is one of `ingest.url_hosts` and its address may be reached; see web.fetch.
        """
        from lakehouse.engine.ingest import web

        catalog.check_name(name)
        options = Options.of(asked)
        async with self._storage.scratch() as folder:
            found = await web.fetch(url, options.source, folder, self._settings, options.progress)
            asked["source"] = found.source
            asked["provenance"] = {"url": found.url, **options.provenance}
            return await self.ingest_path(found.path, name, filename=found.filename, **asked)

    async def ingest_postgres(
        self,
        name: str,
        *,
        dsn: str | None = None,
        dsn_secret: str | None = None,
        table: str | None = None,
        query: str | None = None,
        anywhere: bool = True,
        **asked: Unpack[Asked],
    ) -> Ingested:
        """Make a table of a Postgres database, or the rows of a query, the newest version of a dataset.

        The database is that of a connection string, or of `[postgres.NAME]` in the secrets file. Unless `anywhere`, a
        string may name public hosts and those of `ingest.internal_networks` only. Nothing is kept of it.

        Raises what the reading process does; see database.ingest.
        """
        catalog.check_name(name)
        options = await origins.of_postgres(
            Options.of(asked), self._settings, self._storage.settings.secrets, dsn, dsn_secret, table, query, anywhere
        )
        async with self._turns, self._storage.scratch() as folder:
            return await self._ingest(folder, name, options, folder)

    async def ingest_files(self, path: Path, files: Matches, name: str, **asked: Unpack[Asked]) -> Ingested:
        """Make files that were found below a path the newest version of a dataset; like `ingest_path` otherwise."""
        catalog.check_name(name)
        return await self._ingest_many(path, files, name, Options.of(asked))

    async def _ingest_many(self, path: Path, many: Matches, name: str, options: Options) -> Ingested:
        options = origins.of_files(options, path, many)
        async with self._turns, self._storage.scratch() as folder:
            return await self._ingest(path, name, options, folder)

    async def _ingest(self, path: Path, name: str, options: Options, folder: Path) -> Ingested:
        if options.bucket is not None:
            await self._datasets.bucket_for(name, options.bucket)
        current = await self._newest(name, options)
        if options.quarantine:
            rejects_name(name)
        read = await reading.read(path, options, folder, self._settings, held(current, options))
        if options.expected is not None:
            options.expected.check(name, catalog.fingerprint(read.columns), read.rows, read.source)
        sifted = await self._sieve.sift(Arrival(name, path, folder, read, current), options)
        await options.progress(96, 100, "storing")
        incoming = Incoming(self._place(name, folder, options.bucket), sifted.read, options)
        make = expecting(incoming.next, options.expectations)
        manifest, existing = await self._datasets.change(name, make, bucket=options.bucket)
        await options.progress(100, 100, "committed")
        await self._compactor.after(manifest)
        if not existing:
            self._after(manifest)
        file = incoming.file or manifest.objects[-1]
        return Ingested(
            dataset_id=manifest.dataset_id,
            name=manifest.name,
            version=manifest.version,
            schema_fingerprint=manifest.schema_fingerprint,
            key=file.key,
            row_count=manifest.row_count,
            rows_read=read.rows,
            replaced=incoming.replaced,
            columns=[IngestedColumn(name=column.name, type=column.type) for column in manifest.columns],
            existing=existing,
            bytes=file.size_bytes,
            warnings=[*options.warnings, *incoming.warnings, *sifted.warnings],
            rejected=sifted.rejected,
            rejects=sifted.rejects,
        )

    async def delete(self, name: str, *, where: str | None = None, keys: Sequence[Any] | None = None) -> Deleted:
        """Remove the rows that an SQL condition is true for, or those with these keys.

        A key is an object of the key's columns, or the value itself where the key is one column.

        Raises DatasetNotFound, InvalidInput, Conflict for keys where the dataset has none, and Upstream.
        """
        before = await self._datasets.get(name)
        if keys is not None:
            marked, content = await anyio.to_thread.run_sync(named_rows, before, keys)
            made = await self.ingest_content(content, "jsonl", name, mode="upsert", deletes=marked)
            return Deleted(name=name, version=made.version, deleted=made.replaced, row_count=made.row_count)
        async with self._turns, self._storage.scratch() as folder:
            deletion = Deletion(self._place(name, folder), where or "")
            manifest, _ = await self._datasets.change(name, deletion.next)
        await self._compactor.after(manifest)
        return Deleted(name=name, version=manifest.version, deleted=deletion.deleted, row_count=manifest.row_count)

    async def register_delta(
        self,
        name: str,
        object_key: str | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        key: Sequence[str] = (),
    ) -> Ingested:
        """Let rows, or those of a stored object, take the place of the dataset's rows with the same key.

        Rows whose `_deleted` is true remove theirs; they need no other column but the key.

        Raises DatasetNotFound, KeyNotFound, and what an upsert raises.
        """
        await self._datasets.get(name)
        asked: Asked = {"mode": "upsert", "key": key, "deletes": DELETED}
        if object_key is not None:
            return await self.ingest_object(object_key, name, **asked)
        return await self.ingest_content(json_lines(rows or ()), "jsonl", name, **asked)

    async def compact(self, name: str) -> Compacted:
        """Fold all files of a dataset into one; its rows stay what they are.

        Raises DatasetNotFound, DatasetDamaged, Upstream.
        """
        async with self._turns:
            return await self._compactor.compact(name)

    async def _newest(self, name: str, options: Options) -> Manifest | None:
        try:
            return await self._datasets.get(name)
        except DatasetAway as error:
            # It may be there, with rows that a new one of its name would hide.
            if options.mode != "replace" and options.bucket is None:
                raise Unavailable(error.detail, fix=f"{error.fix} To make a new one, name its bucket.") from None
            return None
        except DatasetNotFound:
            return None

    def _place(self, name: str, folder: Path, bucket: str | None = None) -> Place:
        return Place(name, self._datasets, self._storage, self._settings, folder, bucket)
