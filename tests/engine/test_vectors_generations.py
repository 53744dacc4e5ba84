"""Generations of an index: made, kept, read by `name@n`, swapped, rolled back, rebuilt beside what is live."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_vectors_durability import files_of, opened, row

from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import IndexNotFound, Item, Vectors
from lakehouse.errors import Conflict, InvalidInput

pytestmark = pytest.mark.anyio


def items(*names: str, add: int = 0) -> list[Item]:
    return [Item(name, row(sum(map(ord, name)) + add), name) for name in names]


async def replaced(vectors: Vectors, name: str, *ids: str, dimension: int = 3, model: str | None = None) -> None:
    made = await vectors.replacement(name, dimension, model)
    await made.add([Item(id, row(n)[:dimension], id) for n, id in enumerate(ids)])
    await made.publish({"ids": list(ids)})


async def test_each_way_to_make_one(home: Path) -> None:
    """S27.2: create, replace, rebuild and snapshot count on; two are kept beside the live one, and can be read."""
    events: list[Any] = []

    async def record(action: str, entity_type: str, entity_id: str, *, before: Any = None, after: Any = None) -> None:
        events.append((action, entity_id, (before or {}).get("generation"), (after or {}).get("generation")))

    vectors = Vectors(home, Storage(home, config.Storage()), config.Vectors(seal_rows=4), record)
    await vectors.create("it", 3, m=24)
    await vectors.add("it", items("a", "b"))
    await replaced(vectors, "it", "c", model="m")
    again = await vectors.rebuild("it")
    there = {path for path in files_of(home, "it") if path.parent.parent.name == "seg"}
    await again.add(items("d"))
    await again.publish({"by": "rebuild"})
    assert there < set(files_of(home, "it"))  # nothing is written again
    done = await vectors.snapshot("it")
    assert (done.previous, done.generation, done.count, done.previous_count, done.kept) == (3, 4, 2, 2, True)
    await vectors.add("it", items("e"))
    for store in (vectors, opened(home)):
        info = await store.get("it")
        assert (info.generation, info.count, info.model, info.builder) == (4, 3, "m", {"by": "rebuild"})
        assert [(g.generation, g.live, g.count) for g in info.generations] == [
            (2, False, 1),
            (3, False, 2),
            (4, True, 3),
        ]
        assert [await store.ids(f"it@{n}") for n in (2, 3, 4)] == [{"c"}, {"c", "d"}, {"c", "d", "e"}]
        past = await store.get("it@2")
        assert (past.name, past.generation, past.count, past.builder) == ("it@2", 2, 1, {"ids": ["c"]})
        assert {hit.id for hit in await store.search("it@3", row(0))} == {"c", "d"}
        assert (await store.get_item("it@3", "d")).metadata == "d"
        assert await store.metadata("it@3", ["d", "e"]) == {"d": "d"}
        with pytest.raises(IndexNotFound, match="no generation 1") as missing:
            await store.search("it@1", row(0))
        assert "2, 3, 4" in missing.value.fix
        with pytest.raises(InvalidInput):
            await store.get("it@x")
        for change in (store.add("it@3", items("z")), store.delete_item("it@3", "c"), store.delete("it@3")):
            with pytest.raises(Conflict, match="never changes"):
                await change
        assert await store.verify("it") == []
    assert (await (await vectors._index("it")).state()).manifest.m == 24
    made = [event for event in events if event[0] != "add"]
    assert made == [
        ("create", "it", None, None),
        ("replace", "it", None, 2),
        ("replace", "it", None, 3),
        ("snapshot", "it", None, 3),
    ]


async def test_a_rebuild_begins_as_the_index_is(home: Path) -> None:
    """Puts and deletes are unseen until they are published; what others do meanwhile comes on top, and may merge
    what this began with."""
    vectors = opened(home, seal_rows=6)
    await vectors.create("it", 3, model="m")
    await vectors.add("it", items(*"abcdefg"))
    await vectors.add("it", items("h"))
    made = await vectors.rebuild("it")
    assert (made.dimension, made.model, made.count) == (3, "m", 8)
    assert await made.delete_many(["a", "h", "none"]) == 2
    assert vars(await made.add([*items("b", add=5), *items("new"), Item("c", row(50))])) == {"added": 1, "updated": 2}
    assert await made.metadata(["b", "c", "a"]) == {"b": "b", "c": "c"}
    assert await vectors.ids("it") == set("abcdefgh")
    await vectors.add("it", items(*"vwxyz"))  # it is sealed and merged meanwhile
    await vectors.add("it", [Item("b", row(99), "later")])
    await vectors.delete_many("it", ["d", "v"])
    await made.publish({"by": "rebuild"})
    await made.discard()
    expected = set("bcefgwxyz") | {"new"}
    for store in (vectors, opened(home)):
        assert await store.ids("it") == expected
        info = await store.get("it")
        assert (info.generation, info.count, info.builder, info.model) == (2, 10, {"by": "rebuild"}, "m")
        assert (await store.get_item("it", "b")).metadata == "later"
        assert (await store.search("it", row(50), 1))[0].id == "c"
        assert await store.ids("it@1") == set("abcefghwxyz")
        assert await store.verify("it") == []
    await vectors.rollback("it")
    assert await opened(home).ids("it") == set("abcefghwxyz")


async def test_a_rebuild_given_up_or_overtaken(home: Path) -> None:
    vectors = opened(home)
    await vectors.create("it", 3)
    await vectors.add("it", items(*"abc"))
    await vectors.snapshot("it")
    before = files_of(home, "it")
    made = await vectors.rebuild("it")
    await made.add(items("x"))
    await made._spill()
    assert len(files_of(home, "it")) > len(before)
    await made.discard()
    assert files_of(home, "it") == before
    for overtake in (lambda: vectors.rollback("it"), lambda: replaced(vectors, "it", "q")):
        made = await vectors.rebuild("it")
        await made.add(items("x"))
        await overtake()
        now = await vectors.ids("it")
        with pytest.raises(Conflict, match="meanwhile"):
            await made.publish(None)
        await made.discard()
        assert await opened(home).ids("it") == now
    with pytest.raises(IndexNotFound):
        await vectors.rebuild("none")


@pytest.mark.slow
async def test_rebuilds_of_any_kind_end_as_if_done_one_after_the_other(home: Path) -> None:
    """What is changed privately comes first, what others did meanwhile comes on top; sealing and merging change
    nothing. An item without metadata keeps what the index had for it."""
    dice = random.Random(5)
    vectors = opened(home, seal_rows=5)
    await vectors.create("it", 3)
    live: dict[str, int] = {}

    async def some(store: Any, held: dict[str, int]) -> set[str]:
        names = [f"v{dice.randrange(25)}" for _ in range(dice.randint(1, 6))]
        if dice.random() < 0.3:
            await store.delete_many("it", names) if store is vectors else await store.delete_many(names)
            for name in names:
                held.pop(name, None)
            return set(names)
        mark = dice.randrange(10**6)
        put = [Item(name, row(mark % 50), mark) for name in names]
        await vectors.add("it", put) if store is vectors else await store.add(put)
        held.update(dict.fromkeys(names, mark))
        return set(names)

    for turn in range(12):
        for _ in range(dice.randrange(4)):
            await some(vectors, live)
        made, mine, touched = await vectors.rebuild("it"), dict(live), set[str]()
        began = dict(live)
        for _ in range(dice.randrange(8)):
            if dice.random() < 0.5:
                await some(made, mine)
            else:
                touched |= await some(vectors, live)
        await made.publish({"turn": turn})
        for name in touched:
            if live.get(name) != began.get(name):  # what was put and taken away again has not changed
                mine.pop(name, None)
                mine |= {name: live[name]} if name in live else {}
        live = mine
        for store in (vectors, opened(home)):
            assert await store.metadata("it", [*await store.ids("it")]) == live, turn
    assert await vectors.verify("it") == []
    assert (await vectors.get("it")).generation == 13
