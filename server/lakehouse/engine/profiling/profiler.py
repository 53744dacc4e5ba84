"""Profiles of datasets: measured once a version, kept beside the data, measured early where somebody may ask."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from pydantic import ValidationError

from lakehouse import config
from lakehouse.engine import files
from lakehouse.engine.datasets import Datasets, Manifest
from lakehouse.engine.profiling.card import card
from lakehouse.engine.profiling.facts import FORMAT, Profile
from lakehouse.engine.profiling.measure import TABLE, measure
from lakehouse.engine.storage import Storage
from lakehouse.errors import LakehouseError

log = logging.getLogger("lakehouse")

_SETTLED_SECS = 1.0
_NICE = 15
_MOST_WAITING = 100  # of more versions, profiles are measured when somebody asks
_MEASURING_SECS = 8.0
_PROFILED = 500  # datasets of one card
_KEPT = 4000  # profiles; the oldest of more go
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


class Profiler:
    """Profiles by content. One is measured at a time; the same one never twice."""

    def __init__(self, home: Path, storage: Storage, settings: config.Ingest) -> None:
        self._folder = home / "cache" / "profiles"
        self._storage, self._settings = storage, settings
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._turns = anyio.CapacityLimiter(1)
        self._waiting: set[str] = set()

    async def profile(self, datasets: Datasets, name: str, as_of: int | str | None = None) -> Profile:
        """The profile of a dataset's newest version, or as it was.

        Raises DatasetNotFound, DatasetDamaged, InvalidInput for a moment that is none, Upstream.
        """
        manifest = await (datasets.get(name) if as_of is None else datasets.at(name, as_of))
        return await self.of(datasets, manifest)

    async def of(self, datasets: Datasets, manifest: Manifest) -> Profile:
        """The profile of a version."""
        if (known := await self.known(manifest)) is not None:
            return known
        key = _key(manifest)
        async with self._locks.setdefault(key, anyio.Lock()):
            if (known := await self.known(manifest)) is not None:
                return known
            async with self._turns:
                return await self._measured(datasets, manifest, nice=0)

    async def known(self, manifest: Manifest) -> Profile | None:
        """The profile of a version, if it was measured."""
        found = await anyio.to_thread.run_sync(_read, self._path(manifest))
        return found and found.model_copy(update={"name": manifest.name, "version": manifest.version})

    def early(self, datasets: Datasets, manifest: Manifest, later: Later) -> None:
        """Measure a version beside whatever else happens, with the least claim to the processor."""
        key = _key(manifest)
        if not self._settings.profiling or key in self._waiting or len(self._waiting) >= _MOST_WAITING:
            return

        async def work() -> None:
            try:
                # Of versions that follow each other quickly, the last is worth it.
                await anyio.sleep(_SETTLED_SECS)
                if (await datasets.get(manifest.name)).version != manifest.version:
                    return
                async with self._locks.setdefault(key, anyio.Lock()), self._turns:
                    if await self.known(manifest) is None:
                        await self._measured(datasets, manifest, nice=_NICE)
            except LakehouseError as error:
                log.info("profile.skipped %s: %s", manifest.name, error.detail)
            finally:
                self._waiting.discard(key)

        self._waiting.add(key)
        if not later(work):
            self._waiting.discard(key)

    async def card(self, datasets: Datasets, names: Sequence[str] | None, max_chars: int) -> str:
        """The card of datasets, of all by default; see card.card.

        Profiles that are not there yet are measured for a few seconds; of the rest, the columns are told alone.
        Raises DatasetNotFound.
        """
        if names is None:
            manifests = await datasets.list()
        else:
            manifests = [await datasets.get(name) for name in dict.fromkeys(names)]
        found: dict[str, Profile] = {}
        with anyio.move_on_after(_MEASURING_SECS):
            # First what costs nothing.
            for manifest in manifests[:_PROFILED]:
                if (known := await self.known(manifest)) is not None:
                    found[manifest.name] = known
            for manifest in manifests[:_PROFILED]:
                if manifest.name not in found:
                    found[manifest.name] = await self.of(datasets, manifest)
        missing = len(manifests) - len(found)
        notes = [f"Of {missing} tables only columns are told: ask for them by names."] if missing else []
        return await anyio.to_thread.run_sync(card, manifests, found, max_chars, notes)

    async def _measured(self, datasets: Datasets, manifest: Manifest, nice: int) -> Profile:
        from lakehouse.engine.tables import desk, table_of

        table = await table_of(datasets, manifest)
        async with self._storage.scratch() as folder, desk({TABLE: table}, folder, self._settings, nice=nice) as work:
            columns = await measure(work, manifest.row_count)
        found = Profile(name=manifest.name, version=manifest.version, row_count=manifest.row_count, columns=columns)
        await anyio.to_thread.run_sync(_write, self._path(manifest), found)
        return found

    def _path(self, manifest: Manifest) -> Path:
        return self._folder / f"{_key(manifest)}.json"


def _key(manifest: Manifest) -> str:
    """What a profile depends on: files, how they are read, and this code's idea of a profile."""
    objects = [(file.sha256, file.role, file.lacks) for file in manifest.objects]
    columns = [(column.name, column.type) for column in manifest.columns]
    return hashlib.sha256(json.dumps([FORMAT, objects, columns, manifest.key]).encode()).hexdigest()


def _read(path: Path) -> Profile | None:
    try:
        found = Profile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None  # it is measured anew
    with suppress(OSError):
        os.utime(path)
    return found


def _write(path: Path, profile: Profile) -> None:
    try:
        files.write(path, profile.model_dump_json().encode(), mode=0o600)
        kept = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime)
        for each in kept[:-_KEPT]:
            each.unlink()
    except OSError as error:  # it costs measuring again
        log.warning("profile.not_kept %s", error.strerror)
