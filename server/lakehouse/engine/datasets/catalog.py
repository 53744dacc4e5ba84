"""The catalog of one bucket: every dataset is a chain of immutable manifests, one a version, the newest in memory."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.acting import NOBODY, acting
from lakehouse.engine.bucket import Bucket, KeyExists, KeyNotFound
from lakehouse.engine.cache import Cache
from lakehouse.engine.claims import GRACE_SECS, Claims
from lakehouse.engine.datasets.draft import Change, Draft
from lakehouse.engine.datasets.failures import DatasetDamaged, DatasetNotFound, lost
from lakehouse.engine.datasets.index import At, Index
from lakehouse.engine.datasets.stored import Stored
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.manifests import (
    DataFile,
    Manifest,
    check_name,
    dataset_id,
    fingerprint,
    folder_of,
    manifest_key,
    shown_name,
)
from lakehouse.errors import Conflict, InvalidInput

log = logging.getLogger("lakehouse")

# Inside the class below, `list` is its method.
Texts = list[str]
Numbers = list[int]
Paths = list[Path]
Copies = list[Paths | None]


@dataclass(frozen=True)
class _Index:
    """The newest version of every dataset at one moment, by folder, and what is wrong with the others."""

    newest: Mapping[str, Manifest]
    problems: Mapping[str, str]


_EMPTY = _Index(MappingProxyType({}), MappingProxyType({}))


class Catalog:
    """One bucket's datasets by name. The bucket is the truth; memory holds the newest versions, and swaps in one step.

    A dataset whose newest manifest cannot be read is *damaged*: it is reported, and neither read, listed nor written
    until that object is restored or removed. Its older version is never served in its place, because a caller could
    not tell that it went back in time; asked for by number, older versions can still be read.

    A dataset that was dropped keeps its versions; here it is one whose newest version says `dropped`.
    """

    def __init__(self, bucket: Bucket, cache: Cache, claims: Claims, index: Index, record: Record = unrecorded) -> None:
        self.bucket = bucket
        self._record = record
        self.claims = claims
        self.stored = Stored(bucket, index)
        self._cache = cache
        self._used: dict[At, float] = {}  # older versions somebody asked for, and when
        self._index = _EMPTY
        self._loaded = False
        self._loading = anyio.Lock(fast_acquire=True)
        self._commits: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._generation = 0

    @property
    def loaded(self) -> bool:
        """Whether the bucket has been read once, so that its newest versions are known."""
        return self._loaded

    @property
    def known(self) -> Sequence[Manifest]:
        """The newest versions as memory has them, not to be changed."""
        return tuple(self._index.newest.values())

    @property
    def generation(self) -> int:
        """A number that grows whenever the visible set of newest versions changes."""
        return self._generation

    async def change(self, name: str, make: Change) -> tuple[Manifest, bool]:
        """Commit what `make` answers, given the newest version, as the next one.

        Returns the version, and whether it was there already: `make` answered None, or the very contents it was given.
        Commits of one name follow each other; when another process was faster, `make` is asked again.

        Raises EmptyName, InvalidInput, EmptyFingerprint, Conflict (a name the bucket cannot tell from another),
        DatasetDamaged, what `make` raises, and Upstream when the store fails: the dataset is then what it was.
        """
        folder = folder_of(check_name(name))
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
                draft = await make(current.copy() if current else None)
                if current is not None and (draft is None or draft.same_as(current)):
                    await self._release(draft)
                    return current.copy(), True
                if draft is None:
                    raise DatasetNotFound(f"there is no dataset {name!r}.", fix="Ingest it first.")
                tried = version + 1
                candidate = self._candidate(name, tried, draft, current)
                await self._hold_stale(candidate)
                try:
                    # Once the put is under way its outcome must be known: memory follows it.
                    with anyio.CancelScope(shield=True):
                        await self.bucket.put(manifest_key(folder, tried), candidate.encoded(), create=True)
                        self._show(folder, candidate)
                        await self._record(
                            candidate.operation, "dataset", name, before=_told(current), after=_told(candidate)
                        )
                except KeyExists:
                    continue
                await self._see_stale(candidate)
                await self._release(draft)
                return candidate.copy(), False

    async def hold(self, objects: Sequence[DataFile]) -> None:
        """Keep files of a version from being removed by a gc until a commit names them.

        Raises DatasetDamaged when one is gone already.
        """
        await self.claims.hold([file.key for file in objects])
        there = await fan_out([partial(self.bucket.exists, file.key) for file in objects])
        for file, found in zip(objects, there, strict=True):
            if not found:
                raise lost(f"the data file {file.key!r} is gone.")

    def used_since(self, moment: float) -> set[At]:
        """The older versions that were asked for since a moment (monotonic): somebody may be reading them."""
        return {at for at, when in self._used.items() if when >= moment}

    async def _hold_stale(self, candidate: Manifest) -> None:
        stale = set(self.claims.stale([file.key for file in candidate.objects]))
        if stale:
            await self.hold([file for file in candidate.objects if file.key in stale])

    async def _see_stale(self, candidate: Manifest) -> None:
        """After a commit that took as long as nobody may count on, as over a suspended machine."""
        if self.claims.stale([file.key for file in candidate.objects]):
            await self.hold(candidate.objects)

    async def _release(self, draft: Draft | None) -> None:
        if draft is not None:
            await self.claims.release([file.key for file in draft.objects])

    def _candidate(self, name: str, version: int, draft: Draft, current: Manifest | None) -> Manifest:
        now = moment.now()
        return Manifest(
            dataset_id=dataset_id(name),
            name=name,
            version=version,
            schema_fingerprint=fingerprint(draft.columns),
            objects=draft.objects,
            row_count=draft.row_count,
            columns=draft.columns,
            statistics=_json(draft.statistics, "statistics"),
            provenance=_json({**draft.provenance, **_who()}, "provenance"),
            created_at=current.created_at if current else now,
            # Never before the version before, whatever the clocks of two machines say: time travel goes by it.
            updated_at=max(now, current.updated_at) if current else now,
            bucket=self.bucket.name,
            operation=draft.operation,
            key=draft.key,
            expectations=tuple(_json(one, "expectations") for one in draft.expectations),
            dropped=draft.dropped,
        )

    async def newest(self, name: str) -> Manifest | None:
        """The newest version, one that says `dropped` included; None when there is no such dataset.

        Raises DatasetDamaged, and Upstream when the bucket cannot be listed for the first time.
        """
        folder = folder_of(check_name(name))
        await self.load()
        found = self._index.newest.get(folder)
        if found is None and folder in self._index.problems:
            found = await self._reread(folder)  # it may have been mended
        return found.copy() if found is not None else None

    async def version(self, name: str, version: int) -> Manifest | None:
        """One version; None when there is no such one. Raises DatasetDamaged."""
        folder = folder_of(check_name(name))
        if version < 1:
            return None
        now = time.monotonic()
        self._used = {at: when for at, when in self._used.items() if when > now - 2 * GRACE_SECS}
        self._used[folder, version] = now
        try:
            return await self.stored.read(folder, version)
        except KeyNotFound:
            return None

    async def versions(self, name: str) -> Numbers:
        """The numbers of the versions there are, oldest first; none for a name that is not there."""
        return await self.stored.numbers(folder_of(check_name(name)))

    def names(self) -> set[str]:
        """The names of all datasets but dropped ones; those of damaged ones, too. None of them before `load`."""
        index = self._index
        there = {m.name for m in index.newest.values() if not m.dropped}
        return there | {shown_name(folder) for folder in index.problems}

    def has(self, name: str) -> bool | None:
        """Whether a dataset is there, if damaged; False for one that was dropped, None for a name it does not know."""
        folder = folder_of(name)
        found = self._index.newest.get(folder)
        if found is None:
            return True if folder in self._index.problems else None
        return not found.dropped

    @property
    def problems(self) -> Texts:
        """What is wrong with damaged datasets, as of the last reading of the bucket; one sentence each."""
        return [why for _, why in sorted(self._index.problems.items())]

    def problems_of(self, sees: Callable[[str], bool]) -> Texts:
        """The same of those datasets only whose name is one that is seen."""
        return [why for folder, why in sorted(self._index.problems.items()) if sees(shown_name(folder))]

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
        root = self.bucket.root
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

    def streams(self, manifest: Manifest) -> bool:
        """Whether a version's files are better read in parts where they are: all copies together would be too large."""
        if self.bucket.root is not None or not self.bucket.sends_parts:
            return False
        return sum(file.size_bytes for file in manifest.objects) > self._cache.max_bytes

    async def drop_spoiled(self, manifest: Manifest) -> None:
        """Remove local copies of a remote bucket's files that do not have their contents any more."""

        def drop() -> None:
            for file in manifest.objects:
                self._cache.drop_spoiled(file.sha256)

        await anyio.to_thread.run_sync(drop)

    async def load(self) -> None:
        """Read the newest versions, unless that is done. Raises Upstream when the bucket cannot be listed."""
        if not self._loaded:
            async with self._loading:
                if not self._loaded:
                    await self._rehydrate()

    async def _rehydrate(self) -> None:
        before = self._index
        tags = await self.stored.tags()
        latest: dict[str, int] = {}
        for folder, version in tags:
            latest[folder] = max(version, latest.get(folder, 0))
        newest: dict[str, Manifest] = {}
        problems: dict[str, str] = {}
        unknown: dict[At, str] = {}
        for folder, version in latest.items():
            known = before.newest.get(folder)
            if known is not None and known.version == version:
                newest[folder] = known
            else:
                unknown[folder, version] = tags[folder, version]
        for (folder, _), found in (await self.stored.read_all(await self.stored.tagged(unknown))).items():
            known = before.newest.get(folder)
            if isinstance(found, Manifest):
                newest[folder] = found
            elif known is None or isinstance(found, DatasetDamaged | KeyNotFound):
                problems[folder] = str(found.detail)
            else:  # the store failed: what is known stays, as if nobody had looked
                newest[folder] = known
        if not self._loaded:
            await self.stored.forget_all_but(tags)
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
        known = self._index.newest.get(folder)
        # A chain may be long: what is listed begins with the version that is known.
        versions = await self.stored.numbers(folder, known.version) if known is not None else []
        versions = versions or await self.stored.numbers(folder)
        if not versions:
            return None
        if known is not None and known.version == max(versions):
            return known
        manifest = await self.stored.read(folder, max(versions))
        self._show(folder, manifest)
        return manifest

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


def _who() -> dict[str, Any]:
    """Who commits, and in which call; nothing where no call runs."""
    actor = acting.get()
    return {} if actor == NOBODY else {"by": actor.name, "call": actor.call}


def _json(given: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(given or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{what}: it is not JSON: {error}.", fix="Give strings, numbers, lists and objects."
        ) from error
    return copy


def _told(manifest: Manifest | None) -> dict[str, Any] | None:
    """What the journal says of a version."""
    if manifest is None:
        return None
    facts = {"version": manifest.version, "rows": manifest.row_count, "fingerprint": manifest.schema_fingerprint}
    return facts | {"bucket": manifest.bucket} | ({"dropped": True} if manifest.dropped else {})


def _in_place(root: Path, file: DataFile) -> Path:
    path = root / file.key
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise lost(f"the data file {file.key!r} is gone.") from None
    except OSError as error:
        raise lost(f"the data file {file.key!r} cannot be read: {error.strerror}.") from error
    if size != file.size_bytes:
        raise lost(f"the data file {file.key!r} has {size} bytes; the catalog recorded {file.size_bytes}.")
    return path
