"""The vector store beside raw usearch and numpy on the same data in the same run.

    python bench/vectors.py            100,000 vectors of 384 dimensions
    python bench/vectors.py --quick    10,000 of 64

Prints one line per figure: ours, the reference, the ratio.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from usearch.index import Index

from lakehouse import config
from lakehouse.engine.journal import Journal
from lakehouse.engine.redact import Redactor
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

CALLERS, CALLS = 4, 50

OPEN = """
import sys, time, json
from pathlib import Path
import anyio, numpy, obstore
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Vectors, seal

async def main(home, dimension):
    query = numpy.random.default_rng(9).standard_normal(dimension).astype("f4")
    await anyio.to_thread.run_sync(int)
    began = time.perf_counter()
    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors())
    await vectors.get("it")
    opened = time.perf_counter()
    await vectors.search("it", query)
    print(json.dumps([opened - began, time.perf_counter() - opened]))

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def clustered(count: int, dimension: int, seed: int = 1) -> Any:
    """Unit vectors in a mixture of 3000 groups of uneven size, off the origin, like real embeddings."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, dimension + 1) ** -0.3
    topics = rng.standard_normal((150, dimension)) * spectrum
    groups = topics[rng.integers(0, 150, 3000)] + 0.7 * rng.standard_normal((3000, dimension)) * spectrum
    rng = np.random.default_rng(seed)
    chosen = groups[(3000 * rng.random(count) ** 2).astype(int)]
    rows = chosen + 0.5 * rng.standard_normal((count, dimension)) * spectrum + 0.3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def told(what: str, ours: float, unit: str, reference: float | None = None, name: str = "") -> None:
    ratio = f"   {name} {reference:.4g} {unit}, ratio {ours / reference:.2f}" if reference else ""
    print(f"{what:48} {ours:10.4g} {unit}{ratio}", flush=True)


async def _add(vectors: Vectors, items: list[Item], _: int) -> None:
    await vectors.add("wide", items)


async def times(count: int, work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Milliseconds of each of `count` calls, sorted."""
    found = []
    for i in range(count):
        began = time.perf_counter()
        await work(i)
        found.append((time.perf_counter() - began) * 1e3)
    return sorted(found)


def timed(count: int, work: Callable[[int], object]) -> list[float]:
    found = []
    for i in range(count):
        began = time.perf_counter()
        work(i)
        found.append((time.perf_counter() - began) * 1e3)
    return sorted(found)


def middle(values: list[float]) -> float:
    return values[len(values) // 2]


async def beside(vectors: Vectors, data: Any, corpora: int) -> tuple[float, float]:
    """Seconds until rows, and milliseconds until items of four callers, are added to so many corpora at once."""
    names = [f"of-{corpora}-{i}" for i in range(corpora)]
    for name in names:
        await vectors.create(name, data.shape[1])

    async def rows(name: str, part: Any) -> None:
        await vectors.add_matrix(
            name, [f"row-{i}" for i in range(len(part))], part, [{"n": i} for i in range(len(part))]
        )

    async def items(caller: int) -> None:
        for i in range(CALLS):
            await vectors.add(names[caller % corpora], [Item(f"new-{caller}-{i}", data[i], {"n": i})])

    found = []
    for works in (
        [partial(rows, *each) for each in zip(names, np.array_split(data, corpora), strict=True)],
        [partial(items, caller) for caller in range(CALLERS)],
    ):
        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for work in works:
                group.start_soon(work)
        found.append(time.perf_counter() - began)
    for name in names:
        await vectors.delete(name)
    return found[0], found[1] * 1e3


async def main(home: Path, count: int, dimension: int) -> None:
    data, queries = clustered(count, dimension), clustered(300, dimension, 2)
    print(f"{count} x {dimension}")
    began = time.perf_counter()
    raw = Index(ndim=dimension, metric="cos", dtype="f32", connectivity=16, expansion_add=128)
    raw.add(np.arange(count), data)
    raw_build = time.perf_counter() - began
    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors())
    await vectors.create("it", dimension)
    ids, metadata = [f"row-{i}" for i in range(count)], [{"n": i, "text": f"text {i} " * 8} for i in range(count)]
    began = time.perf_counter()
    await vectors.add_matrix("it", ids, data, metadata)
    told("build with rows, durable, no graph yet", time.perf_counter() - began, "s", raw_build, "usearch f32 graph")

    ours = await times(len(queries), lambda i: vectors.search("it", queries[i], 10))
    raw_search = timed(len(queries), lambda i: raw.search(queries[i], 10, threads=1))
    gemv = timed(50, lambda i: np.argpartition(data @ queries[i], -10)[-10:])
    told("search k=10 p50", middle(ours), "ms", middle(raw_search), "usearch f32")
    told("search k=10 p50", middle(ours), "ms", middle(gemv), "numpy f32")
    told("search k=10 p10", ours[len(ours) // 10], "ms", raw_search[len(raw_search) // 10], "usearch f32")
    told("search k=10 p99", ours[int(len(ours) * 0.99)], "ms")
    right = raw_right = 0
    for query in queries:
        exact = {f"row-{i}" for i in np.argsort(-(data.astype(np.float64) @ query))[:10]}
        right += len(exact & {hit.id for hit in await vectors.search("it", query, 10)})
        raw_right += len(exact & {f"row-{i}" for i in raw.search(query, 10, threads=1).keys})
    told("recall@10", right / len(queries) / 10, "", raw_right / len(queries) / 10, "usearch f32")

    await vectors.aclose()
    script = [sys.executable, "-c", OPEN, str(home), str(dimension)]
    runs = [
        np.array(json.loads((await anyio.run_process(script, stderr=subprocess.STDOUT)).stdout), float) * 1e3
        for _ in range(3)
    ]
    told("cold open in a fresh process", min(run[0] for run in runs), "ms")
    told("first query in it", min(run[1] for run in runs), "ms")

    storage = Storage(home, config.Storage())
    journal = Journal(home, lambda: storage.bucket, Redactor(environ={}))  # as a lake has it: each add is on record
    vectors = Vectors(home, storage, config.Vectors(), journal.record)
    one = await times(200, lambda i: vectors.add("it", [Item(f"new-{i}", queries[i], {"n": i})]))
    raw_write = await times(
        200, lambda i: Storage(home, config.Storage()).bucket.put(f"plain/{i}", bytes(4 * dimension))
    )
    told("durable add of one p50", middle(one), "ms", middle(raw_write), "one durable put")
    told("durable add of one p10", one[len(one) // 10], "ms", raw_write[len(raw_write) // 10], "one durable put")
    told("search with fresh rows p50", middle(await times(100, lambda i: vectors.search("it", queries[i], 10))), "ms")
    await vectors.delete("it")

    one_s, one_ms = await beside(vectors, data, 1)
    four_s, four_ms = await beside(vectors, data, CALLERS)
    told(f"{count} rows added to 4 corpora at once, durable", four_s, "s", one_s, "to one corpus")
    told(f"{CALLERS * CALLS} items by 4 callers to 4 corpora at once", four_ms, "ms", one_ms, "to one corpus")

    wide = clustered(1200, 768)
    await vectors.create("wide", 768)
    for size, reference in ((16, 0.17), (128, 7.5), (1024, 83.4)):
        items = [Item(f"{size}-{i}", row.tolist(), {}) for i, row in enumerate(wide[:size])]
        graph = Index(ndim=768, metric="cos", dtype="f32", connectivity=16, expansion_add=128)
        began = time.perf_counter()
        graph.add(np.arange(size), wide[:size])
        raw_add = (time.perf_counter() - began) * 1e3
        ours = await times(5, partial(_add, vectors, items))
        told(f"batch add of {size}, d=768, durable (original {reference})", middle(ours), "ms", raw_add, "usearch f32")
    await vectors.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 x 64 instead of 100,000 x 384")
    size = (10_000, 64) if parser.parse_args().quick else (100_000, 384)
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder), *size)
