"""Single parts of the engine, on a data directory of their own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import lakehouse
from lakehouse import Lakehouse, config
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.storage import Storage


@pytest.fixture
def storage(home: Path) -> Storage:
    return Storage(home, config.Storage())


@pytest.fixture
def datasets(home: Path, storage: Storage) -> Datasets:
    return Datasets(home, storage)


@pytest.fixture
async def open_lake(home: Path) -> AsyncIterator[Any]:
    """Lakes with settings of their own, on one data directory, each closed before the next."""
    opened: list[Any] = []

    async def open(**settings: Any) -> Lakehouse:
        if opened:
            await opened.pop().__aexit__(None, None, None)
        lake = lakehouse.open(
            home, overrides={"embed.provider": "hash"} | {f"playbook.{k}": v for k, v in settings.items()}
        )
        opened.append(lake)
        return await lake.__aenter__()

    yield open
    for lake in opened:
        await lake.__aexit__(None, None, None)
