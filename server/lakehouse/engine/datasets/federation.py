"""Datasets of all buckets by name: one catalog a bucket, and what a reader may see of them."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine.datasets.asof import moment_of, version_number
from lakehouse.engine.datasets.catalog import Catalog
from lakehouse.engine.datasets.draft import Change, Draft
from lakehouse.engine.datasets.failures import (
    DatasetAway,
    DatasetNotFound,
    check_same_schema,
    dropped,
    unknown,
)
from lakehouse.engine.datasets.index import Index
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.manifests import (
    Column,
    DataFile,
    Manifest,
    check_name,
    fingerprint,
)
from lakehouse.errors import Conflict, LakehouseError, NotFound, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.expectations import Gatekeeper
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.storage import Storage


log = logging.getLogger("lakehouse")

_REST_SECS = 10.0  # a bucket that could not be listed is not asked again for so long

# Inside the class below, `list` is its method.
Texts = list[str]
Paths = list[Path]
Copies = list[Paths | None]


class Datasets:
    """Datasets by name, of every bucket, or of those a profile is bound to.

    A name stands for one dataset: where two buckets have it, the bucket that is configured first; the other is a
    problem that is reported, and is read through a profile of its bucket.
    With `indexed` false nothing is kept in `home`.
    """

    def __init__(self, home: Path, storage: "Storage", *, indexed: bool = True, record: Record = unrecorded) -> None:
        self.profile: Profile | None = None
        self.gate: Gatekeeper | None = None  # raises what keeps a next version from being committed
        self.after: Callable[[Manifest], Awaitable[None]] | None = None  # is told of each version committed here
        self._index = Index(home / "catalog.db" if indexed else None)
        self._catalogs: Mapping[str, Catalog] = {
            name: Catalog(bucket, storage.cache_of(name), storage.claims_of(name), self._index, record)
            for name, bucket in storage.buckets.items()
        }
        self._away: dict[str, str] = {}  # buckets that could not be listed, and why
        self._rests: dict[str, float] = {}  # until when they are not asked again

    def within(self, profile: "Profile") -> "Datasets":
        """The same datasets as a reader of this profile sees them. Raises NotFound for a bucket that is not there."""
        bound = copy(self)
        bound.profile, bound._catalogs = profile, {profile.bucket: self._catalog(profile.bucket)}
        return bound

    async def aclose(self) -> None:
        """Close the local copy of manifests; the next use opens it again."""
        await anyio.to_thread.run_sync(self._index.close)

    @property
    def generation(self) -> int:
        """A number that grows whenever the visible set of newest versions changes."""
        return sum(catalog.generation for catalog in self._catalogs.values())

    @property
    def remote(self) -> bool:
        """Whether listing the datasets may take long."""
        return any(catalog.bucket.remote for catalog in self._catalogs.values())

    async def change(self, name: str, make: Change, *, bucket: str | None = None) -> tuple[Manifest, bool]:
        """Commit what `make` answers, given the newest version, as the next one; see Catalog.change.

        A new name goes to `bucket`, or to the first one there is. Raises NotFound for a bucket that is not there, and
        for a dataset of another one.
        """
        catalog = await self._home_of(check_name(name), bucket)

        async def checked(current: Manifest | None) -> Draft | None:
            draft = await make(current)
            if draft is not None and self.gate is not None:
                await self.gate.check(self, catalog.bucket.name, name, current, draft)
            return draft

        manifest, existing = await catalog.change(name, checked)
        if self.after is not None and not existing:
            await self.after(manifest)
        return manifest, existing

    async def commit(
        self,
        name: str,
        columns: Sequence[Column],
        objects: Sequence[DataFile],
        *,
        statistics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        expectations: Sequence[Mapping[str, Any]] | None = None,
        bucket: str | None = None,
    ) -> tuple[Manifest, bool]:
        """Make stored data files the newest version of a dataset; returns it and whether it was there already.

        A new name begins with version 1. The same files under the same schema are the version that is there: nothing
        is written. Other processes are met at the create-only put. Without `expectations` those there remain.

        Raises EmptyName, InvalidInput, EmptyFingerprint, SchemaChanged (other columns than the dataset has), Conflict
        (a name the bucket cannot tell from another), DatasetDamaged, and Upstream when the store fails: the dataset
        is then what it was.
        """
        fingerprint(columns)
        rows = sum(file.row_count for file in objects)
        draft = Draft("ingest", tuple(columns), tuple(objects), rows, (), (), False, statistics or {}, provenance or {})

        async def replaced(current: Manifest | None) -> Draft:
            if current is not None and not current.dropped:
                check_same_schema(current, columns)
                kept = current.expectations if expectations is None else tuple(expectations)
                return replace(draft, key=current.key, expectations=kept)
            return replace(draft, expectations=tuple(expectations or ()))

        return await self.change(name, replaced, bucket=bucket)

    async def get(self, name: str, version: int | None = None) -> Manifest:
        """A dataset's manifest: the newest, or that of a version, even one before it was dropped.

        Raises DatasetNotFound, with the nearest names, and DatasetDamaged.
        """
        if version is None:
            _, newest = await self._find(check_name(name))
            if newest.dropped:
                raise dropped(name)
            return newest
        catalog = await self.catalog_of(name)
        if (found := await catalog.version(name, version)) is not None:
            return found
        _, newest = await self._find(name)
        gone = " any more: it was removed, as gc does" if 0 < version < newest.version else ""
        raise DatasetNotFound(
            f"dataset {name!r} has no version {version}{gone}.", fix=f"Its newest version is {newest.version}."
        )

    async def at(self, name: str, when: int | str, *, ended: bool = False) -> Manifest:
        """A dataset as it was: at a version (3, "3" or "v3"), or at a moment ("2026-05-01", RFC 3339; UTC if unsaid).

        Raises DatasetNotFound when it had no such version, or was not there or dropped then; InvalidInput. With
        `ended`, the number of the version that dropped it is answered, which holds nothing.
        """
        number = version_number(when)
        if number is not None:
            found = await self.get(name, number)
            if found.dropped and not ended:
                raise dropped(name, number)
            return found
        moment = moment_of(str(when))
        catalog = await self.catalog_of(name)
        versions = await catalog.versions(name)

        async def committed(version: int) -> Manifest:
            found = await catalog.version(name, version)
            if found is None:
                raise DatasetNotFound(f"version {version} of dataset {name!r} has just been removed.", fix="Ask again.")
            return found

        # Versions follow each other in time: the last one not after the moment, by halves.
        low, high = 0, len(versions)
        while low < high:
            middle = (low + high) // 2
            if (await committed(versions[middle])).updated_at <= moment:
                low = middle + 1
            else:
                high = middle
        if not low:
            raise DatasetNotFound(f"dataset {name!r} has no version of {when}.", fix="See dataset_history.")
        found = await committed(versions[low - 1])
        if found.dropped:
            raise dropped(name)
        return found

    async def list(self) -> list[Manifest]:
        """The newest version of every dataset, sorted by name; damaged and dropped ones are left out."""
        found: dict[str, Manifest] = {}
        await fan_out([partial(self._loaded, catalog) for catalog in self.catalogs()])
        for catalog in self.catalogs():
            for manifest in catalog.known:
                if not manifest.dropped and self._sees(manifest.name):
                    found.setdefault(manifest.name, manifest)
        return [found[name].copy() for name in sorted(found)]

    async def names(self) -> Texts:
        """The names of all datasets, sorted; those of damaged ones, too."""
        found: set[str] = set()
        for catalog in self.catalogs():
            if await self._loaded(catalog):
                found |= {name for name in catalog.names() if self._sees(name)}
        return sorted(found)

    @property
    def problems(self) -> Texts:
        """What is wrong as of the last reading of the buckets, a sentence each.

        Damaged datasets, buckets that cannot be read, names that two buckets have.
        """
        found = [why for catalog in self._catalogs.values() for why in catalog.problems_of(self._sees)]
        found += [why for bucket, why in self._away.items() if bucket in self._catalogs]
        first: dict[str, str] = {}
        for bucket, catalog in self._catalogs.items():
            for manifest in catalog.known:
                if not manifest.dropped and self._sees(manifest.name):
                    other = first.setdefault(manifest.name, bucket)
                    if other != bucket:
                        found.append(f"dataset {manifest.name!r} of bucket {bucket!r} is hidden by that of {other!r}.")
        return found

    async def refresh(self) -> Texts:
        """Read from the buckets what other processes committed; returns the problems.

        Reads of the catalog go on meanwhile. Raises Upstream only when the first bucket cannot be listed.
        """
        await fan_out([partial(self._refreshed, catalog) for catalog in self.catalogs()])
        return self.problems

    def in_place(self, manifest: Manifest) -> bool:
        """Whether a dataset's files are local ones anyway, of a file bucket."""
        return self._catalog(manifest.bucket).bucket.root is not None

    async def local_files(self, manifest: Manifest) -> Paths:
        """The dataset's Parquet files as local paths: in place for file buckets, else verified copies.

        Raises DatasetDamaged when a file is gone or has another size than the manifest says.
        """
        return await self._catalog(manifest.bucket).local_files(manifest)

    async def copies(self, manifests: Sequence[Manifest]) -> Copies:
        """For each manifest its Parquet files' verified copies; None where some of a remote bucket are not here yet."""
        found: Copies = []
        for manifest in manifests:
            found += await self._catalog(manifest.bucket).copies([manifest])
        return found

    def streams(self, manifest: Manifest) -> bool:
        """Whether a dataset's files are better read in parts where they are: all copies together would be too large."""
        return self._catalog(manifest.bucket).streams(manifest)

    async def read_range(self, bucket: str, key: str, start: int, end: int) -> bytes:
        """Some bytes of a data file. Raises KeyNotFound, NoRanges, Upstream."""
        return await self._catalog(bucket).bucket.get_range(key, start, end)

    async def drop_spoiled(self, manifest: Manifest) -> None:
        """Remove local copies of a remote bucket's files that do not have their contents any more."""
        await self._catalog(manifest.bucket).drop_spoiled(manifest)

    async def bucket_for(self, name: str, bucket: str | None = None) -> str:
        """The bucket a dataset is in, or where a new one of this name goes.

        Raises NotFound as `change` does, Conflict when the dataset is in another bucket than the given one.
        """
        wanted = await self._home_of(check_name(name), bucket)
        if bucket is not None:
            try:
                there, newest = await self._find(name)
            except DatasetNotFound:
                return bucket
            if there is not wanted and not newest.dropped:
                raise Conflict(
                    f"dataset {name!r} is in bucket {there.bucket.name!r}, not in {bucket!r}.",
                    fix="Leave the bucket out, or choose another name.",
                )
        return wanted.bucket.name

    async def catalog_of(self, name: str) -> Catalog:
        """The catalog that has a dataset: damaged or dropped ones, too; of two buckets, one where it was not dropped.

        Raises DatasetNotFound, with the nearest names.
        """
        check_name(name)
        gone: Catalog | None = None
        if self._sees(name):
            for catalog in self.catalogs():
                there = catalog.has(name) if await self._loaded(catalog) else None
                if there:
                    return catalog
                if there is False:
                    gone = gone or catalog
        if gone is not None:
            return gone
        error = unknown(name, [manifest.name for manifest in await self.list()])
        away = [catalog.bucket.name for catalog in self.catalogs() if not catalog.loaded]
        if away:
            where = f"It may be in bucket {' or '.join(away)}, which cannot be read now."
            raise DatasetAway(error.detail, fix=f"{where} {error.fix}")
        raise error

    def catalogs(self) -> Sequence[Catalog]:
        """The catalogs of the buckets a reader sees, first the one where new datasets go."""
        return tuple(self._catalogs.values())

    async def _find(self, name: str) -> tuple[Catalog, Manifest]:
        """The catalog that has a name, and its newest version. Raises DatasetNotFound, DatasetDamaged."""
        catalog = await self.catalog_of(name)
        newest = await catalog.newest(name)
        if newest is None:  # it was damaged, and is gone
            raise unknown(name, await self.names())
        return catalog, newest

    async def _home_of(self, name: str, bucket: str | None) -> Catalog:
        """Where a dataset is, or shall be."""
        if not self._sees(name):
            raise NotFound(
                f"profile {self.profile.name if self.profile else ''!r} has no dataset {name!r}.",
                fix="Use one of its own names, or another profile.",
            )
        if bucket is not None:
            return self._catalog(bucket)
        try:
            return await self.catalog_of(name)
        except DatasetNotFound:
            return next(iter(self._catalogs.values()))

    def _catalog(self, bucket: str) -> Catalog:
        found = self._catalogs.get(bucket)
        if found is None:
            raise NotFound(
                f"there is no bucket {bucket!r}.", fix=did_you_mean(bucket, list(self._catalogs), "See list_buckets.")
            )
        return found

    def _sees(self, name: str) -> bool:
        return self.profile is None or self.profile.sees(name)

    async def _loaded(self, catalog: Catalog) -> bool:
        """Whether a catalog can be used: not one beside the first that cannot be listed, which is a problem."""
        name = catalog.bucket.name
        if catalog.loaded:
            return True
        if anyio.current_time() < self._rests.get(name, 0.0):
            return False
        try:
            await catalog.load()
        except LakehouseError as error:
            if catalog is next(iter(self._catalogs.values())):
                raise
            self._note_away(name, error)
            return False
        self._away.pop(name, None)
        return True

    async def _refreshed(self, catalog: Catalog) -> None:
        name = catalog.bucket.name
        try:
            await catalog.refresh()
            self._away.pop(name, None)
        except LakehouseError as error:
            if catalog is next(iter(self._catalogs.values())):
                raise
            self._note_away(name, error)

    def _note_away(self, bucket: str, error: LakehouseError) -> None:
        """What is known of the bucket stays; where that is nothing, it is not asked again at once."""
        self._away[bucket] = f"bucket {bucket!r} cannot be read: {error.detail}"
        self._rests[bucket] = anyio.current_time() + _REST_SECS
