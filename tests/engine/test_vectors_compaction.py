"""Segments become one and get graphs while the index is used; killed, interrupted, raced: nothing is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from tests.engine.compacting import WIDTH, bulk, content, files_of, opened, row, sealed

from lakehouse.engine import progress
from lakehouse.engine.vectors import Ask, Item, Vectors, compaction

pytestmark = pytest.mark.anyio


async def test_small_segments_become_one_with_a_graph(home: Path) -> None:
    """By a process of its own; searches answer the same before and after, and again after a restart."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    await bulk(vectors, 300, 280)
    await vectors.add("it", [Item("blind", None, "no vector"), Item("v3", row(4000))])
    await vectors.delete_many("it", ["v7", "v8"])
    before = [await vectors.search("it", row(n), 5) for n in range(20)]
    there = await content(vectors)
    assert await vectors.optimise("it") == 1
    assert sorted(await sealed(vectors)) == [(2, 0, False), (530, 3, True)]
    assert [await vectors.search("it", row(n), 5) for n in range(20)] == before
    assert (await vectors.ask("it", Ask(5, row(1)))).scanned == "graph+scan"
    assert await content(vectors) == there
    again = opened(home)
    assert await sealed(again) == await sealed(vectors)
    assert await content(again) == there
    assert await again.verify("it") == []
    assert await vectors.optimise("it") == 0


async def test_what_changes_meanwhile_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:
    """Adds, deletes, upserts that keep metadata, and seals, between the work's beginning and its end."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    for first in range(0, 1500, 250):
        await bulk(vectors, first, 250)
    real = compaction.run._answered
    turns = 0

    async def slowly(request: dict[str, Any], payload: bytes, index: Any) -> dict[str, Any]:
        nonlocal turns
        turns += 1
        await vectors.add("it", [Item("v1", row(9001)), Item("v2", row(9002), "changed"), Item("v5000", row(1), "new")])
        await vectors.delete_many("it", ["v3", "v300", "v5000"])
        answer = await real(request, payload, index)
        if turns == 1:
            await bulk(vectors, 6000, 220)  # is sealed, too
            await vectors.delete_many("it", ["v4", "v6001"])
            await vectors.add("it", [Item("v4", row(9004), "again"), Item("v5", row(9005))])
        return answer

    monkeypatch.setattr(compaction.run, "_answered", slowly)
    expected: dict[str, Any] = {
        f"v{n}": (round(float(row(n)[0]), 5), {"n": n}) for n in (*range(1500), *range(6000, 6220))
    }
    for gone in ("v3", "v300", "v6001"):
        del expected[gone]
    for id, (number, metadata) in {
        "v1": (9001, {"n": 1}),
        "v2": (9002, "changed"),
        "v4": (9004, "again"),
        "v5": (9005, {"n": 5}),
    }.items():
        expected[id] = (round(float(row(number)[0]), 5), metadata)
    assert await vectors.optimise("it") >= 1
    assert turns
    assert await content(vectors) == expected
    assert await content(opened(home)) == expected
    assert (await vectors.get("it")).count == len(expected)
    for number in (9001, 9002, 9004, 9005):
        assert (await vectors.search("it", row(number), 1))[0].distance <= 1e-6
    assert await vectors.verify("it") == []
    assert max(len(await sealed(vectors)), len(await sealed(opened(home)))) <= 4


@pytest.mark.slow
async def test_no_search_fails_during_fifty_swaps(home: Path, in_threads: None) -> None:
    """Searches run through every swap; each sees one state: what is stored for good is always found."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 400)
    swaps, searches = 0, 0

    async def searching() -> None:
        nonlocal searches
        number = 0
        while swaps < 50:
            number = (number + 7) % 300
            hits = await vectors.search("it", row(number), 3)
            assert hits[0].id == f"v{number}"
            assert hits[0].distance <= 1e-6
            assert len({hit.id for hit in hits}) == 3
            searches += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(searching)
        while swaps < 50:
            await bulk(vectors, 300, 400)  # replaces what the turn before has put
            done = await vectors.optimise("it")
            assert done
            swaps += done
    assert searches > 50
    assert (await vectors.get("it")).count == 700
    assert len(files_of(home, "graph")) <= 8
    assert await vectors.verify("it") == []


async def test_a_rebuild_keeps_the_graph_that_was_made_meanwhile(home: Path, in_threads: None) -> None:
    """And the rows that the rebuild took away are found no more."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 400)
    made = await vectors.rebuild("it")
    await made.delete_many(["v3"])
    assert await vectors.optimise("it") == 1
    await made.publish(None)
    assert await sealed(vectors) == await sealed(opened(home)) == [(400, 1, True)]
    assert "v3" not in {hit.id for hit in await vectors.search("it", row(3), 400)}


async def test_two_processes_compact_at_once(home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:
    """One wins; what the other made is taken away, and both go on with the same index."""
    first, second = opened(home), opened(home)
    await first.create("it", WIDTH)
    for start in range(0, 1600, 400):
        await bulk(first, start, 200)
    there = await content(first)
    real, begun = compaction.run._answered, anyio.Event()
    entered = 0

    async def together(request: dict[str, Any], payload: bytes, index: Any) -> dict[str, Any]:
        nonlocal entered
        entered += 1
        if entered == 2:
            begun.set()
        await begun.wait()
        return await real(request, payload, index)

    monkeypatch.setattr(compaction.run, "_answered", together)
    done: list[int] = []

    async def optimise(vectors: Vectors) -> None:
        done.append(await vectors.optimise("it"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(optimise, first)
        tasks.start_soon(optimise, second)
    assert sorted(done) == [0, 1]
    for vectors in (first, second, opened(home)):
        await vectors.refresh()
        assert sorted(await sealed(vectors)) == [(200, 0, False), (600, 0, True)]
        assert await content(vectors) == there
    assert len(files_of(home, "graph")) == 1
    await first.add("it", [Item("one", row(1), 1)])
    await second.refresh()
    await second.add("it", [Item("two", row(2), 2)])
    assert {"one", "two"} <= await opened(home).ids("it")


async def test_the_background_does_it_when_adds_have_paused(
    home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    """Started once by whichever call saw that there is something to do; not at all where nothing runs beside calls."""
    monkeypatch.setattr("lakehouse.engine.vectors.opened._QUIET_SECS", 0)
    begun: list[Callable[[], Any]] = []

    def later(work: Callable[[], Any]) -> bool:
        begun.append(work)
        return True

    vectors = opened(home, later)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    assert begun == []
    await bulk(vectors, 250, 400)
    await bulk(vectors, 650, 400)
    assert len(begun) == 1
    await begun[0]()
    assert (await vectors.ask("it", Ask(1, row(300)))).scanned.startswith("graph")
    begun.clear()
    quiet = opened(home.with_name("quiet"), later, compaction=False)
    await quiet.create("it", WIDTH)
    await bulk(quiet, 0, 400)
    assert begun == []
    waking = opened(home.with_name("quiet"), later)
    await waking.search("it", row(1), 1)  # what an earlier process did not come to
    assert len(begun) == 1
    await begun[0]()
    assert (await waking.ask("it", Ask(1, row(3)))).scanned == "graph"


async def test_a_merge_is_of_one_build_only(home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:
    """Rows that are dead in the build that was merged are live in the one before, which has the same segments."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 450)
    await vectors.snapshot("it")
    before = await vectors.ids("it")
    await vectors.delete_many("it", [f"v{n}" for n in range(120)])
    answered, turned = compaction.run._answered, list[Any]()

    async def meanwhile(*args: Any) -> Any:
        if not turned:
            turned.append(await vectors.rollback("it"))
        return await answered(*args)

    monkeypatch.setattr(compaction.run, "_answered", meanwhile)
    await vectors.optimise("it")
    assert turned
    for store in (vectors, opened(home)):
        assert await store.ids("it") == before
        assert len(await store.ids("it@2")) == 330
        assert await store.verify("it") == []


async def test_the_background_leaves_a_deleted_index_alone(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun: list[Callable[[], Any]] = []

    def later(work: Callable[[], Any]) -> bool:
        begun.append(work)
        return True

    vectors = opened(home, later)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 400)
    await vectors.delete("it")
    await begun[0]()
    assert caplog.messages == []
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 400)
    assert len(begun) == 2


async def test_a_caller_hears_of_work_that_others_do_on_the_index(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`optimise` waits for what runs already, and a client that heard nothing would give the call up."""
    monkeypatch.setattr(progress, "BEAT_SECS", 0.001)
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    told: list[str] = []
    twice = anyio.Event()

    async def heard(done: float, total: float | None, message: str) -> None:
        told.append(message)
        if len(told) == 2:
            twice.set()

    index = await vectors._index("it")
    async with anyio.create_task_group() as group:
        async with index.compacting:
            group.start_soon(vectors.optimise, "it", heard)
            await twice.wait()
            index.worked += 1500
            so_far = len(told)
            while told[-1] == told[0]:
                await anyio.lowlevel.checkpoint()
    assert set(told[:so_far]) == {"0 rows put into graphs"} and "1,500 rows put into graphs" in told
    await vectors.aclose()
