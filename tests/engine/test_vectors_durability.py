"""What survives: kills at any moment, interrupted seals, damaged files, two writers on one bucket, deletion."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest

from lakehouse import config
from lakehouse.engine.storage import Bucket, Storage
from lakehouse.engine.vectors import (
    Added,
    IndexDamaged,
    IndexExists,
    IndexNotFound,
    Item,
    Vectors,
    format,
    objects,
)
from lakehouse.errors import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def opened(home: Path, url: str = "", **more: Any) -> Vectors:
    return Vectors(home, Storage(home, config.Storage(url=url)), config.Vectors(**more))


def row(number: int) -> list[float]:
    return [1.0, number / 7, (number % 13) - 6.0]


WRITER = """
import sys
from pathlib import Path
import anyio
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

async def main(home, start):
    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors(seal_rows=24))
    async def writer(lane):
        number = start + lane
        while True:
            items = [Item(f"v{number}", [1.0, number / 7, (number % 13) - 6.0], number)]
            if number % 10 == 9:
                items.append(Item(f"v{number - 10}", items[0].vector, None))
            await vectors.add("it", items)
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            number += 3
    async with anyio.create_task_group() as group:
        for lane in range(3):
            group.start_soon(writer, lane)

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def killed_writer(home: Path, start: int, acknowledgements: int) -> list[int]:
    """Run a writer until it has acknowledged so many adds, then kill -9 it; the numbers it acknowledged."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(home), str(start)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledgements)]
        child.kill()
        rest = child.stdout.read().decode().rpartition("\n")[0].split()
    assert all(lines), "the writer ended by itself"
    return [int(line) for line in lines] + [int(word) for word in rest]


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_a_kill(home: Path) -> None:
    """A-S9-8: kill -9 of a process that adds, upserts and seals; each acknowledged item is there after restart."""
    vectors = opened(home)
    await vectors.create("it", 3)
    acknowledged: set[int] = set()
    dice = random.Random(11)
    for turn in range(4):
        acknowledged |= set(await anyio.to_thread.run_sync(killed_writer, home, turn * 100_000, dice.randint(1, 150)))
        vectors = opened(home, seal_rows=24)
        there = await vectors.ids("it")
        assert {f"v{number}" for number in acknowledged} <= there
        assert (await vectors.get("it")).count == len(there)
        for number in dice.sample(sorted(acknowledged), min(12, len(acknowledged))):
            item = await vectors.get_item("it", f"v{number}")
            assert item.metadata == number
            assert item.vector is not None
            assert (await vectors.search("it", item.vector))[0].distance <= 1e-6
        assert await vectors.verify("it") == []


class Crash(BaseException):
    """The process ends here, as far as the store is concerned."""


async def run_until_crash(
    home: Path, step: int, work: Callable[[Vectors], Any], monkeypatch: pytest.MonkeyPatch, **more: Any
) -> bool:
    """Do the work on a store that stops before its n-th durable step; whether it got there."""
    taken = 0

    def stopping(real: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == step:
                raise Crash
            return await real(*args, **more)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Bucket, "put"), (Bucket, "put_file"), (objects.Objects, "_remove")):
            patch.setattr(owner, name, stopping(getattr(owner, name)))
        try:
            await work(opened(home, seal_rows=12, **more))
        except (Crash, BaseExceptionGroup):
            return True
    return False


@pytest.mark.slow
async def test_every_interruption_leaves_a_whole_index(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before any durable step of adding, merging, sealing and bulk adding: old state or new, never
    a mixture, and the next writer goes on."""
    start = opened(home, seal_rows=12)
    await start.create("it", 3)
    for first in range(0, 40, 4):
        await start.add("it", [Item(f"v{n}", row(n), n) for n in range(first, first + 4)])
    await start.delete_many("it", ["v0", "v39"])
    await start.add("it", [Item("v1", row(100))])
    before = await start.ids("it")
    matrix = np.array([row(n) for n in range(50)])

    async def more(vectors: Vectors) -> None:
        await vectors.add("it", [Item(f"w{n}", row(n), n) for n in range(11)])

    async def bulk(vectors: Vectors) -> None:
        await vectors.add_matrix("it", [f"v{n}" for n in range(50)], matrix, [[n] for n in range(50)])

    for work, new in ((more, {f"w{n}" for n in range(11)}), (bulk, {f"v{n}" for n in range(50)})):
        step = 1
        while True:
            copy = home.with_name(f"{work.__name__}{step}")
            await anyio.to_thread.run_sync(shutil.copytree, home, copy)
            crashed = await run_until_crash(copy, step, work, monkeypatch)
            again = opened(copy, seal_rows=12)
            found = await again.ids("it")
            assert found in ((before, before | new) if crashed else (before | new,)), step
            assert (await again.get_item("it", "v1")).metadata == ([1] if work is bulk and found != before else 1)
            assert len(await again.search("it", row(3), 1000)) == len(found)
            await work(again)
            assert await again.ids("it") == before | new
            assert await again.verify("it") == []
            await again.aclose()
            await anyio.to_thread.run_sync(shutil.rmtree, copy)
            if not crashed:
                break
            step += 1
        assert step > 10


async def test_an_interrupted_deletion_is_finished_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-8: deletion hides an index at once; its objects go then or after the next start, and the name is free."""
    start = opened(home, seal_rows=12)
    await start.create("it", 3)
    for first in range(0, 40, 4):
        await start.add("it", [Item(f"v{n}", row(n), n) for n in range(first, first + 4)])
    hidden = 0
    for step in range(1, 20):
        copy = home.with_name(f"delete{step}")
        await anyio.to_thread.run_sync(shutil.copytree, home, copy)
        crashed = await run_until_crash(copy, step, lambda vectors: vectors.delete("it"), monkeypatch)
        again = opened(copy)
        if await again.list():
            assert (step, crashed, (await again.get("it")).count) == (1, True, 40)
            await again.delete("it")
        hidden += 1
        with pytest.raises(IndexNotFound):
            await again.get("it")
        await again.create("it", 2)
        assert await again.ids("it") == set()
        await again.add("it", [Item("new", [1, 0])])
        assert await opened(copy).ids("it") == {"new"}
        await again.delete("it")
        left = copy / "objects" / "_vectors" / "it"
        assert [p async for p in anyio.Path(left).rglob("*") if await p.is_file()] == []
        if not crashed:
            break
    assert hidden > 4


def files_of(home: Path, index: str) -> list[Path]:
    return sorted(p for p in (home / "objects" / "_vectors" / index).rglob("*") if p.is_file())


def damage(path: Path, kind: str) -> None:
    data = bytearray(path.read_bytes())
    if kind == "truncated":
        del data[-1:]
    elif kind == "flipped":
        data[len(data) // 2] ^= 1
    path.unlink()
    if kind != "missing":
        path.write_bytes(data)


@pytest.mark.slow
async def test_damage_is_found_and_named(home: Path) -> None:
    """A-S9-9: each file of an index cut short, altered or missing is named; the sibling works; fsck agrees."""
    vectors = opened(home, seal_rows=12)
    for name in ("bad", "good"):
        await vectors.create(name, 3)
        await vectors.add(name, [Item(f"v{n}", row(n), n) for n in range(60)])
        await vectors.delete_many(name, ["v5"])
        metas = [{"text": f"word {n}"} for n in range(13)]
        await vectors.add_matrix(name, [f"m{n}" for n in range(13)], np.array([row(n) for n in range(13)]), metas)
        await vectors.add(name, [Item("fresh", row(99), 99)])
    generations = [p for p in files_of(home, "bad") if p.parent.name == "manifest"]
    # The generation before the newest is kept for other processes; nothing of it is read.
    needed = [p for p in files_of(home, "bad") if p not in generations[:-1]]
    kinds = {p.name if p.parent.parent.name == "seg" else p.parent.name for p in needed}
    assert len(kinds) == 10 + 3
    log = json.loads(await anyio.Path(generations[-1]).read_text())["log_from"]
    for path in needed:
        number = format.parse_number(path.name)
        if path.parent.name == "log" and number is not None and number.count < log:
            continue
        for kind in ("truncated", "flipped", "missing"):
            if kind == "missing" and path.parent.name in ("manifest", "log"):
                continue  # what a create-only sequence ends with cannot be told from what never was
            copy = home.with_name("copy")
            await anyio.to_thread.run_sync(shutil.copytree, home, copy)
            await anyio.to_thread.run_sync(damage, copy / path.relative_to(home), kind)
            again = opened(copy)
            for call in (again.get("bad"), again.search("bad", row(1)), again.add("bad", [Item("a", row(1))])):
                with pytest.raises(IndexDamaged) as caught:
                    await call
                assert path.name in caught.value.detail
                assert str(copy) not in caught.value.detail
            assert [info.name for info in await again.list()] == ["good"]
            assert path.name in again.problems["bad"]
            assert any(path.name in line for line in await again.verify("bad"))
            assert await again.verify("good") == []
            assert (await again.search("good", row(99)))[0].id == "fresh"
            with pytest.raises(IndexExists):
                await again.create("bad", 3)
            await again.delete("bad")
            assert again.problems == {}
            assert [info.name for info in await again.list()] == ["good"]
            await anyio.to_thread.run_sync(shutil.rmtree, copy)


async def test_a_large_damaged_segment_is_found_in_the_background(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S9-9: files too large to be hashed while opening are hashed meanwhile; from then on the index says so."""
    vectors = opened(home, seal_rows=12)
    await vectors.create("it", 3)
    await vectors.add("it", [Item(f"v{n}", row(n), n) for n in range(60)])
    path = next(p for p in files_of(home, "it") if p.name == "vec.i8")
    await anyio.to_thread.run_sync(damage, path, "flipped")
    monkeypatch.setattr(objects, "CHECK_AT_ONCE", 0)
    again = opened(home)
    with suppress(IndexDamaged):  # the check may be through already
        await again.get("it")
    await again.checked()
    with pytest.raises(IndexDamaged, match=r"vec\.i8"):
        await again.search("it", row(1))
    await again.aclose()


async def test_a_lost_log_entry_is_damage(home: Path) -> None:
    vectors = opened(home)
    await vectors.create("it", 3)
    for n in range(3):
        await vectors.add("it", [Item(f"v{n}", row(n))])
    middle = [p for p in files_of(home, "it") if p.parent.name == "log"][1]
    await anyio.to_thread.run_sync(damage, middle, "missing")
    with pytest.raises(IndexDamaged, match=middle.name):
        await opened(home).get("it")


async def test_two_writers_on_one_bucket_lose_nothing(home: Path, tmp_path: Path) -> None:
    """Both see each other's entries when a number is taken, and each other's generations, whatever the order."""
    url = (tmp_path / "shared").as_uri()
    ours, theirs = opened(home, url, seal_rows=15), opened(home.with_name("other"), url, seal_rows=22)
    await ours.create("it", 3)
    counts: list[Added] = []

    async def write(vectors: Vectors, name: str) -> None:
        for n in range(40):
            counts.append(await vectors.add("it", [Item(f"{name}{n}", row(n), n), Item(f"both{n}", row(n), None)]))
            if n % 9 == 8:
                await vectors.delete_item("it", f"{name}{n - 1}")

    async with anyio.create_task_group() as group:
        group.start_soon(write, ours, "a")
        group.start_soon(write, theirs, "b")
    expected = {f"{name}{n}" for name in ("a", "b", "both") for n in range(40)} - {
        f"{name}{n}" for name in "ab" for n in range(7, 40, 9)
    }
    assert sum(c.added for c in counts) == 120
    assert sum(c.updated for c in counts) == 40
    third = opened(home.with_name("third"), url)
    for vectors in (ours, theirs, third):
        await vectors.refresh()
        assert await vectors.ids("it") == expected
        assert len(await vectors.search("it", row(1), 1000)) == len(expected)
        assert await vectors.verify("it") == []


async def test_a_writer_that_is_generations_behind(home: Path, tmp_path: Path) -> None:
    """A place in the log that others have sealed and cleared away looks free; writing there must not lose the item."""
    url = (tmp_path / "shared").as_uri()
    behind, ahead = opened(home, url, seal_rows=1000), opened(home.with_name("other"), url, seal_rows=5)
    await behind.create("it", 3)
    await behind.add("it", [Item("first", row(1), 1)])
    for n in range(30):
        await ahead.add("it", [Item(f"v{n}", row(n))])
    assert await behind.add("it", [Item("late", row(5), "late"), Item("v3", row(9))]) == Added(1, 1)
    for vectors in (behind, opened(home.with_name("third"), url)):
        assert (await vectors.get("it")).count == 32
        assert (await vectors.get_item("it", "late")).metadata == "late"
    await ahead.delete("it")
    with pytest.raises(IndexNotFound):
        await behind.add("it", [Item("later", row(5))])
    await ahead.create("it", 3)
    await ahead.refresh()
    assert await ahead.ids("it") == set()


async def test_a_deletion_elsewhere_is_seen(home: Path, tmp_path: Path) -> None:
    url = (tmp_path / "shared").as_uri()
    here, there = opened(home, url), opened(home.with_name("other"), url)
    await here.create("it", 3)
    await here.add("it", [Item("old", row(1))])
    await there.delete("it")
    await there.create("it", 2)
    await there.add("it", [Item("new", [1, 0])])
    with pytest.raises(IndexNotFound):
        await here.add("it", [Item("later", row(1))])
    await here.refresh()
    assert (await here.get("it")).dimension == 2
    assert await here.ids("it") == {"new"}


async def test_a_failed_seal_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added is acknowledged although sealing fails; later adds seal it."""
    vectors = opened(home, seal_rows=4)
    await vectors.create("it", 3)

    async def refuse(*args: Any, **more: Any) -> None:
        raise Upstream("the disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put_file", refuse)
        assert await vectors.add("it", [Item(f"v{n}", row(n)) for n in range(8)]) == Added(8, 0)
    assert (await vectors.get("it")).revision == 1
    for n in range(70):
        await vectors.add("it", [Item(f"w{n}", row(n))])
    assert (await vectors.get("it")).revision > 1
    assert await opened(home).ids("it") == await vectors.ids("it")
