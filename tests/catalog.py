"""What the tests of the catalog share: files that are only named, a second look at a bucket, a store that fails."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from lakehouse import config
from lakehouse.engine.datasets import Column, DataFile, Datasets
from lakehouse.engine.storage import Storage
from lakehouse.errors import Upstream

COLUMNS = (Column("id", "int64"), Column("name", "string"))
GOLDEN = "916f5f59b41fe1bf3785e0e9d2fd6d6233b0a6bfb86da6241549582922a923a4"


def a_file(content: str, rows: int = 1) -> DataFile:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return DataFile(f"datasets/x/{digest}.parquet", digest, len(content), rows)


def again(home: Path) -> Datasets:
    """The same data directory as a new process sees it."""
    return Datasets(home, Storage(home, config.Storage()))


def stored(home: Path) -> dict[str, bytes]:
    root = home / "objects" / "_catalog"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.json"))}


class Failing:
    """Makes one verb of a bucket fail or wait, and lets it work again."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
        self.reached, self.release, self.error = anyio.Event(), anyio.Event(), Upstream("the store is down.")
        self.broken = True
        real: Callable[..., Any] = getattr(storage.bucket, verb)

        async def work(*args: Any, **options: Any) -> Any:
            if self.broken and verb == "get_each":  # it answers what went wrong with each
                return [self.error] * len(args[0])
            if self.broken:
                raise self.error
            self.reached.set()
            await self.release.wait()
            return await real(*args, **options)

        monkeypatch.setattr(storage.bucket, verb, work)
