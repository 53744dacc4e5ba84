"""An index replaced in one step, and what is kept and removed: interruptions, clocks that jump, trails of files."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from tests.engine.test_vectors_durability import files_of, opened, row, run_until_crash

from lakehouse.engine.vectors import Ask, Item, Vectors, format, replacement
from lakehouse.engine.vectors.index import Index
from lakehouse.errors import Conflict, InvalidInput, Upstream

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_every_interruption_leaves_old_or_new(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before any durable step, the index is what it was or what replaces it; the next one clears up."""
    start = opened(home, seal_rows=12)
    await start.create("it", 3)
    for first in range(0, 40, 4):
        await start.add("it", [Item(f"v{n}", row(n), n) for n in range(first, first + 4)])
    before = await start.ids("it")
    new = {f"n{n}" for n in range(9)} | {"blank"}
    monkeypatch.setattr(replacement, "MERGE_ROWS", 4)
    clock = itertools.count(format.seconds() + 1)  # attempts follow each other in other seconds
    monkeypatch.setattr(format, "seconds", lambda: next(clock))

    async def work(vectors: Vectors) -> None:
        made = await vectors.replacement("it", 2, "other-model")
        for first in range(0, 9, 3):
            ids = [f"n{n}" for n in range(first, first + 3)]
            await made.add_matrix(ids, np.array([[1.0, n] for n in range(first, first + 3)]), [{"n": n} for n in ids])
        await made.add([Item("blank", None)])
        await made.publish({"complete": True})

    seen = set()
    for step in range(1, 100):
        copy = home.with_name(f"replace{step}")
        await anyio.to_thread.run_sync(shutil.copytree, home, copy)
        crashed = await run_until_crash(copy, step, work, monkeypatch, keep_generations=0)
        again = opened(copy, keep_generations=0)
        found = await again.ids("it")
        assert found in ((before, new) if crashed else (new,)), step
        seen.add(len(found))
        assert await again.verify("it") == []
        await work(again)
        info = await again.get("it")
        assert (info.dimension, info.count, info.model, info.builder) == (2, 10, "other-model", {"complete": True})
        assert {hit.id for hit in await again.search("it", [1, 8], 20)} == new - {"blank"}
        assert (await again.get_item("it", "blank")).metadata is None
        await again.add("it", [Item("n0", [0, 1]), Item("later", [1, 1])])
        there = opened(copy)
        assert await there.ids("it") == new | {"later"}
        assert await there.verify("it") == []
        kinds = [p.relative_to(copy / "objects" / "_vectors" / "it").parts[0] for p in files_of(copy, "it")]
        assert (kinds.count("manifest"), kinds.count("log"), kinds.count("tomb"), kinds.count("seg")) == (1, 1, 0, 18)
        if not crashed:
            break
    assert seen == {40, 10}
    assert step > 20


async def test_it_is_unseen_until_published_and_leaves_nothing_when_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement, "MERGE_ROWS", 2)
    vectors = opened(home)
    await vectors.create("it", 3)
    await vectors.add("it", [Item("old", row(1))])
    files = files_of(home, "it")
    made = await vectors.replacement("it", 3)
    await made.add([Item("new", row(2)), Item("more", row(3))])
    with pytest.raises(InvalidInput, match="'new' occurs twice"):
        await made.add([Item("new", row(2))])
    await vectors.add("it", [Item("meanwhile", row(4))])
    assert await opened(home).ids("it") == await vectors.ids("it") == {"old", "meanwhile"}
    await made.discard()
    assert len(files_of(home, "it")) == len(files) + 1

    made = await vectors.replacement("it", 3)
    await made.add([Item("new", row(2)), Item("more", row(3))])
    await vectors.delete("it")
    await vectors.create("it", 3)
    with pytest.raises(Conflict, match="made anew"):
        await made.publish({})
    await made.discard()
    assert await opened(home).ids("it") == await vectors.ids("it") == set()
    assert {p.parent.name for p in files_of(home, "it")} == {"manifest"}


async def test_the_clock_may_jump(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names carry times; a clock that jumps ahead makes nothing that is in use look forgotten, and one that goes back
    does not let an older index come before a newer one."""
    now = format.seconds()
    vectors = opened(home, seal_rows=12)
    await vectors.create("it", 3)
    await vectors.add("it", [Item(f"v{n}", row(n), n) for n in range(60)])
    await vectors.delete_item("it", "v5")
    await vectors.add("it", [Item(f"w{n}", row(n), n) for n in range(12)])
    assert any(p.parent.name == "tomb" for p in files_of(home, "it"))
    expected = await vectors.ids("it")
    made = await vectors.replacement("it", 3)
    monkeypatch.setattr(replacement, "MERGE_ROWS", 1)
    await made.add([Item("new", row(1))])
    monkeypatch.setattr(format, "seconds", lambda: now + 10**6)
    for n in range(12):
        await vectors.add("it", [Item(f"x{n}", row(n))])
        expected.add(f"x{n}")
    assert await opened(home).ids("it") == await vectors.ids("it") == expected
    assert await opened(home).verify("it") == []
    monkeypatch.setattr(format, "seconds", lambda: now - 10**6)
    await made.publish({})
    for again in (opened(home), vectors):
        assert await again.ids("it") == {"new"}
        await again.delete("it")
        await again.create("it", 3)
        await again.add("it", [Item("newest", row(1))])
        assert await opened(home).ids("it") == {"newest"}
        await again.delete("it")
        await again.create("it", 3)
        await again.add("it", [Item("new", row(1))])


async def test_an_old_bitmap_in_use_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours after an item of a large segment was deleted, sealing other rows leaves the note of that deletion."""
    now = format.seconds()
    vectors = opened(home, seal_rows=12)
    await vectors.create("it", 3)
    await vectors.add("it", [Item(f"v{n}", row(n), n) for n in range(60)])
    await vectors.delete_item("it", "v5")
    await vectors.add("it", [Item(f"w{n}", row(n), n) for n in range(12)])
    expected = await vectors.ids("it")
    monkeypatch.setattr(format, "seconds", lambda: now + 7200)
    later = opened(home, seal_rows=12)
    await later.add("it", [Item(f"x{n}", row(n), n) for n in range(12)])
    assert await opened(home).ids("it") == expected | {f"x{n}" for n in range(12)}
    assert await opened(home).verify("it") == []


async def test_a_segment_that_only_the_log_names_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = opened(home, seal_rows=12)
    await vectors.create("it", 3)

    async def refuse(*args: Any) -> None:
        raise Upstream("the disk is full.")

    ids = [f"m{n}" for n in range(13)]
    with monkeypatch.context() as patch:
        patch.setattr(Index, "publish", refuse)
        await vectors.add_matrix("it", ids, np.array([row(n) for n in range(13)]), [{}] * 13)
    monkeypatch.setattr(format, "seconds", lambda: 10**9)
    again = opened(home)
    await again.set_builder("it", {"complete": True})
    assert await opened(home).ids("it") == set(ids)
    assert await again.verify("it") == []


async def test_notes_leave_no_trail_of_generations(home: Path) -> None:
    vectors = opened(home)
    await vectors.create("it", 3)
    for n in range(9):
        await vectors.set_builder("it", {"n": n})
    assert len(files_of(home, "it")) == 2
    assert (await opened(home).get("it")).builder == {"n": 8}


async def test_a_search_outlives_the_files_of_its_snapshot(home: Path) -> None:
    start = opened(home, seal_rows=12)
    await start.create("it", 3)
    await start.add("it", [Item(f"v{n}", row(n), n) for n in range(60)])
    vectors = opened(home, seal_rows=12)
    state = await (await vectors._index("it")).state()
    await vectors.delete("it")
    assert files_of(home, "it") == []
    found, _ = await anyio.to_thread.run_sync(state.nearest, np.array(row(3), np.float32), 1)
    assert state.meta(*found[0][2:]) == "3"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="where the system lists open files")
async def test_segments_keep_no_file_open(home: Path) -> None:
    """A process may have 1,024 open files; a hundred corpora of two segments of eight files each are more."""
    vectors = opened(home, seal_rows=12, graph_rows=30)
    for name in ("one", "two"):
        await vectors.create(name, 3)
        await vectors.add(name, [Item(f"v{n}", row(n), n) for n in range(60)])
        await vectors.optimise(name)
        assert (await vectors.ask(name, Ask(1, row(3)))).scanned == "graph"
    files = [await anyio.to_thread.run_sync(_target, path) for path in Path("/proc/self/fd").iterdir()]
    assert [name for name in files if "_vectors" in name] == []


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # the listing's own
        return ""
