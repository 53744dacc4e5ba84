"""Generations of an index: made, kept, read by `name@n`, swapped, rolled back, rebuilt beside what is live."""

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
    await again.add(items("d"))
    await again.publish({"by": "rebuild"})
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
    """Puts and deletes are unseen until they are published; what others do meanwhile comes on top; nothing old is
    written again."""
    vectors = opened(home, seal_rows=6)
    await vectors.create("it", 3, model="m")
    await vectors.add("it", items(*"abcdefg"))
    await vectors.add("it", items("h"))
    old = {path for path in files_of(home, "it") if path.parent.parent.name == "seg"}
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
    assert len(old & set(files_of(home, "it"))) == len(old)
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
