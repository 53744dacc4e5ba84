"""A process that is generations behind the others on its bucket: what it says is done is done."""

import os
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest
from tests.engine.test_vectors_durability import opened, row

from lakehouse.engine.playbook.holds import Chosen, Hold
from lakehouse.engine.playbook.memory import HOLDS, Memory
from lakehouse.engine.vectors import IndexNotFound, Item, Vectors, lifecycle
from lakehouse.engine.vectors import objects as opening
from lakehouse.engine.vectors.format import Manifest
from lakehouse.engine.vectors.objects import Objects

pytestmark = pytest.mark.anyio


async def pair(home: Path, tmp_path: Path, **more: Any) -> tuple[Vectors, Vectors, Vectors]:
    """One that has the index open as it was, one that has gone on since, and one that has not opened it."""
    url = (tmp_path / "shared").as_uri()
    here, there, third = (opened(home.with_name(name), url, **more) for name in ("here", "there", "third"))
    await here.create("it", 3)
    await here.add("it", [Item(f"v{n}", row(n), n) for n in range(8)])
    await here.snapshot("it")
    await here.delete_many("it", ["v1"])
    await here.snapshot("it")
    return here, there, third


async def gone_on(vectors: Vectors, facts: int) -> None:
    """So many generations later what the other had is cleared away, its numbers and bitmaps too."""
    for n in range(3):
        await vectors.delete_many("it", [f"v{facts + n}"])
        await vectors.set_builder("it", {"facts": facts + n})
        await vectors.snapshot("it")


async def test_what_a_process_behind_publishes_counts(home: Path, tmp_path: Path) -> None:
    """A manifest's number that was cleared away can be taken again; nobody would ever read what has it."""
    here, there, third = await pair(home, tmp_path)
    await gone_on(there, 2)
    left = await here.snapshot("it")
    assert (left.previous, left.generation, left.count) == (6, 7, 4)
    await gone_on(there, 5)
    await here.set_builder("it", {"mine": True})
    await third.refresh()
    assert (await third.get("it")).builder == {"mine": True}
    await there.add("it", [Item("n", row(20), "n")])
    made = await here.rebuild("it")
    await made.add([Item("made", row(30), "made")])
    await made.delete_many(["v0"])
    await made.publish({"made": True})
    await third.refresh()
    assert await third.ids("it") == {"n", "made"}
    assert await third.verify("it") == []
    await gone_on(there, 0)
    await here.delete("it")
    await third.refresh()
    with pytest.raises(IndexNotFound):
        await third.get("it")


@pytest.mark.parametrize("publishing", [False, True])
async def test_what_is_stored_at_the_moment_of_a_replacement_is_in_the_build_left(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publishing: bool
) -> None:
    """Another process has added, and perhaps sealed, after the last look and before the later epoch is there."""
    here, there, third = await pair(home, tmp_path)
    switch = lifecycle.switch

    async def late(objects: Objects, manifest: Manifest) -> None:
        await there.add("it", [Item("late", row(40), "late")])
        if publishing:
            await there.set_builder("it", {"mine": True})
        await there.delete_many("it", ["v2"])
        await switch(objects, manifest)

    made = await here.replacement("it", 3)
    await made.add([Item("new", row(1))])
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "switch", late)
        await made.publish({})
    for vectors in (here, third):
        info = await vectors.get("it")
        assert info.generation == 4
        assert await vectors.ids("it") == {"new"}
        assert await vectors.ids("it@3") == {"v0", "v3", "v4", "v5", "v6", "v7", "late"}
        assert [each.count for each in info.generations if each.generation == 3] == [7]
    assert await third.verify("it") == []
    with pytest.raises(IndexNotFound):
        await there.add("it", [Item("later", row(1))])
    await here.rollback("it")
    await third.refresh()
    assert (await third.get_item("it", "late")).metadata == "late"


async def test_what_others_cleared_away_is_not_damage(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that is behind reads on from what it has open; its check in the background finds the files gone."""
    _, there, third = await pair(home, tmp_path, seal_rows=4)
    monkeypatch.setattr(opening, "CHECK_AT_ONCE", 0)
    checks: list[Any] = []
    monkeypatch.setattr(third, "_check_later", checks.append)
    found = await third.search("it", row(3), 3)
    assert checks
    made = await there.replacement("it", 3)
    await made.add([Item("new", row(1))])
    await made.publish({})
    await there.delete("it")
    for check in checks:
        await anyio.to_thread.run_sync(check)
    assert await third.search("it", row(3), 3) == found
    await third.refresh()
    with pytest.raises(IndexNotFound):
        await third.search("it", row(3), 3)


async def test_a_revision_is_made_of_what_others_have_just_stored(home: Path, tmp_path: Path) -> None:
    """Reading, then writing, would lose what another process stored in between: a quarantine, an answer replaced."""
    here, there, third = await pair(home, tmp_path)
    ours, theirs, read = (Memory("it", cast(Any, None), vectors, 10) for vectors in (here, there, third))
    assert await theirs.holds() == []
    first, second = (Hold(Chosen(writer=name), "me", "2026-01-01T00:00:00Z") for name in ("a", "b"))
    await ours.change_holds(lambda holds: holds.update({first.id: first}))
    await theirs.change_holds(lambda holds: holds.update({second.id: second}))
    assert {hold.id for hold in await read.holds()} == {first.id, second.id}

    async def count(vectors: Vectors) -> None:
        for _ in range(12):
            await vectors.revise("it", ["n"], lambda metas: [Item("n", row(1), metas.get("n", 0) + 1)])

    async with anyio.create_task_group() as group:
        group.start_soon(count, here)
        group.start_soon(count, there)
    await here.refresh()
    assert (await here.get_item("it", "n")).metadata == 24
    for hold in (first, second):
        await ours.change_holds(lambda holds, id=hold.id: holds.pop(id) and None)  # type: ignore[misc]
    await third.refresh()
    assert HOLDS not in await third.ids("it")


async def test_an_index_in_use_before_its_creation_is_through_stays_the_same(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one beside it would not know what is added to the first."""
    here = opened(home)
    begin = lifecycle.begin

    async def early(objects: Objects, manifest: Manifest) -> None:
        await begin(objects, manifest)
        await here.add("it", [Item("early", row(1))])
        monkeypatch.setattr(here, "_first", here._indexes["it"], raising=False)

    monkeypatch.setattr(lifecycle, "begin", early)
    await here.create("it", 3)
    first = cast(Any, here)._first
    assert await here._index("it") is first
    assert await here.ids("it") == {"early"}


async def test_a_listing_while_the_first_write_makes_the_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was not there a moment ago is no other thing in its place."""
    vectors = opened(home)
    root = vectors._storage.bucket.root
    assert root is not None

    def made(path: Any) -> bool:
        if path == root:
            root.mkdir(parents=True, exist_ok=True)
        return os.path.exists(path)

    monkeypatch.setattr("lakehouse.engine.bucket.local.os.path.lexists", made)
    assert await vectors.names() == []
    assert await anyio.Path(root).is_dir()
