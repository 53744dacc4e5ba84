"""An index of small segments that are merged and get graphs: how it is filled, and what is in it."""

from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np

from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Vectors

WIDTH = 8


def opened(home: Path, later: Any = lambda work: False, **more: Any) -> Vectors:
    settings = {"graph_rows": 300, "seal_rows": 200, **more}
    return Vectors(home, Storage(home, config.Storage()), config.Vectors(**settings), later=later)


def row(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(WIDTH).astype(np.float32)


def rows(first: int, count: int) -> np.ndarray:
    return np.array([row(n) for n in range(first, first + count)])


async def bulk(vectors: Vectors, first: int, count: int) -> None:
    """One segment more."""
    ids = [f"v{n}" for n in range(first, first + count)]
    await vectors.add_matrix("it", ids, rows(first, count), [{"n": n} for n in range(first, first + count)])


async def sealed(vectors: Vectors) -> list[tuple[int, int, bool]]:
    """Rows, dead rows, whether there is a graph: for each segment."""
    state = await (await vectors._index("it")).state()
    return [(s.segment.rows, len(s.dead), s.graph is not None) for s in state.sealed]


async def content(vectors: Vectors) -> dict[str, Any]:
    """Every item's first component and metadata."""
    ids = sorted(await vectors.ids("it"))
    state = await (await vectors._index("it")).state()
    found = await anyio.to_thread.run_sync(state.vectors, ids)
    metas = await vectors.metadata("it", ids)
    return {id: (round(float(found[id][0]), 5) if id in found else None, metas[id]) for id in ids}


def files_of(home: Path, kind: str) -> list[str]:
    folder = home / "objects" / "_vectors" / "it" / kind
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
