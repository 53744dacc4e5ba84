"""Removing what nobody needs any more: versions past their time, and data files that no version names.

First the manifests of versions that go, then the files that no manifest is left to name, so that a version is whole or
not there. What a killed run leaves are files without a name, and the next run removes them. How a file is kept that
somebody is about to name is said in `engine/claims.py`. The indexes of vectors are not looked at: they clear up after
themselves.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine.bucket import StoredObject
from lakehouse.engine.claims import GRACE_SECS
from lakehouse.engine.datasets import Catalog
from lakehouse.engine.datasets.index import At
from lakehouse.engine.manifests import manifest_key, shown_name
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.upkeep.retention import Standing, expired
from lakehouse.engine.upkeep.survey import Survey, survey
from lakehouse.errors import Forbidden, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets

Loose = tuple[StoredObject, list[At]]  # a file, and the versions that named it

LISTED = 1000  # removals told one by one; all are counted
_CONDEMNED = 2000  # files condemned at once
_REMOVED = 200  # objects of one request, between looks at the clock


class Removal(BaseModel):
    """One object that is removed."""

    bucket: str = Field(description="Its bucket.")
    key: str = Field(description="The object.")
    dataset: str = Field(description="The dataset it belongs to, or did.")
    version: int | None = Field(None, description="The version, of a manifest.")
    bytes: int = Field(description="Its size.")
    why: str = Field(description="Why it is not needed.")


class Collected(BaseModel):
    """What a gc removed, or would remove."""

    dry_run: bool = Field(description="Whether everything is still there.")
    versions: int = Field(0, description="Versions removed.")
    files: int = Field(0, description="Data files removed.")
    runs: int = Field(0, description="Runs of workflows forgotten.")
    bytes: int = Field(0, description="Bytes freed.")
    removed: list[Removal] = Field([], description="What was removed; the first thousand.")
    left: int = Field(0, description="Files left for the next run, as somebody uses them or time ran out.")
    problems: list[str] = Field([], description="Buckets that failed; damaged datasets, of which nothing was removed.")


async def collect(
    datasets: "Datasets",
    settings: config.Datasets,
    *,
    dry_run: bool = False,
    grace: float = GRACE_SECS,
    progress: Progress = unheard,
) -> Collected:
    """Remove versions that the settings do not keep, and data files that no version names, of every bucket.

    `grace` is how old a file without a name must be, and how long ago a version superseded, in seconds; it must be
    longer than any ingest takes from its data file to its commit, and any query. Whatever is removed was so at two
    looks, the second while writers knew of it.

    A bucket that cannot be read or written is one of the `problems`, where that is not the only one.

    Raises Forbidden to a reader that does not see every dataset, and Upstream.
    """
    if datasets.profile is not None:
        raise Forbidden("gc works on all datasets; a profile sees some.", fix="Call it without a profile.")
    done = Collected(dry_run=dry_run)
    catalogs = datasets.catalogs()
    for number, catalog in enumerate(catalogs):
        await progress(number, len(catalogs), f"bucket {catalog.bucket.name}")
        try:
            await _Run(catalog, settings, grace, done).run()
        except Upstream as error:
            if len(catalogs) == 1:
                raise
            done.problems.append(error.detail)  # what was removed elsewhere is to be told
    return done


class _Run:
    """One bucket's turn."""

    def __init__(self, catalog: Catalog, settings: config.Datasets, grace: float, done: Collected) -> None:
        self._catalog, self._settings, self._grace, self._done = catalog, settings, grace, done
        self._bucket = catalog.bucket

    async def run(self) -> None:
        found = await survey(self._catalog)
        now = time.time() if self._done.dry_run else await self._store_time()
        going = self._going(found, now)
        files = {stored.key: (stored, naming) for stored, naming in found.loose(set(going), now - self._grace)}
        self._done.problems += [why for _, why in sorted(found.damaged.items())]
        if self._done.dry_run:
            self._tell_versions(found, going, sorted(going))
            self._tell_files(found, going, files, sorted(files))
            return
        if going:
            await self._remove([manifest_key(*at) for at in sorted(going)])
            self._tell_versions(found, going, sorted(going))
        removed: list[str] = []
        every = sorted(files)
        for start in range(0, len(every), _CONDEMNED):
            some = every[start : start + _CONDEMNED]
            removed += await self._remove_files({key: set(files[key][1]) for key in some})
        self._tell_files(found, going, files, removed)
        self._done.left += len(files) - len(removed)
        if going or files:
            await self._catalog.stored.forget_all_but(await self._catalog.stored.tags())
        await self._catalog.claims.tidy(now, self._grace)

    def _going(self, found: Survey, now: float) -> dict[At, str]:
        """The versions past their time, and why."""
        used = self._catalog.used_since(time.monotonic() - self._grace)
        going: dict[At, str] = {}
        for folder, versions in found.folders().items():
            if folder in found.damaged:
                continue
            standing = [Standing(v, found.committed[folder, v], (folder, v) in found.dropped) for v in versions]
            kept = {version for place, version in used if place == folder}
            over = expired(standing, self._settings, now, grace=self._grace, used=kept)
            going |= {(folder, version): why for version, why in over.items()}
        return going

    async def _store_time(self) -> float:
        async with self._catalog.claims.condemn([]) as condemned:
            return condemned.now

    async def _remove_files(self, keys: Mapping[str, set[At]]) -> list[str]:
        """Remove files, given the versions that named them, unless one is in use; answers what is gone.

        Writers know of it meanwhile, and what they hold, name or have put anew stays.
        """
        async with self._catalog.claims.condemn(keys) as condemned:
            held = await self._catalog.claims.held(condemned.now, self._grace)
            again = await survey(self._catalog)
            loose = {stored.key for stored, _ in again.loose(set(), condemned.now - self._grace)}
            used = self._catalog.used_since(time.monotonic() - self._grace)
            wanted = [key for key in keys if key in loose and key not in held and not keys[key] & used]
            gone: list[str] = []
            while wanted and not condemned.lapsed:
                some, wanted = wanted[:_REMOVED], wanted[_REMOVED:]
                await self._bucket.delete_all(some)
                gone += some
            return gone

    async def _remove(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _REMOVED):
            await self._bucket.delete_all(keys[start : start + _REMOVED])

    def _tell_versions(self, found: Survey, going: dict[At, str], gone: Sequence[At]) -> None:
        for at in gone:
            folder, version = at
            dataset = found.names.get(folder, shown_name(folder))
            self._tell(manifest_key(*at), dataset, version, found.bytes[at], going[at])
            self._done.versions += 1

    def _tell_files(self, found: Survey, going: dict[At, str], files: Mapping[str, Loose], gone: Sequence[str]) -> None:
        for key in gone:
            stored, naming = files[key]
            folder = key.split("/")[1]
            why = going[naming[-1]] if naming else "no version names it"
            self._tell(key, found.names.get(folder, shown_name(folder)), None, stored.size, why)
            self._done.files += 1

    def _tell(self, key: str, dataset: str, version: int | None, size: int, why: str) -> None:
        self._done.bytes += size
        if len(self._done.removed) < LISTED:
            self._done.removed.append(
                Removal(bucket=self._bucket.name, key=key, dataset=dataset, version=version, bytes=size, why=why)
            )
