"""Single parts of the engine, on a data directory of their own."""

import json
from pathlib import Path
from typing import Any

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


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What compaction has a process do is done in a thread, with less measuring: starting one takes half a second."""
    import anyio.to_thread
    import numpy as np

    from lakehouse.engine.vectors import compaction, graph
    from lakehouse.engine.vectors.compaction import worker

    async def answered(request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        dead = np.frombuffer(payload, np.int64)
        answer = await anyio.to_thread.run_sync(worker.work, request, dead, lambda header: None)
        return dict(json.loads(json.dumps(answer)))

    monkeypatch.setattr(compaction.run, "_answered", answered)
    monkeypatch.setattr(graph, "_SAMPLE", 50)
    monkeypatch.setattr(graph, "_ASKED", 5)
