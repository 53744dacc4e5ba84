"""Segments become one and get graphs while the index is used; killed, interrupted, raced: nothing is lost."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest

from lakehouse import config
from lakehouse.engine.child import Child
from lakehouse.engine.storage import Bucket, Storage
from lakehouse.engine.vectors import Ask, IndexDamaged, Item, Vectors, compaction, graph, objects
from lakehouse.engine.vectors.compaction import worker
from lakehouse.errors import Upstream

pytestmark = pytest.mark.anyio
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


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of the process is done in a thread: starting one takes half a second."""

    async def answered(request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        dead = np.frombuffer(payload, np.int64)
        answer = await anyio.to_thread.run_sync(worker.work, request, dead, lambda header: None)
        return dict(json.loads(json.dumps(answer)))

    monkeypatch.setattr(compaction.run, "_answered", answered)
    monkeypatch.setattr(graph, "_SAMPLE", 50)
    monkeypatch.setattr(graph, "_ASKED", 3)


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

    async def slowly(request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        nonlocal turns
        turns += 1
        await vectors.add("it", [Item("v1", row(9001)), Item("v2", row(9002), "changed"), Item("v5000", row(1), "new")])
        await vectors.delete_many("it", ["v3", "v300", "v5000"])
        answer = await real(request, payload)
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
        for _ in range(3):
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


async def test_two_processes_compact_at_once(home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:
    """One wins; what the other made is taken away, and both go on with the same index."""
    first, second = opened(home), opened(home)
    await first.create("it", WIDTH)
    for start in range(0, 1600, 400):
        await bulk(first, start, 200)
    there = await content(first)
    real, begun = compaction.run._answered, anyio.Event()
    entered = 0

    async def together(request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        nonlocal entered
        entered += 1
        if entered == 2:
            begun.set()
        await begun.wait()
        return await real(request, payload)

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


async def test_a_killed_process_costs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 500)
    real = Child.send

    async def killing(self: Child, header: Any, payload: bytes = b"") -> None:
        await real(self, header, payload)
        if "sources" in header:
            self.kill()

    with monkeypatch.context() as patch:
        patch.setattr(Child, "send", killing)
        with pytest.raises(Upstream, match="ended without an answer"):
            await vectors.optimise("it")
    assert (await vectors.ask("it", Ask(1, row(3)))).scanned == "scan"
    assert files_of(home, "graph") == []
    assert list((home / "tmp").glob("*")) == []
    assert await vectors.optimise("it") == 1
    assert (await vectors.ask("it", Ask(1, row(3)))).scanned == "graph"


async def test_a_full_disk_leaves_the_index_as_it_was(home: Path) -> None:
    """The process may write no file over some bytes: a disk that is full looks so to it."""
    resource = pytest.importorskip("resource")
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    await bulk(vectors, 250, 250)
    there, stored = await content(vectors), files_of(home, "seg")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        with pytest.raises(Upstream, match="disk failed"):
            await vectors.optimise("it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await content(vectors) == there
    assert files_of(home, "seg") == stored
    assert await vectors.verify("it") == []
    assert await vectors.optimise("it") == 1
    assert await content(opened(home)) == there


async def test_a_spoilt_segment_is_not_given_new_checksums(home: Path, in_threads: None) -> None:
    """A-S9-9: a merge reads its sources against their checksums, and names the file."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    await bulk(vectors, 250, 250)
    state = await (await vectors._index("it")).state()
    spoilt = state.sealed[0].segment.paths["vec.f32"]
    data = bytearray(spoilt.read_bytes())
    data[100] ^= 1
    spoilt.chmod(0o644)
    await anyio.to_thread.run_sync(_overwrite, spoilt, bytes(data))
    with pytest.raises(IndexDamaged) as caught:
        await vectors.optimise("it")
    assert caught.value.data["key"].endswith(f"{spoilt.parent.name}/vec.f32")


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


class Crash(BaseException):
    """The process ends here, as far as the store is concerned."""


async def crashed_at(step: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, after: bool) -> bool:
    """Do the work on a store that stops before or after its n-th durable step; whether it got there."""
    taken = 0

    def stopping(real: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken > step or (taken == step and not after):
                raise Crash
            done = await real(*args, **more)
            if taken == step:
                raise Crash
            return done

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Bucket, "put"), (Bucket, "put_file"), (objects.Objects, "_remove")):
            patch.setattr(owner, name, stopping(getattr(owner, name)))
        try:
            await work()
        except (Crash, BaseExceptionGroup):
            return True
    return False


@pytest.mark.slow
async def test_every_interruption_leaves_a_whole_index(
    home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    """Stopped at any durable step of merging, building and clearing away: the same items, before or after, and the next
    run ends what is left."""
    start = opened(home)
    await start.create("it", WIDTH)
    await bulk(start, 0, 350)
    await bulk(start, 350, 250)
    await bulk(start, 600, 210)
    await start.delete_many("it", ["v0", "v500"])
    await start.add("it", [Item("v1", row(100)), Item("v700", row(701))])
    there = await content(start)
    step, crashed = 0, True
    while crashed:
        step += 1
        copy = home.with_name(f"copy{step}")
        await anyio.to_thread.run_sync(shutil.copytree, home, copy)
        crashed = await crashed_at(step // 2 + 1, partial(opened(copy).optimise, "it"), monkeypatch, step % 2 == 0)
        again = opened(copy)
        assert await content(again) == there, step
        await again.optimise("it")
        assert await content(again) == there, step
        assert any(linked for _, _, linked in await sealed(again))
        assert await again.verify("it") == []
        await anyio.to_thread.run_sync(shutil.rmtree, copy)
    assert step > 10


COMPACTING = """
import sys
from pathlib import Path
import anyio, numpy as np
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

async def main(home, start):
    settings = config.Vectors(graph_rows=300, seal_rows=200)
    vectors = Vectors(home, Storage(home, config.Storage()), settings)
    async def adding():
        number = start
        while True:
            ids = [f"v{n}" for n in range(number, number + 40)]
            matrix = np.array([np.random.default_rng(n).standard_normal(8) for n in range(number, number + 40)])
            await vectors.add_matrix("it", ids, matrix, [{"n": n} for n in range(number, number + 40)])
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            number += 40
            await anyio.sleep(0.005)
    async def compacting():
        while True:
            await vectors.optimise("it")
            await anyio.sleep(0.01)
    async with anyio.create_task_group() as group:
        group.start_soon(adding)
        group.start_soon(compacting)

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def killed(home: Path, start: int, adds: int) -> list[int]:
    with subprocess.Popen([sys.executable, "-c", COMPACTING, str(home), str(start)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(adds)]
        child.kill()
        rest = child.stdout.read().decode().rpartition("\n")[0].split()
    assert all(lines), "it ended by itself"
    return [int(line) for line in lines] + [int(word) for word in rest]


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_a_kill_during_compaction(home: Path) -> None:
    """A-S9-8: kill -9 of a process that adds while its children merge and build."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    acknowledged: set[str] = set()
    dice = random.Random(5)
    for turn in range(2):
        begun = await anyio.to_thread.run_sync(killed, home, turn * 100_000, dice.randint(20, 60))
        acknowledged |= {f"v{n}" for first in begun for n in range(first, first + 40)}
        vectors = opened(home)
        assert acknowledged <= await vectors.ids("it")
        assert await vectors.verify("it") == []
    await vectors.optimise("it")
    assert acknowledged <= await opened(home).ids("it")
    for id in dice.sample(sorted(acknowledged), 20):
        assert (await vectors.search("it", row(int(id[1:])), 1))[0].id == id


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
