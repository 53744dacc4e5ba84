"""Reading everything that is stored against its hashes, and naming what is damaged and what that concerns."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine import files
from lakehouse.engine.bucket import Bucket, KeyNotFound
from lakehouse.engine.datasets import Catalog, DatasetDamaged
from lakehouse.engine.datasets.index import At
from lakehouse.engine.fanout import AT_ONCE
from lakehouse.engine.journal import event
from lakehouse.engine.manifests import DataFile, manifest_key, shown_name
from lakehouse.engine.profiles import Profiles
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.storage import VECTORS_PREFIX
from lakehouse.errors import Forbidden, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.storage import Storage
    from lakehouse.engine.vectors import Vectors

_TOLD_EVERY = 64 * 2**20  # bytes read between two reports of progress


class Damage(BaseModel):
    """One object that is not what was stored."""

    bucket: str = Field(description="Its bucket.")
    key: str = Field(description="The object.")
    what: str = Field(description="What is wrong with it.")
    dataset: str | None = Field(None, description="The dataset it belongs to.")
    versions: list[int] = Field([], description="The versions that cannot be read for it.")
    index: str | None = Field(None, description="Or the vector index.")


class Checked(BaseModel):
    """What was read, and what of it is damaged."""

    ok: bool = Field(True, description="Whether nothing is damaged.")
    manifests: int = Field(0, description="Manifests read, of all versions.")
    files: int = Field(0, description="Data files read.")
    indexes: int = Field(0, description="Vector indexes read.")
    records: int = Field(0, description="Files of the journal, and profiles, read.")
    bytes: int = Field(0, description="Bytes of data files read.")
    damaged: list[Damage] = Field([], description="What is damaged or missing.")


async def check(
    storage: "Storage", datasets: "Datasets", vectors: "Vectors", *, progress: Progress = unheard
) -> Checked:
    """Read every manifest, data file, vector index, file of the journal and profile against its checksums.

    Local files are read in place; those of a remote bucket are copied to the data directory's disk, one after
    another. Memory grows with the number of files, not with their size.

    Raises Forbidden to a reader that does not see every dataset, Upstream when a bucket cannot be read at all.
    """
    if datasets.profile is not None:
        raise Forbidden("fsck reads all datasets; a profile sees some.", fix="Call it without a profile.")
    found = Checked()
    for catalog in datasets.catalogs():
        await _Reading(storage, catalog, found, progress).run()
    for name in await vectors.names():
        await progress(found.bytes, None, f"vector index {name}")
        found.indexes += 1
        for line in await vectors.verify(name):
            key, _, what = line[max(0, line.find(VECTORS_PREFIX)) :].partition(": ")
            bucket = storage.bucket.name
            found.damaged.append(Damage(bucket=bucket, key=key, what=what or "it is damaged", index=name))
    await _check_records(storage, found, progress)
    found.ok = not found.damaged
    return found


async def _check_records(storage: "Storage", found: Checked, progress: Progress) -> None:
    """The journal and the profiles, which the primary bucket has."""
    bucket, profiles = storage.bucket, Profiles(storage)
    for day in await event.days(bucket):
        await progress(found.bytes, None, f"journal of {day}")
        for key in await event.keys_of(bucket, day):
            try:
                data = await bucket.get(key)
            except KeyNotFound:
                continue  # it has just been removed, by hand
            found.records += 1
            try:
                await anyio.to_thread.run_sync(event.decoded, data, key)
            except Upstream as error:
                found.damaged.append(Damage(bucket=bucket.name, key=key, what=error.detail))
    found.records += len(await profiles.names())
    for key, what in (await profiles.damaged()).items():
        found.damaged.append(Damage(bucket=bucket.name, key=key, what=what))


class _Reading:
    """One bucket's turn."""

    def __init__(self, storage: "Storage", catalog: Catalog, found: Checked, progress: Progress) -> None:
        self._storage, self._catalog, self._found, self._progress = storage, catalog, found, progress
        self._bucket: Bucket = catalog.bucket
        self._total = 0
        self._told = 0

    async def run(self) -> None:
        files: dict[str, DataFile] = {}
        named: dict[str, list[At]] = {}
        names: dict[str, str] = {}
        every = sorted(await self._catalog.stored.tags())
        for start in range(0, len(every), AT_ONCE):
            await self._progress(start, len(every), f"manifests of bucket {self._bucket.name}")
            some = every[start : start + AT_ONCE]
            # Without tags: from the bucket, not from the local copy.
            for at, read in (await self._catalog.stored.read_all(dict.fromkeys(some, ""))).items():
                if isinstance(read, KeyNotFound):
                    continue  # a gc has removed it meanwhile
                self._found.manifests += 1
                if isinstance(read, DatasetDamaged):
                    self._damaged(manifest_key(*at), read.detail, {at[0]: shown_name(at[0])}, [at])
                elif isinstance(read, Upstream):
                    raise read
                else:
                    assert not isinstance(read, Exception)
                    names[at[0]] = read.name
                    for file in read.objects:
                        known = files.setdefault(file.key, file)
                        if (known.sha256, known.size_bytes) != (file.sha256, file.size_bytes):
                            self._damaged(file.key, "two versions record different contents for it", names, [at])
                        named.setdefault(file.key, []).append(at)
        self._total = sum(file.size_bytes for file in files.values())
        for key, file in sorted(files.items()):
            if (what := await self._checked(file)) and await self._still_named(named[key]):
                self._damaged(key, what, names, named[key])

    async def _checked(self, file: DataFile) -> str:
        """What is wrong with a file; nothing when it is as recorded."""
        try:
            async with self._local(file.key) as path:
                size = (await anyio.to_thread.run_sync(path.stat)).st_size
                sha256 = await anyio.to_thread.run_sync(files.sha256_of, path)
        except (KeyNotFound, FileNotFoundError, NotADirectoryError):
            return "it is missing"
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        self._found.files += 1
        self._found.bytes += size
        if self._found.bytes - self._told >= _TOLD_EVERY:
            self._told = self._found.bytes
            await self._progress(self._found.bytes, self._total, f"data files of bucket {self._bucket.name}")
        if size != file.size_bytes:
            return f"it has {size} bytes; {file.size_bytes} were stored"
        return "" if sha256 == file.sha256 else "its contents have another hash than what was stored"

    @asynccontextmanager
    async def _local(self, key: str) -> AsyncIterator[Path]:
        if self._bucket.root is not None:
            yield self._bucket.root / key
            return
        async with self._storage.scratch() as folder:
            await self._bucket.get_to(key, folder / "file")
            yield folder / "file"

    async def _still_named(self, versions: list[At]) -> bool:
        """Whether one of the versions is still there: a gc removes a version before its files."""
        return any([await self._bucket.exists(manifest_key(*at)) for at in versions])

    def _damaged(self, key: str, what: str, names: Mapping[str, str], versions: list[At]) -> None:
        folder = versions[0][0]
        damage = Damage(bucket=self._bucket.name, key=key, what=what, dataset=names.get(folder, shown_name(folder)))
        damage.versions = sorted(version for _, version in versions)
        self._found.damaged.append(damage)
