"""Single parts of the engine, on a data directory of their own."""

import json
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
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What compaction has a process do is done in a thread, with less measuring: starting one takes half a second."""
    import anyio.to_thread
    import numpy as np

    from lakehouse.engine.vectors import compaction, graph
    from lakehouse.engine.vectors.compaction import worker

    async def answered(request: dict[str, Any], payload: bytes, index: Any) -> dict[str, Any]:
        dead = np.frombuffer(payload, np.int64)
        answer = await anyio.to_thread.run_sync(worker.work, request, dead, lambda header: None)
        return dict(json.loads(json.dumps(answer)))

    monkeypatch.setattr(compaction.run, "_answered", answered)
    monkeypatch.setattr(graph, "_SAMPLE", 50)
    monkeypatch.setattr(graph, "_ASKED", 5)


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
