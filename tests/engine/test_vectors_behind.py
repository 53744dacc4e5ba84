"""A process that is generations behind the others on its bucket: what it says is done is done."""

from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_vectors_durability import opened, row

from lakehouse.engine.vectors import IndexNotFound, Item, Vectors

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
