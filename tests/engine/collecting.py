"""What the tests of gc share: versions stored as ingest stores them, files made old, what a bucket has."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
from tests.catalog import COLUMNS, GOLDEN

from lakehouse import config
from lakehouse.engine.datasets import DataFile, Datasets, Manifest, data_key
from lakehouse.engine.storage import KeyExists, Storage
from lakehouse.engine.upkeep.gc import Collected, collect

DAY = 86400.0


class Lake:
    """One process' view of a data directory, and of the bucket at `url`, where that is elsewhere."""

    def __init__(self, home: Path, url: str = "") -> None:
        self.home = home
        self.storage = Storage(home, config.Storage(url=url))
        self.datasets = Datasets(home, self.storage)
        self.root = self.storage.bucket.root or home

    async def put(self, name: str, content: str) -> DataFile:
        """Store a data file as ingest does."""
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        file = DataFile(data_key(name, GOLDEN, sha256), sha256, len(content.encode()), 1)
        async with self.storage.scratch() as folder:
            await anyio.to_thread.run_sync((folder / "data").write_text, content)
            try:
                await self.storage.put_immutable(file.key, folder / "data", sha256)
            except KeyExists:
                pass
        return file

    async def ingest(self, name: str, *contents: str) -> Manifest:
        """A version of these files."""
        files = [await self.put(name, content) for content in contents]
        return (await self.datasets.commit(name, COLUMNS, files))[0]

    async def gc(self, *, dry_run: bool = False, **keep: Any) -> Collected:
        return await collect(self.datasets, config.Datasets(**keep), dry_run=dry_run)

    def age(self, days: float = 2) -> None:
        """Make everything there is so old; versions stay in their order."""
        for path in self.root.rglob("*"):
            if path.is_file():
                number = int(path.stem) if path.stem.isdigit() else 0
                then = time.time() - days * DAY + number
                os.utime(path, (then, then))

    def keys(self) -> set[str]:
        """Every object there is."""
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()} - {"catalog.db"}

    async def lost(self, names: Sequence[str]) -> list[str]:
        """The files that versions name and the bucket does not have."""
        fresh, missing = Lake(self.home, self.storage.settings.url), []
        for name in names:
            for number in await (await fresh.datasets.catalog_of(name)).versions(name):
                for file in (await fresh.datasets.get(name, number)).objects:
                    if file.key not in self.keys():
                        missing.append(f"{name} {number}: {file.key}")
        return missing
