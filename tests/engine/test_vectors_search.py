"""Searches give the exact answer: against a plain model, over awkward data, while the index changes."""

from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Added, Item, Vectors

pytestmark = pytest.mark.anyio


def opened(home: Path, **more: Any) -> Vectors:
    return Vectors(home, Storage(home, config.Storage()), config.Vectors(**more))


def distances(matrix: Any, query: Any, distance: str) -> Any:
    x, q = np.asarray(matrix, np.float64), np.asarray(query, np.float64)
    if distance == "cosine":
        return 1 - x @ q / (np.linalg.norm(x, axis=1) * np.linalg.norm(q))
    return np.linalg.norm(x - q, axis=1)


def shaped(kind: str, count: int, dimension: int) -> Any:
    rng = np.random.default_rng(7)
    plain = rng.standard_normal((count, dimension))
    made = {
        "plain": plain,
        "clusters": rng.standard_normal((30, dimension))[rng.integers(0, 30, count)] + 0.3 * plain,
        "narrow": rng.standard_normal(dimension) + 0.005 * plain,
        "one component": np.eye(dimension)[rng.integers(0, dimension, count)] * (0.1 + rng.random((count, 1))),
        "repeated": plain[rng.integers(0, 12, count)],
        "sizes apart": plain * 10.0 ** rng.uniform(-20, 18, (count, 1)),
    }
    return made[kind].astype(np.float32)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ["plain", "clusters", "narrow", "one component", "repeated", "sizes apart"])
async def test_the_answer_is_the_exact_one(home: Path, kind: str, distance: Any) -> None:
    """The 8-bit scan never loses a nearest row: the k distances are those of a scan in double precision."""
    vectors = opened(home)
    data = shaped(kind, 6000, 48)
    ids = [f"r{i}" for i in range(len(data))]
    await vectors.create("it", 48, distance)
    await vectors.add_matrix("it", ids, data, list(range(len(data))))
    for query in (*data[::1500], *shaped("plain", 12, 48)[:3]):
        expected = np.sort(distances(data, query, distance))[:10]
        hits = await vectors.search("it", query)
        assert [h.distance for h in hits] == pytest.approx(expected, rel=1e-7, abs=1e-7 if distance == "cosine" else 0)
        assert all(h.id == f"r{h.metadata}" for h in hits)
    await vectors.aclose()


VERBS = st.sampled_from(["add", "add", "empty", "bulk", "delete", "reopen"])
Step = tuple[str, list[int]]
STEPS = st.lists(st.tuples(VERBS, st.lists(st.integers(0, 25), min_size=1, max_size=9)), max_size=14)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(steps=STEPS, distance=st.sampled_from(["cosine", "euclidean"]), seal_rows=st.integers(1, 12))
def test_any_history_gives_what_a_plain_dict_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], distance: Any, seal_rows: int
) -> None:
    """Adds, upserts, bulk adds, deletes, seals and restarts in any order: the same items and answers as a dict."""
    anyio.run(_history, tmp_path_factory.mktemp("history"), steps, distance, seal_rows)


async def _history(home: Path, steps: list[Step], distance: Any, seal_rows: int) -> None:
    rng = np.random.default_rng(len(steps))
    vectors = opened(home, seal_rows=seal_rows)
    await vectors.create("it", 5, distance)
    model: dict[str, tuple[Any, Any]] = {}
    for number, (verb, picks) in enumerate(steps):
        ids = [f"i{pick}" for pick in picks]
        known, before = set(ids), set(model)
        if verb == "reopen":
            await vectors.aclose()
            vectors = opened(home, seal_rows=seal_rows)
        elif verb == "delete":
            assert await vectors.delete_many("it", ids) == len(known & before)
            for id in known & before:
                del model[id]
        else:
            rows = rng.standard_normal((len(ids), 5)).astype(np.float32)
            metas = [number if verb == "bulk" or pick % 3 else None for pick in picks]
            if verb == "bulk":
                done = await vectors.add_matrix("it", ids, rows, metas)
            else:
                given_rows = [None if verb == "empty" else row for row in rows]
                done = await vectors.add("it", [Item(*item) for item in zip(ids, given_rows, metas, strict=True)])
            assert done == Added(len(known - before), len(known & before))
            for id, row, meta in zip(ids, rows, metas, strict=True):
                kept = meta if meta is not None else model.get(id, (None, None))[1]
                model[id] = (None if verb == "empty" else row, kept)
    for store in (vectors, opened(home, seal_rows=seal_rows)):
        assert await store.ids("it") == set(model)
        assert (await store.get("it")).count == len(model)
        for id, (row, meta) in model.items():
            item = await store.get_item("it", id)
            assert item.metadata == meta
            assert (item.vector is None) == (row is None)
            assert row is None or np.array_equal(np.asarray(item.vector), row)
        query = rng.standard_normal(5).astype(np.float32)
        visible = [(id, row) for id, (row, _) in model.items() if row is not None]
        scores = distances([row for _, row in visible], query, distance) if visible else []
        expected = sorted(zip(scores, (id for id, _ in visible), strict=True))[:7]
        hits = await store.search("it", query, 7)
        assert [h.id for h in hits] == [id for _, id in expected]
        assert [h.distance for h in hits] == pytest.approx([score for score, _ in expected], abs=1e-7)
        assert await store.verify("it") == []
        await store.aclose()


@pytest.mark.slow
async def test_searches_go_on_while_the_index_changes(home: Path) -> None:
    """No search fails, waits or sees half of a batch: each batch writes one number into all its items at once."""
    vectors = opened(home, seal_rows=40)
    await vectors.create("it", 4)
    names = [f"n{i}" for i in range(12)]
    rows = np.random.default_rng(5).standard_normal((12, 4)).astype(np.float32)
    done = False
    seen: list[int] = []

    async def write() -> None:
        nonlocal done
        for number in range(60):
            await vectors.add("it", [Item(name, row, number) for name, row in zip(names, rows, strict=True)])
        done = True

    async def read() -> None:
        while not done:
            hits = await vectors.search("it", rows[0], 50)
            assert len(hits) in (0, 12)
            numbers = {h.metadata for h in hits}
            assert len(numbers) <= 1
            seen.extend(numbers)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(write)
            for _ in range(3):
                group.start_soon(read)
    assert len(set(seen)) > 5
    assert (await vectors.get("it")).revision > 5
    assert {h.metadata for h in await vectors.search("it", rows[0], 50)} == {59}
    await vectors.aclose()


@pytest.mark.slow
async def test_segments_stay_few_and_objects_are_cleared_away(home: Path) -> None:
    """Small segments are merged as they come; what only old generations name is removed."""
    vectors = opened(home, seal_rows=20)
    await vectors.create("it", 3)
    rng = np.random.default_rng(2)
    for start in range(0, 400, 10):
        await vectors.add("it", [Item(f"v{start + i}", row) for i, row in enumerate(rng.standard_normal((10, 3)))])
    home_of = anyio.Path(home) / "objects" / "_vectors" / "it"
    assert len([p async for p in (home_of / "seg").iterdir()]) <= 16
    assert len([p async for p in (home_of / "manifest").iterdir()]) == 2
    assert len([p async for p in (home_of / "log").iterdir()]) <= 4
    await vectors.delete_many("it", [f"v{i}" for i in range(400)])
    await vectors.add_matrix("it", [f"w{i}" for i in range(30)], rng.standard_normal((30, 3)), [{}] * 30)
    assert (await vectors.get("it")).count == 30
    await vectors.set_builder("it", {})
    await vectors.add_matrix("it", [f"w{i}" for i in range(30)], rng.standard_normal((30, 3)), [{}] * 30)
    assert len([p async for p in (home_of / "seg").iterdir()]) <= 2
    assert (await vectors.get("it")).count == 30
    await vectors.aclose()
