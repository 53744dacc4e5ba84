"""Swaps while others search, add and die: nobody fails, nobody gets a mixture, nothing acknowledged is lost."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest
from tests.engine.test_vectors_durability import files_of, opened, row, run_until_crash

from lakehouse.engine.vectors import Item, Vectors, format
from lakehouse.errors import Conflict

pytestmark = pytest.mark.anyio
SIZE = 40


async def filled(vectors: Vectors, name: str, mark: str) -> None:
    """Replace what is live by items that all carry a mark."""
    made = await vectors.replacement(name, 3)
    await made.add_matrix(
        [f"v{n}" for n in range(SIZE)],
        np.array([row(n) for n in range(SIZE)]),
        [{"text": f"{mark} {n}"} for n in range(SIZE)],
    )
    await made.publish({"mark": mark})


def marks(found: list[object]) -> set[str]:
    return {hit.metadata["text"].split()[0] for hit in found}  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_searches_during_fifty_swaps(home: Path) -> None:
    """A-S27-2: continuous searches during 50 swaps, replacements among them: no error, each answer wholly from one
    generation, and that is the one it names."""
    vectors = opened(home, seal_rows=16)
    await vectors.create("it", 3)
    await filled(vectors, "it", "g2")
    await filled(vectors, "it", "g3")
    done, seen = anyio.Event(), set[str]()

    async def read() -> None:
        from lakehouse.engine.vectors import Ask

        while not done.is_set():
            found = await vectors.ask("it", Ask(SIZE, row(3), "alive" if seen else None))
            assert len(found.near) == SIZE
            assert marks([*found.near]) == {f"g{found.generation}"}
            seen.update(marks([*found.near]))

    async def write() -> None:
        newest = 3
        for turn in range(50):
            if turn % 10 == 9:
                newest += 1
                await filled(vectors, "it", f"g{newest}")
            else:
                await vectors.rollback("it")
        done.set()

    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(read)
            group.start_soon(write)
    assert len(seen) >= 6
    assert await vectors.verify("it") == []
    # Two are kept, of one segment each; nothing else is left.
    kinds = [p.relative_to(home / "objects" / "_vectors" / "it").parts for p in files_of(home, "it")]
    assert len({parts[1] for parts in kinds if parts[0] == "seg"}) == 3


async def test_a_rollback_restores_what_was_found(home: Path) -> None:
    """A-S27-3: the same hits, metadata, model and dimension as before; a restart changes nothing; forward again too."""
    vectors = opened(home, seal_rows=8)
    await vectors.create("it", 3, model="old", builder={"of": "old"})
    await vectors.add("it", [Item(f"v{n}", row(n), n) for n in range(20)])
    await vectors.delete_many("it", ["v3", "v17"])
    await vectors.add("it", [Item("v5", row(50), "fresh")])
    before = await vectors.search("it", row(5), 30)
    made = await vectors.replacement("it", 2, "new")
    await made.add([Item("n", [1, 1], "n")])
    await made.publish({"of": "new"})
    after = await vectors.search("it", [1, 0], 30)
    with pytest.raises(Conflict, match="3 dimensions"):
        await vectors.swap("it", 1)
    done = await vectors.rollback("it")
    assert (done.previous, done.generation, done.count, done.previous_count, done.kept) == (2, 1, 18, 1, True)
    for store in (vectors, opened(home)):
        assert await store.search("it", row(5), 30) == before
        info = await store.get("it")
        assert (info.dimension, info.model, info.builder, info.generation) == (3, "old", {"of": "old"}, 1)
        assert await store.search("it@2", [1, 0], 30) == after
    # What is added now goes to the live one, and stays there.
    await vectors.add("it", [Item("later", row(5), "later")])
    await opened(home).rollback("it")
    await vectors.refresh()
    assert await vectors.search("it", [1, 0], 30) == after
    assert "later" in await vectors.ids("it@1") and len(await vectors.ids("it@1")) == 19
    assert await vectors.verify("it") == []


async def test_what_cannot_be_swapped_to(home: Path) -> None:
    """S27.3: missing and empty generations, and no earlier one, are conflicts; an empty one can be forced."""
    vectors = opened(home)
    await vectors.create("it", 3)
    with pytest.raises(Conflict, match="no generation to go back to"):
        await vectors.rollback("it")
    await vectors.snapshot("it")
    await vectors.add("it", [Item("a", row(1))])
    for number in (3, 0, -1):
        with pytest.raises(Conflict, match="no generation"):
            await vectors.swap("it", number)
    with pytest.raises(Conflict, match="is empty"):
        await vectors.swap("it", 1)
    assert await vectors.ids("it") == {"a"}
    same = await vectors.swap("it", 2)
    assert (same.generation, same.previous, same.count) == (2, 2, 1)
    assert (await vectors.swap("it", 1, force=True)).count == 0
    assert await opened(home).ids("it") == set()
    assert (await vectors.swap("it", 2)).count == 1
    few = opened(home.with_name("few"), keep_generations=0)
    await few.create("it", 3)
    with pytest.raises(Conflict, match="keep_generations"):
        await few.snapshot("it")
    made = await few.replacement("it", 3)
    await made.add([Item("b", row(1))])
    await made.publish(None)
    assert [g.generation for g in (await few.get("it")).generations] == [2]


@pytest.mark.slow
async def test_a_crash_anywhere_leaves_one_or_the_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S27-4: stopped before each durable step of a rebuild, a snapshot, a swap and a rollback, what is live is one
    whole generation with everything acknowledged; the next one goes on, and clears up."""
    start = opened(home, seal_rows=6)
    await start.create("it", 3)
    await start.add("it", [Item(f"v{n}", row(n), n) for n in range(8)])
    clock = itertools.count(format.seconds() + 1)
    monkeypatch.setattr(format, "seconds", lambda: next(clock))
    old = {f"v{n}" for n in range(8)}
    acknowledged: set[str] = set()

    async def work(vectors: Vectors) -> None:
        made = await vectors.rebuild("it")
        await made.delete_many(["v1", "v2"])
        await made.add([Item(f"n{n}", row(n), n) for n in range(3)])
        await vectors.add("it", [Item("meanwhile", row(9), 9)])
        acknowledged.add("meanwhile")
        await made.publish({"by": "rebuild"})
        await vectors.add("it", [Item("after", row(9), 9)])
        acknowledged.add("after")
        await vectors.snapshot("it")
        await vectors.add("it", [Item("last", row(9), 9)])
        acknowledged.add("last")
        await vectors.swap("it", 1)
        await vectors.rollback("it")

    new = old - {"v1", "v2"} | {"n0", "n1", "n2"}
    seen = set()
    for step in range(1, 100):
        copy = home.with_name(f"swap{step}")
        await anyio.to_thread.run_sync(shutil.copytree, home, copy)
        acknowledged.clear()
        crashed = await run_until_crash(copy, step, work, monkeypatch)
        again = opened(copy)
        info = await again.get("it")
        found = await again.ids("it")
        unsure = {"meanwhile", "after", "last"}
        assert found - unsure == (old if info.generation == 1 else new), step
        whole = set[str]().union(*[await again.ids(f"it@{g.generation}") for g in info.generations])
        assert acknowledged <= whole, step
        if info.generation > 1:
            assert await again.ids("it@1") >= old, step
        assert await again.verify("it") == []
        seen.add((info.generation, len(found)))
        if not crashed:
            break
        if step % 7 == 0:
            await again.snapshot("it")
            await again.add("it", [Item("next", row(1))])
            assert "next" in await opened(copy).ids("it")
    assert not crashed and (info.generation, found) == (3, new | unsure)
    assert {generation for generation, _ in seen} == {1, 2, 3}
    # Days later, what the interruptions left is removed.
    days = format.seconds() + 3 * 86400
    monkeypatch.setattr(format, "seconds", lambda: days)
    crashed_copy = home.with_name("swap4")
    late = opened(crashed_copy)
    await late.snapshot("it")
    named = {
        ref.id
        for manifest in [(await (await late._index("it")).state()).manifest]
        for refs in (manifest.segments, *(build.segments for build in manifest.retained))
        for ref in refs
    }
    await late.set_builder("it", {})
    await late.set_builder("it", {})
    there = {p.parent.name for p in files_of(crashed_copy, "it") if p.parent.parent.name == "seg"}
    assert there == named


WRITER = """
import sys
from pathlib import Path
import anyio
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

async def main(home, url):
    vectors = Vectors(home, Storage(home, config.Storage(url=url)), config.Vectors(seal_rows=24))
    number = 0
    async def add():
        nonlocal number
        while True:
            number += 1
            await vectors.add("it", [Item(f"w{number}", [1.0, number / 7, 2.0], number)])
            sys.stdout.write(f"w{number}\\n")
            sys.stdout.flush()
    async def turn():
        while True:
            made = await vectors.rebuild("it")
            await made.add([Item("turned", [1.0, 2.0, 3.0], number)])
            await made.publish({})
            await vectors.snapshot("it")
    async with anyio.create_task_group() as group:
        group.start_soon(add)
        group.start_soon(turn)

anyio.run(main, Path(sys.argv[1]), sys.argv[2])
"""


def written(home: Path, url: str, count: int) -> set[str]:
    """Have a process add and rebuild until it has acknowledged so many items, then kill -9 it; those it did."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(home), url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(count)]
        child.kill()
        rest = child.stdout.read().rpartition(b"\n")[0].split()
    assert all(lines), "the writer ended by itself"
    return {line.decode().strip() for line in [*lines, *rest]}


@pytest.mark.slow
async def test_another_process_swaps_and_is_killed(home: Path, tmp_path: Path) -> None:
    """S9.10, A-S27-4: readers here follow each generation made there; what a process acknowledged while it rebuilt is
    in the index after kill -9."""
    url = (tmp_path / "shared").as_uri()
    vectors = opened(home, url)
    await vectors.create("it", 3)
    await vectors.add("it", [Item("first", row(1))])
    acknowledged: set[str] = set()
    generations = [1]
    done = anyio.Event()

    async def run() -> None:
        for turn in range(2):
            acknowledged.update(await anyio.to_thread.run_sync(written, home.with_name(f"other{turn}"), url, 60))
        done.set()

    async def read() -> None:
        while not done.is_set():
            await vectors.refresh()
            assert "first" in {hit.id for hit in await vectors.search("it", row(1), 1000)}
            generations.append((await vectors.get("it")).generation)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(read)
    await vectors.refresh()
    for store in (vectors, opened(home.with_name("third"), url)):
        assert acknowledged | {"first", "turned"} <= await store.ids("it")
        assert await store.verify("it") == []
        info = await store.get("it")
        assert info.generation > 4 and len(info.generations) == 3
        assert "first" in await store.ids(f"it@{info.generations[0].generation}")
    assert generations == sorted(generations) and len(set(generations)) > 3
    await vectors.delete("it")
    assert not (tmp_path / "shared" / "_vectors" / "it").exists()


async def test_two_writers_swap_at_once(home: Path, tmp_path: Path) -> None:
    """Whoever publishes second does so on top of the first; items that were added meanwhile are in what is live, or
    in what was."""
    url = (tmp_path / "shared").as_uri()
    ours, theirs = opened(home, url, seal_rows=9), opened(home.with_name("other"), url, seal_rows=7)
    await ours.create("it", 3)
    await ours.add("it", [Item("first", row(1))])

    async def write(vectors: Vectors, name: str) -> None:
        for n in range(12):
            await vectors.add("it", [Item(f"{name}{n}", row(n), n)])
            if n % 4 == 3:
                await vectors.snapshot("it")
            if n == 6:
                made = await vectors.rebuild("it")
                await made.add([Item(f"{name}made", row(n), n)])
                try:
                    await made.publish({})
                except Conflict:  # the other one has made a generation meanwhile
                    await made.discard()
                    await vectors.add("it", [Item(f"{name}made", row(n), n)])

    async with anyio.create_task_group() as group:
        group.start_soon(write, ours, "a")
        group.start_soon(write, theirs, "b")
    expected = {"first", "amade", "bmade"} | {f"{name}{n}" for name in "ab" for n in range(12)}
    for vectors in (ours, theirs, opened(home.with_name("third"), url)):
        await vectors.refresh()
        assert await vectors.ids("it") == expected
        assert await vectors.verify("it") == []
