"""Single parts of the engine, on a data directory of their own."""

from pathlib import Path

import pytest

from lakehouse import config
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.storage import Storage


@pytest.fixture
def storage(home: Path) -> Storage:
    return Storage(home, config.Storage())


@pytest.fixture
def datasets(home: Path, storage: Storage) -> Datasets:
    return Datasets(home, storage)
