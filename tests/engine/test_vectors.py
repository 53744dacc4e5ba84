"""Vector indexes: what add, get, delete and search promise."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from lakehouse import config
from lakehouse.engine.storage import Bucket, Storage, StoredObject
from lakehouse.engine.vectors import (
    Added,
    IndexExists,
    IndexNotFound,
    Item,
    ItemNotFound,
    Vectors,
)
from lakehouse.errors import InvalidInput, TooLarge, Upstream

pytestmark = pytest.mark.anyio


def opened(home: Path, **settings: Any) -> Vectors:
    return Vectors(home, Storage(home, config.Storage()), config.Vectors(**settings))


@pytest.fixture
async def vectors(home: Path) -> AsyncIterator[Vectors]:
    store = opened(home)
    yield store
    await store.aclose()


async def test_a_batch_is_found_again(vectors: Vectors) -> None:
    """A-S9-1: 200 vectors; an inserted vector is first at distance <= 1e-6; k over the size gives all."""
    await vectors.create("it", 32)
    matrix = np.random.default_rng(1).standard_normal((200, 32)).astype(np.float32)
    assert await vectors.add("it", [Item(f"v{i}", row.tolist(), {"n": i}) for i, row in enumerate(matrix)]) == Added(
        200, 0
    )
    for i in (0, 77, 199):
        hits = await vectors.search("it", matrix[i], 5)
        assert (hits[0].id, hits[0].metadata) == (f"v{i}", {"n": i})
        assert 0 <= hits[0].distance <= 1e-6
        assert [h.distance for h in hits] == sorted(h.distance for h in hits)
    assert len(await vectors.search("it", matrix[0], 1000)) == 200
    assert (await vectors.get("it")).count == 200


async def test_names_are_taken_missing_and_checked(vectors: Vectors) -> None:
    """A-S9-1: a second create is a conflict, an unknown name is not found everywhere; S9.2's limits."""
    await vectors.create("it", 4, "euclidean", m=24, ef_construction=100, model="hash-256", builder={"dataset": "d"})
    with pytest.raises(IndexExists):
        await vectors.create("it", 4)
    info = (await vectors.list())[0]
    assert (info.name, info.dimension, info.distance, info.count, info.generation) == ("it", 4, "euclidean", 0, 1)
    assert (info.model, info.builder) == ("hash-256", {"dataset": "d"})
    with pytest.raises(IndexNotFound, match="There are: it"):
        await vectors.get("other")
    for call in (
        vectors.delete("other"),
        vectors.add("other", [Item("a", [1.0])]),
        vectors.search("other", [1.0]),
        vectors.get_item("other", "a"),
        vectors.delete_item("other", "a"),
        vectors.ids("other"),
        vectors.verify("other"),
    ):
        with pytest.raises(IndexNotFound):
            await call
    for name in ("", ".", "..", "_x", "a/b", "a b", "é", "x" * 129, "a\n"):
        with pytest.raises(InvalidInput):
            await vectors.create(name, 4)
    for dimension in (0, -1, 8193):
        with pytest.raises(InvalidInput, match="dimension"):
            await vectors.create("new", dimension)
    with pytest.raises(InvalidInput, match="distance"):
        await vectors.create("new", 4, "dot")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="m:"):
        await vectors.create("new", 4, m=1)
    with pytest.raises(InvalidInput, match="builder"):
        await vectors.create("new", 4, builder={"x": math.nan})
    await vectors.create("a.b-C_9" + "x" * 121, 8192)


async def test_metadata_stays_unless_it_is_given(vectors: Vectors) -> None:
    """A-S9-2: null or absent on re-add keeps, {} clears; delete removes it."""
    await vectors.create("it", 2)
    await vectors.add("it", [Item("a", [1, 0], {"x": 1}), Item("b", [1, 0])])
    assert await vectors.add("it", [Item("a", [0, 1])]) == Added(0, 1)
    item = await vectors.get_item("it", "a")
    assert (item.vector is not None and list(item.vector), item.metadata) == ([0, 1], {"x": 1})
    assert (await vectors.get_item("it", "b")).metadata is None
    await vectors.add("it", [Item("a", [0, 1], {})])
    assert (await vectors.get_item("it", "a")).metadata == {}
    await vectors.add("it", [Item("a", [0, 1], False)])
    assert (await vectors.get_item("it", "a")).metadata is False
    await vectors.delete_item("it", "a")
    await vectors.add("it", [Item("a", [0, 1])])
    assert (await vectors.get_item("it", "a")).metadata is None


async def test_one_id_several_times_in_a_batch(vectors: Vectors) -> None:
    """A-S9-3: one entry with the last vector and the last metadata given; counted once."""
    await vectors.create("it", 2)
    batch = [Item("a", [1, 0], 1), Item("b", [1, 1]), Item("a", [0, 1], 2), Item("a", [0, -1], None)]
    assert await vectors.add("it", batch) == Added(2, 0)
    assert (await vectors.get("it")).count == 2
    item = await vectors.get_item("it", "a")
    assert (item.vector is not None and list(item.vector), item.metadata) == ([0, -1], 2)
    batch = [Item("a", None), Item("a", [1, 0]), Item("c", [1, 0]), Item("c", None)]
    assert await vectors.add("it", batch) == Added(1, 1)
    assert [hit.id for hit in await vectors.search("it", [1, 0])] == ["a", "b"]


BAD = [
    (Item("", [1, 0]), r"items\[1\].id"),
    (Item(7, [1, 0]), r"items\[1\].id"),  # type: ignore[arg-type]
    (Item("x" * 513, [1, 0]), r"items\[1\].id"),
    (Item("\ud800", [1, 0]), r"items\[1\].id"),
    (Item("b", [1, 0, 0]), r"items\[1\].vector: it has 3 dimensions; the index expects 2"),
    (Item("b", []), r"items\[1\].vector: it has 0 dimensions; the index expects 2"),
    (Item("b", [math.nan, 0]), r"items\[1\].vector"),
    (Item("b", [math.inf, 0]), r"items\[1\].vector"),
    (Item("b", [1e39, 0]), r"items\[1\].vector"),
    (Item("b", [10**400, 0]), r"items\[1\].vector"),
    (Item("b", [0, 0]), r"items\[1\].vector"),
    (Item("b", [1e-60, 0]), r"items\[1\].vector"),
    (Item("b", ["1", "2"]), r"items\[1\].vector"),  # type: ignore[list-item]
    (Item("b", [[1], [2]]), r"items\[1\].vector"),  # type: ignore[list-item]
    (Item("b", [None, 1]), r"items\[1\].vector"),  # type: ignore[list-item]
    (Item("b", "ab"), r"items\[1\].vector"),  # type: ignore[arg-type]
    (Item("b", [1, 0], {"x": math.nan}), r"items\[1\].metadata"),
    (Item("b", [1, 0], {"x": object()}), r"items\[1\].metadata"),
    (Item("b", [1, 0], "\ud800"), r"items\[1\].metadata"),
]


@pytest.mark.parametrize(("item", "message"), BAD, ids=range(len(BAD)))
async def test_a_bad_item_changes_nothing(vectors: Vectors, item: Item, message: str) -> None:
    """A-S9-4, A-S9-5: the first bad item is named by its position and nothing of its batch is applied."""
    await vectors.create("it", 2)
    await vectors.add("it", [Item("old", [1, 1], "kept")])
    with pytest.raises(InvalidInput, match=message):
        await vectors.add("it", [Item("a", [1, 0]), item, Item("old", [0, 1])])
    assert await vectors.ids("it") == {"old"}
    assert (await vectors.search("it", [1, 1]))[0].distance <= 1e-6


async def test_limits(vectors: Vectors) -> None:
    """A-S9-5: an empty batch, an oversize one, oversize metadata; k and search vectors are checked."""
    await vectors.create("it", 2)
    with pytest.raises(InvalidInput, match="items"):
        await vectors.add("it", [])
    with pytest.raises(TooLarge, match="items"):
        await vectors.add("it", [Item("a", [1, 0])] * 100_001)
    with pytest.raises(TooLarge, match=r"items\[0\].metadata"):
        await vectors.add("it", [Item("a", [1, 0], "x" * 2**20)])
    for k in (0, -1, 1001):
        with pytest.raises(InvalidInput, match="max_k"):
            await vectors.search("it", [1, 0], k)
    wrong: list[Any] = [[1], [0, 0], [math.nan, 1], ["a", "b"]]
    for vector in wrong:
        with pytest.raises(InvalidInput, match="vector"):
            await vectors.search("it", vector)
    assert await vectors.search("it", [1, 0]) == []
    for ids, row, metadata in (([], [], []), (["a"], [1, 2, 3], [1]), (["a"], [1, 2], []), ([""], [1, 2], [1])):
        with pytest.raises(InvalidInput):
            await vectors.add_matrix("it", ids, np.array([row]), metadata)


async def test_zero_is_a_vector_for_euclidean(vectors: Vectors) -> None:
    """A-S9-4: a zero vector is fine where directions do not matter; distances are L2 norms."""
    await vectors.create("it", 2, "euclidean")
    await vectors.add("it", [Item("zero", [0, 0]), Item("far", [3, 4]), Item("huge", [3e38, 3e38])])
    found = [(h.id, h.distance) for h in await vectors.search("it", [0, 0], 2)]
    assert found == [("zero", 0), ("far", 5)]


async def test_the_last_item_can_go_and_come(vectors: Vectors) -> None:
    """A-S9-6: re-adding the only item, deleting the last and adding again."""
    await vectors.create("it", 2)
    await vectors.add("it", [Item("a", [1, 0])])
    assert await vectors.add("it", [Item("a", [0, 1])]) == Added(0, 1)
    assert (await vectors.search("it", [0, 1]))[0].distance <= 1e-6
    await vectors.delete_item("it", "a")
    assert await vectors.search("it", [0, 1]) == []
    with pytest.raises(ItemNotFound):
        await vectors.delete_item("it", "a")
    with pytest.raises(ItemNotFound):
        await vectors.get_item("it", "a")
    assert await vectors.add("it", [Item("b", [1, 0])]) == Added(1, 0)
    assert [h.id for h in await vectors.search("it", [1, 0])] == ["b"]


async def test_answers_are_copies(vectors: Vectors) -> None:
    """A-S9-7: changing what was returned, or given, changes no later answer."""
    await vectors.create("it", 2, builder={"columns": ["a"]})
    given = np.array([3, 4], np.float32)
    await vectors.add("it", [Item("a", given, {"x": [1]})])
    given[:] = 0
    item = await vectors.get_item("it", "a")
    assert isinstance(item.vector, np.ndarray)
    assert list(item.vector) == [3, 4]
    item.vector[:] = -1
    (await vectors.search("it", [3, 4]))[0].metadata["x"].append(2)
    builder = (await vectors.get("it")).builder
    assert builder is not None
    builder["columns"].append("b")
    again = (await vectors.search("it", [3, 4]))[0]
    assert (again.distance <= 1e-6, again.metadata) == (True, {"x": [1]})
    assert (await vectors.get("it")).builder == {"columns": ["a"]}


async def test_items_without_a_vector_are_kept_and_never_hit(home: Path) -> None:
    vectors = opened(home, seal_rows=4)
    await vectors.create("it", 2)
    await vectors.add("it", [Item("empty", None, "text"), Item("a", [1, 0])])
    for _ in range(2):  # fresh, then sealed
        assert (await vectors.get("it")).count == 2
        assert [h.id for h in await vectors.search("it", [1, 0])] == ["a"]
        item = await vectors.get_item("it", "empty")
        assert (item.vector, item.metadata) == (None, "text")
        await vectors.add("it", [Item("b", [0, 1]), Item("c", [0, 1])])
        await vectors.delete_many("it", ["b", "c"])
    assert (await vectors.get("it")).revision > 1
    await vectors.add("it", [Item("empty", [1, 0.1])])
    assert [h.id for h in await vectors.search("it", [1, 0])] == ["a", "empty"]
    assert (await vectors.get_item("it", "empty")).metadata == "text"


async def test_equal_distances_are_ordered_by_id(home: Path) -> None:
    """S9.8: ties by id, across segments and fresh rows, also where k cuts a tie."""
    vectors = opened(home, seal_rows=50)
    await vectors.create("it", 3)
    names = [f"t{i:03d}" for i in np.random.default_rng(3).permutation(120)]
    for start in range(0, 120, 8):
        await vectors.add("it", [Item(name, [0.1, 0.2, 0.3]) for name in names[start : start + 8]])
    assert [h.id for h in await vectors.search("it", [1, 0, 1], 7)] == sorted(names)[:7]


async def test_a_refused_write_changes_nothing(vectors: Vectors, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-10: a store that fails makes the call fail; memory and a restart show the state before."""
    await vectors.create("it", 2)
    await vectors.add("it", [Item("a", [1, 0], 1)])

    async def refuse(self: Bucket, *args: object, **more: object) -> StoredObject:
        raise Upstream("the disk is full.")

    async def half(self: Bucket, key: str, data: bytes, *, create: bool = False) -> StoredObject:
        await put(self, key, data, create=create)
        raise Upstream("the folder could not be synced.")

    put = Bucket.put
    for failing in (refuse, half):
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "put", failing)
            with pytest.raises(Upstream):
                await vectors.add("it", [Item("a", [0, 1], 2), Item("b", [0, 1])])
            with pytest.raises(Upstream):
                await vectors.delete_item("it", "a")
        for store in (vectors, opened(home)):
            assert await store.ids("it") == {"a"}
            assert (await store.search("it", [1, 0]))[0].metadata == 1
    assert await vectors.add("it", [Item("b", [0, 1])]) == Added(1, 0)


async def test_a_failing_store_is_not_a_missing_index(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-11: an error that mentions "key not found" is still an error of the store."""

    async def fail(*args: object, **more: object) -> None:
        raise Upstream("500: key not found")

    monkeypatch.setattr(Bucket, "names", fail)
    with pytest.raises(Upstream) as caught:
        await vectors.get("it")
    assert type(caught.value) is Upstream


async def test_adds_to_different_indexes_overlap(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-12: four adds are in the store at the same time; adds to one index wait for each other."""
    for i in range(4):
        await vectors.create(f"i{i}", 2)
    inside: list[str] = []
    everybody = anyio.Event()
    put = Bucket.put

    async def meet(self: Bucket, key: str, data: bytes, *, create: bool = False) -> StoredObject:
        inside.append(key)
        if len(inside) == 4:
            everybody.set()
        with anyio.fail_after(10):
            await everybody.wait()
        return await put(self, key, data, create=create)

    monkeypatch.setattr(Bucket, "put", meet)
    async with anyio.create_task_group() as group:
        for i in range(4):
            group.start_soon(vectors.add, f"i{i}", [Item("a", [1, 0])])
    assert len(inside) == 4


@pytest.mark.parametrize("group_bytes", [2**25, 1])
async def test_waiting_adds_share_a_log_entry(
    vectors: Vectors, home: Path, monkeypatch: pytest.MonkeyPatch, group_bytes: int
) -> None:
    """S9.7: what queues while a log entry is being written goes into the next one, up to a size; each caller gets its
    own counts."""
    monkeypatch.setattr("lakehouse.engine.vectors.index._GROUP_BYTES", group_bytes)
    await vectors.create("it", 2)
    results: list[Added] = []

    async def add(i: int) -> None:
        results.append(await vectors.add("it", [Item(f"v{i}", [1, i]), Item("same", [0, 1], i)]))

    async with anyio.create_task_group() as group:
        for i in range(60):
            group.start_soon(add, i)
    assert sum(r.added for r in results) == 61
    assert sum(r.updated for r in results) == 59
    entries = await anyio.to_thread.run_sync(lambda: len(list(home.glob("objects/_vectors/it/log/*"))))
    assert entries < 30 if group_bytes > 1 else entries == 60
    assert (await vectors.get("it")).count == (await opened(home).get("it")).count == 61


async def test_a_cancelled_add_happens_or_does_not(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    await vectors.create("it", 2)
    started, go_on = anyio.Event(), anyio.Event()
    put = Bucket.put

    async def slow(self: Bucket, key: str, data: bytes, *, create: bool = False) -> StoredObject:
        started.set()
        await go_on.wait()
        return await put(self, key, data, create=create)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put", slow)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(vectors.add, "it", [Item("running", [1, 0])])
                await started.wait()
                group.start_soon(vectors.add, "it", [Item("waiting", [1, 0])])
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
                go_on.set()
    assert await vectors.ids("it") == {"running"}
    assert await vectors.add("it", [Item("waiting", [0, 1])]) == Added(1, 0)


async def test_builder_metadata_is_a_new_generation(vectors: Vectors, home: Path) -> None:
    await vectors.create("it", 2, model="m")
    await vectors.add("it", [Item("a", [1, 0])])
    await vectors.set_builder("it", {"version": 2})
    for store in (vectors, opened(home)):
        info = await store.get("it")
        assert (info.builder, info.revision, info.model, info.count) == ({"version": 2}, 2, "m", 1)


async def test_a_bucket_in_memory(home: Path) -> None:
    """S9.12: nothing of a memory:// bucket is left on the disk when it is closed."""
    storage = Storage(home, config.Storage(url="memory://"))
    vectors = Vectors(home, storage, config.Vectors(seal_rows=10))
    await vectors.create("it", 2)
    for i in range(30):
        await vectors.add("it", [Item(f"v{i}", [1, i])])
    assert (await vectors.get("it")).revision > 1
    assert [h.id for h in await vectors.search("it", [1, 0], 2)] == ["v0", "v1"]
    assert await vectors.verify("it") == []
    await vectors.delete("it")
    assert await vectors.list() == []
    await vectors.aclose()
    await storage.aclose()
    assert [p async for p in anyio.Path(home).rglob("*") if await p.is_file()] == []


async def test_a_bulk_over_the_limit_of_an_object_stores_nothing(home: Path) -> None:
    """The setting is named, and fits what is asked for when it is raised."""
    rows = np.eye(3, dtype=np.float32).repeat(100, axis=0)
    ids = [f"v{n}" for n in range(300)]
    await Vectors(home, Storage(home, config.Storage()), config.Vectors()).create("it", 3)
    settings = config.Vectors(seal_rows=100)
    tight = Vectors(home, Storage(home, config.Storage(max_vectors_put_bytes=3000)), settings)
    with pytest.raises(TooLarge, match=r"storage\.max_vectors_put_bytes"):
        await tight.add_matrix("it", ids, rows, [{}] * 300)
    assert await tight.ids("it") == set()
    wide = Vectors(home, Storage(home, config.Storage(max_vectors_put_bytes=100_000)), settings)
    assert (await wide.add_matrix("it", ids, rows, [{}] * 300)).added == 300
