"""The catalog: every dataset is a chain of immutable manifests in the bucket, one a version, the newest in memory."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.manifests import (
    PREFIX,
    BadManifest,
    Column,
    DataFile,
    EmptyFingerprint,
    EmptyName,
    Manifest,
    check_name,
    data_key,
    dataset_id,
    decoded,
    fingerprint,
    folder_of,
    manifest_key,
    shown_name,
    version_of,
)
from lakehouse.engine.storage import KeyExists, KeyNotFound, Storage
from lakehouse.errors import Conflict, InvalidInput, NotFound, Upstream, did_you_mean

__all__ = [
    "Column",
    "DataFile",
    "DatasetDamaged",
    "DatasetNotFound",
    "Datasets",
    "EmptyFingerprint",
    "EmptyName",
    "Manifest",
    "SchemaChanged",
    "check_name",
    "data_key",
    "dataset_id",
    "fingerprint",
]

log = logging.getLogger("lakehouse")

# Inside the class below, `list` is its method.
Texts = list[str]
Paths = list[Path]
Copies = list[Paths | None]


class DatasetNotFound(NotFound):
    """No dataset, or no version of it, has this name."""


class SchemaChanged(Conflict):
    """The data has other columns than the dataset; `data` holds both schemas and what differs."""


class DatasetDamaged(Upstream):
    """The newest manifest or a data file of a dataset cannot be read."""


@dataclass(frozen=True)
class _Index:
    """The newest version of every dataset at one moment, by folder, and what is wrong with the others."""

    newest: Mapping[str, Manifest]
    problems: Mapping[str, str]


_EMPTY = _Index(MappingProxyType({}), MappingProxyType({}))


class Datasets:
    """Datasets by name. The bucket is the truth; memory holds the newest version of each, and swaps in one step.

    A dataset whose newest manifest cannot be read is *damaged*: it is reported, and neither read, listed nor written
    until that object is restored or removed. Its older version is never served in its place, because a caller could
    not tell that it went back in time; asked for by number, older versions can still be read.
    """

    def __init__(self, home: Path, storage: Storage) -> None:
        self._bucket = storage.bucket
        self._cache = storage.cache
        self._index = _EMPTY
        self._loaded = False
        self._loading = anyio.Lock(fast_acquire=True)
        self._commits: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that grows whenever the visible set of newest versions changes."""
        return self._generation

    async def commit(
        self,
        name: str,
        columns: Sequence[Column],
        objects: Sequence[DataFile],
        *,
        statistics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> tuple[Manifest, bool]:
        """Make stored data files the newest version of a dataset; returns it and whether it was there already.

        A new name begins with version 1. The same files under the same schema are the version that is there: nothing
        is written. Commits of one name follow each other; other processes are met at the create-only put.

        Raises EmptyName, InvalidInput, EmptyFingerprint, SchemaChanged (other columns than the dataset has), Conflict
        (a name the bucket cannot tell from another), DatasetDamaged, and Upstream when the store fails: the dataset
        is then what it was.
        """
        folder = folder_of(check_name(name))
        mark = fingerprint(columns)
        facts = _json(statistics, "statistics"), _json(provenance, "provenance")
        async with self._commits.setdefault(folder, anyio.Lock(fast_acquire=True)):
            tried = 0
            while True:
                current = await self._reread(folder)
                version = current.version if current else 0
                if version < tried:
                    raise Conflict(
                        f"the bucket refuses version {tried} of dataset {name!r}, and does not have it.",
                        fix="A name that differs only in case may be taken; choose another.",
                    )
                if current is not None:
                    _check_schema(current, columns)
                if current is not None and current.objects == tuple(objects):
                    return current.copy(), True
                tried = version + 1
                now = moment.now()
                candidate = Manifest(
                    dataset_id=dataset_id(name),
                    name=name,
                    version=tried,
                    schema_fingerprint=mark,
                    objects=tuple(objects),
                    row_count=sum(file.row_count for file in objects),
                    columns=tuple(columns),
                    statistics=facts[0],
                    provenance=facts[1],
                    created_at=current.created_at if current else now,
                    updated_at=now,
                    bucket=self._bucket.name,
                )
                try:
                    # Once the put is under way its outcome must be known: memory follows it.
                    with anyio.CancelScope(shield=True):
                        await self._bucket.put(manifest_key(folder, tried), candidate.encoded(), create=True)
                        self._show(folder, candidate)
                except KeyExists:
                    continue
                return candidate.copy(), False

    async def check_schema(self, name: str, columns: Sequence[Column]) -> None:
        """Raises SchemaChanged when data of these columns cannot be a dataset's next version.

        A commit checks it again. Whoever asks before data files are stored leaves none behind that nothing names.
        """
        try:
            current = await self.get(name)
        except DatasetNotFound:
            return
        _check_schema(current, columns)

    async def get(self, name: str, version: int | None = None) -> Manifest:
        """A dataset's manifest: the newest, or that of a version.

        Raises DatasetNotFound, with the nearest names, and DatasetDamaged.
        """
        folder = folder_of(check_name(name))
        if version is not None:
            return await self._version(name, folder, version)
        await self._load()
        found = self._index.newest.get(folder)
        if found is None and folder in self._index.problems:
            found = await self._reread(folder)  # it may have been mended
        if found is None:
            raise _unknown(name, [manifest.name for manifest in self._index.newest.values()])
        return found.copy()

    async def list(self) -> list[Manifest]:
        """The newest version of every dataset, sorted by name; damaged ones are left out (see `problems`)."""
        await self._load()
        return sorted((m.copy() for m in self._index.newest.values()), key=lambda m: m.name)

    async def names(self) -> Texts:
        """The names of all datasets, sorted; those of damaged ones, too."""
        await self._load()
        index = self._index
        return sorted({m.name for m in index.newest.values()} | {shown_name(f) for f in index.problems})

    @property
    def problems(self) -> Texts:
        """What is wrong with damaged datasets, as of the last reading of the bucket; one sentence each."""
        return [why for _, why in sorted(self._index.problems.items())]

    async def refresh(self) -> Texts:
        """Read from the bucket what other processes committed; returns the problems.

        Reads of the catalog go on meanwhile. Raises Upstream only when the bucket cannot be listed.
        """
        async with self._loading:
            await self._rehydrate()
        return self.problems

    async def local_files(self, manifest: Manifest) -> Paths:
        """The dataset's Parquet files as local paths: in place for file buckets, else verified copies.

        Raises DatasetDamaged when a file is gone or has another size than the manifest says.
        """
        root = self._bucket.root
        if root is not None:
            return await anyio.to_thread.run_sync(lambda: [_in_place(root, file) for file in manifest.objects])
        try:
            return await fan_out([partial(self._cache.fetch, f.key, f.sha256, f.size_bytes) for f in manifest.objects])
        except KeyNotFound as missing:
            raise lost(missing.detail) from missing

    async def copies(self, manifests: Sequence[Manifest]) -> Copies:
        """For each manifest its Parquet files' verified copies; None where some of a remote bucket are not here yet."""

        def found(manifest: Manifest) -> Paths | None:
            here = [self._cache.has(file.sha256, file.size_bytes) for file in manifest.objects]
            paths = [path for path in here if path is not None]
            return paths if len(paths) == len(here) else None

        return await anyio.to_thread.run_sync(lambda: [found(manifest) for manifest in manifests])

    async def drop_spoiled(self, manifest: Manifest) -> None:
        """Remove local copies of a remote bucket's files that do not have their contents any more."""

        def drop() -> None:
            for file in manifest.objects:
                self._cache.drop_spoiled(file.sha256)

        await anyio.to_thread.run_sync(drop)

    async def _load(self) -> None:
        if not self._loaded:
            async with self._loading:
                if not self._loaded:
                    await self._rehydrate()

    async def _rehydrate(self) -> None:
        before = self._index
        latest: dict[str, int] = {}
        for stored in (await self._bucket.list(PREFIX, limit=None)).objects:
            if (found := version_of(stored.key)) is not None:
                latest[found[0]] = max(found[1], latest.get(found[0], 0))
        newest: dict[str, Manifest] = {}
        problems: dict[str, str] = {}
        limiter = anyio.Semaphore(16)

        async def read(folder: str, version: int) -> None:
            async with limiter:
                try:
                    newest[folder] = await self._read(folder, version)
                except (Upstream, KeyNotFound) as error:
                    known = before.newest.get(folder)
                    if known is None or isinstance(error, DatasetDamaged | KeyNotFound):
                        problems[folder] = error.detail
                    else:  # the store failed: what is known stays, as if nobody had looked
                        newest[folder] = known

        async with anyio.create_task_group() as tasks:
            for folder, version in latest.items():
                known = before.newest.get(folder)
                if known is not None and known.version == version:
                    newest[folder] = known
                else:
                    tasks.start_soon(read, folder, version)
        for folder, why in problems.items():
            if before.problems.get(folder) != why:
                log.error("dataset.damaged %s", why)
        # Commits of this process went on meanwhile: what they showed is newer than what was listed.
        for folder, manifest in self._index.newest.items():
            if manifest is not before.newest.get(folder) and manifest.version >= latest.get(folder, 0):
                newest[folder] = manifest
                problems.pop(folder, None)
        self._swap(newest, problems)
        self._loaded = True

    async def _reread(self, folder: str) -> Manifest | None:
        """The newest version of one dataset as the bucket has it now."""
        keys = (await self._bucket.list(f"{PREFIX}{folder}/", limit=None)).objects
        versions = [found[1] for found in (version_of(stored.key) for stored in keys) if found and found[0] == folder]
        if not versions:
            return None
        known = self._index.newest.get(folder)
        if known is not None and known.version == max(versions):
            return known
        manifest = await self._read(folder, max(versions))
        self._show(folder, manifest)
        return manifest

    async def _read(self, folder: str, version: int) -> Manifest:
        key = manifest_key(folder, version)
        try:
            manifest = decoded(await self._bucket.get(key))
            if (manifest.version, folder_of(manifest.name)) != (version, folder):
                raise BadManifest(f"it is version {manifest.version} of {manifest.name!r}")
        except BadManifest as error:
            raise DatasetDamaged(
                f"dataset {shown_name(folder)!r} is damaged: its manifest {key} cannot be used: {error}.",
                fix="Restore that object from a backup, or remove it to go back to the version before.",
            ) from error
        return manifest

    async def _version(self, name: str, folder: str, version: int) -> Manifest:
        if version > 0:
            try:
                return await self._read(folder, version)
            except KeyNotFound:
                pass
        newest = await self.get(name)
        raise DatasetNotFound(
            f"dataset {name!r} has no version {version}.", fix=f"Its newest version is {newest.version}."
        )

    def _show(self, folder: str, manifest: Manifest) -> None:
        index = self._index
        known = index.newest.get(folder)
        if known is not None and known.version > manifest.version:
            return  # a commit was faster than the reading of the version before it
        problems = {f: why for f, why in index.problems.items() if f != folder}
        self._swap({**index.newest, folder: manifest}, problems)

    def _swap(self, newest: dict[str, Manifest], problems: dict[str, str]) -> None:
        old = self._index
        if newest != old.newest or problems != old.problems:
            self._index = _Index(MappingProxyType(newest), MappingProxyType(problems))
            self._generation += 1


def _json(given: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(given or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{what}: it is not JSON: {error}.", fix="Give strings, numbers, lists and objects."
        ) from error
    return copy


def _check_schema(current: Manifest, columns: Sequence[Column]) -> None:
    if current.schema_fingerprint == fingerprint(columns):
        return
    stored = {column.name: column.type for column in current.columns}
    given = {column.name: column.type for column in columns}
    parts = [f"{name} {kind} is new" for name, kind in given.items() if name not in stored]
    parts += [f"{name} {kind} is missing" for name, kind in stored.items() if name not in given]
    parts += [f"{name} was {kind}, is {given[name]}" for name, kind in stored.items() if given.get(name, kind) != kind]
    shown = "; ".join(parts[:10]) + (f"; and {len(parts) - 10} more" if len(parts) > 10 else "")
    raise SchemaChanged(
        f"dataset {current.name!r} has another schema: {shown or 'the columns have another order'}.",
        fix="Ingest under another name, or make the columns as they were (types= sets a column's type).",
        data={
            "stored": [{"name": column.name, "type": column.type} for column in current.columns],
            "given": [{"name": column.name, "type": column.type} for column in columns],
        },
    )


def _unknown(name: str, known: list[str]) -> DatasetNotFound:
    none = None if known else "There are none yet; ingest_file makes one of a file."
    return DatasetNotFound(f"there is no dataset {name!r}.", fix=did_you_mean(name, known, none))


def lost(what: str) -> DatasetDamaged:
    """The error for a data file that is not what its manifest says."""
    return DatasetDamaged(what, fix="Restore the object from a backup, or ingest the source again under another name.")


def _in_place(root: Path, file: DataFile) -> Path:
    path = root / file.key
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise lost(f"the data file {file.key!r} is gone.") from None
    if size != file.size_bytes:
        raise lost(f"the data file {file.key!r} has {size} bytes; the catalog recorded {file.size_bytes}.")
    return path
