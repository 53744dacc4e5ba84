"""Profiles that name indexes and corpora: readers have those, by their names for them, and no others."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, LakehouseError, NotFound
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
EU, US, NONE = (Caller(via="mcp", profile=name) for name in ("eu", "us", "none"))
TEXTS = {"eu": ["red apples", "green pears"], "us": ["red cars", "blue boats", "green trains"]}


@pytest.fixture
async def lake(home: Path, tmp_path: Path) -> AsyncIterator[Lakehouse]:
    """Buckets eu and us, each with `texts` and a corpus of it, which the profiles have as `docs`; and a raw index."""
    buckets = [{"name": name, "url": (tmp_path / name).as_uri()} for name in ("eu", "us")]
    async with lakehouse.open(home, overrides={"storage.buckets": buckets, "embed.provider": "hash"}) as lake:
        for name, texts in TEXTS.items():
            more = {"indexes": {"docs": f"{name}-docs"}, "defaults": {"k": 1}}
            await lake.call("set_profile", {"name": name, "bucket": name, "corpora": ["later"], **more})
            async with lake.within(name):
                await commit(lake, "texts", {"id": [f"{name}{n}" for n in range(len(texts))], "text": texts})
            built = {"dataset": "texts", "text": ["text"], "id": "id"}
            made = await lake.call("build_corpus", {"name": "docs", **built}, caller=Caller(profile=name))
            assert (made["name"], made["count"]) == ("docs", len(texts))
        await lake.call("set_profile", {"name": "none", "bucket": "eu"})
        await lake.call("create_index", {"name": "raw", "dimension": 2})
        yield lake


async def ids(lake: Lakehouse, caller: Caller | None, **more: Any) -> list[tuple[str, str]]:
    found = await lake.call("matrix_search", {"query_text": "red", **more}, caller=caller)
    return sorted((hit["corpus"], hit["id"]) for hit in found["results"])


async def test_each_has_its_own_indexes(lake: Lakehouse) -> None:
    """A-S27-1: hits, lists and items of what the profile names, by its own names; defaults hold where nothing is
    said."""
    assert await ids(lake, US, k=9) == [("docs", f"us{n}") for n in range(3)]
    assert await ids(lake, EU, k=9, corpora=["docs"]) == [("docs", f"eu{n}") for n in range(2)]
    assert len(await ids(lake, EU)) == 1
    assert len(await ids(lake, None)) == 5
    for caller, count in ((EU, 2), (US, 3)):
        listed = await lake.call("list_indexes", {}, caller=caller)
        assert [(one["name"], one["count"], one["generation"]) for one in listed["indexes"]] == [("docs", count, 1)]
        assert [one["name"] for one in (await lake.call("matrix_corpora", {}, caller=caller))["corpora"]] == ["docs"]
    vector = (await lake.call("get_vector", {"index": "docs", "id": "eu0"}, caller=EU))["vector"]
    assert len((await lake.call("search_vectors", {"index": "docs", "vector": vector}, caller=EU))["results"]) == 1
    assert (
        len((await lake.call("search_vectors", {"index": "docs", "vector": vector, "k": 5}, caller=EU))["results"]) == 2
    )
    listed = await lake.call("list_profiles", {})
    assert listed["profiles"][0] == {
        "name": "eu",
        "bucket": "eu",
        "indexes": {"docs": "eu-docs"},
        "corpora": ["later"],
        "defaults": {"k": 1},
    }


OUTSIDE: list[tuple[str, dict[str, Any]]] = [
    ("get_index", {"name": "{other}"}),
    ("get_vector", {"index": "{other}", "id": "us0"}),
    ("search_vectors", {"index": "{other}", "vector": [1, 0]}),
    ("add_vectors", {"index": "{other}", "items": [{"id": "a", "vector": [1, 0]}]}),
    ("delete_vector", {"index": "{other}", "id": "us0"}),
    ("create_index", {"name": "fresh", "dimension": 2}),
    ("build_corpus", {"name": "fresh", "dataset": "texts", "text": ["text"], "id": "id"}),
    ("matrix_search", {"query_text": "red", "corpora": ["{other}"]}),
    ("matrix_search", {"query_text": "red", "corpora": ["docs", "{other}"]}),
]


async def test_others_are_not_there(lake: Lakehouse) -> None:
    """S27.1: names out of scope are 404, and no message says what else there is."""
    for other in ("us-docs", "eu-docs", "raw", "dogs", "docs@7"):
        for tool, arguments in OUTSIDE:
            given = {name: other if value == "{other}" else value for name, value in arguments.items()}
            if "corpora" in given:
                given["corpora"] = [other if name == "{other}" else name for name in arguments["corpora"]]
            with pytest.raises(LakehouseError) as failed:
                await lake.call(tool, given, caller=EU)
            refused = failed.value.http == 409 and other == "docs@7"  # a generation is never changed
            assert failed.value.http == 404 or refused, (tool, other, failed.value)
            assert "us-docs" not in f"{failed.value}".replace(other, "") and "raw" not in f"{failed.value}".replace(
                other, ""
            )
    with pytest.raises(NotFound, match="'dogs'") as near:
        await lake.call("get_index", {"name": "dogs"}, caller=EU)
    assert near.value.fix == "Did you mean docs?"


async def test_a_profile_that_names_none_has_none(lake: Lakehouse) -> None:
    assert (await lake.call("list_indexes", {}, caller=NONE))["count"] == 0
    assert (await lake.call("matrix_corpora", {}, caller=NONE))["count"] == 0
    for corpora in (None, ["eu-docs"]):
        with pytest.raises(NotFound):
            await lake.call("matrix_search", {"query_text": "red", "corpora": corpora}, caller=NONE)
    assert "hot_swap" not in (await lake.call("list_datasets", {}, caller=NONE))["manifests"][0]
    assert (await lake.call("list_datasets", {}, caller=US))["manifests"][0]["hot_swap"]["generation"] == 1


async def test_what_is_written_goes_to_what_is_bound(lake: Lakehouse) -> None:
    """Items, and an index the profile names that is not there yet; nothing that takes an index from others."""
    vector = (await lake.call("get_vector", {"index": "docs", "id": "eu0"}, caller=EU))["vector"]
    await lake.call("add_vectors", {"index": "docs", "items": [{"id": "more", "vector": vector}]}, caller=EU)
    assert (await lake.call("get_index", {"name": "eu-docs"}))["count"] == 3
    await lake.call("create_index", {"name": "later", "dimension": 2}, caller=EU)
    assert (await lake.call("get_index", {"name": "later"}))["dimension"] == 2
    for tool, more in (
        ("delete_index", {}),
        ("swap_index", {"generation": 1}),
        ("rollback_index", {}),
        ("snapshot_index", {}),
    ):
        with pytest.raises(Forbidden):
            await lake.call(tool, {"name": "docs", **more}, caller=EU)


async def test_an_alias_may_be_a_generation(lake: Lakehouse) -> None:
    """S27.2: readers of one stay with it while the index goes on, and change nothing of it."""
    await lake.call("snapshot_index", {"name": "eu-docs"})
    await lake.call("delete_vector", {"index": "eu-docs", "id": "eu0"})
    await lake.call("set_profile", {"name": "old", "bucket": "eu", "indexes": {"docs": "eu-docs@1"}})
    old = Caller(profile="old")
    assert await ids(lake, old, k=9) == [("docs", "eu0"), ("docs", "eu1")]
    assert await ids(lake, EU, k=9) == [("docs", "eu1")]
    assert await ids(lake, EU, k=9, corpora=["docs@1"]) == [("docs@1", "eu0"), ("docs@1", "eu1")]
    shown = await lake.call("get_index", {"name": "docs"}, caller=old)
    assert (shown["name"], shown["generation"], shown["count"]) == ("docs", 1, 2)
    assert [
        one["generation"] for one in (await lake.call("get_index", {"name": "docs"}, caller=EU))["generations"]
    ] == [1, 2]
    for tool, more in (("add_vectors", {"items": [{"id": "a", "vector": [1]}]}), ("delete_vector", {"id": "eu1"})):
        with pytest.raises(Conflict, match="never changes"):
            await lake.call(tool, {"index": "docs", **more}, caller=old)
    swap = (await lake.call("list_datasets", {}, caller=EU))["manifests"][0]["hot_swap"]
    assert swap["generation"] == 2
    assert (await lake.call("list_datasets", {}, caller=old))["manifests"][0]["hot_swap"]["generation"] == 1


async def test_activation_opens_and_checks(lake: Lakehouse) -> None:
    more = {
        "datasets": ["texts", "gone"],
        "indexes": {"docs": "eu-docs", "old": "eu-docs@8"},
        "corpora": ["raw", "later"],
    }
    await lake.call("set_profile", {"name": "eu", "bucket": "eu", **more})
    found = await lake.call("activate_profile", {"name": "eu"})
    assert (found["ready"], found["datasets"], found["missing"]) == (False, ["texts"], ["gone"])
    shown = {one["name"]: one for one in found["indexes"]}
    docs = shown["docs"]
    assert (docs["index"], docs["generation"], docs["count"], "problem" in docs) == ("eu-docs", 1, 2, False)
    assert (shown["raw"]["dimension"], "problem" in shown["raw"]) == (2, False)
    assert "no generation 8" in shown["old"]["problem"] and "later" in shown["later"]["problem"]
    assert (await lake.call("activate_profile", {"name": "us"}, caller=US))["ready"] is False
    await lake.call("set_profile", {"name": "us", "bucket": "us", "indexes": {"docs": "us-docs"}})
    assert (await lake.call("activate_profile", {"name": "us"}))["ready"] is True
    with pytest.raises(Forbidden):
        await lake.call("activate_profile", {"name": "eu"}, caller=US)
    with pytest.raises(NotFound):
        await lake.call("activate_profile", {"name": "nobody"})


BAD: list[dict[str, Any]] = [
    {"indexes": {"a/b": "docs"}},
    {"indexes": {"a": "docs@x"}},
    {"indexes": {"a": "a b"}},
    {"corpora": ["docs@1"]},
    {"indexes": {"docs": "x"}, "corpora": ["docs"]},
    {"defaults": {"k": 0}},
    {"defaults": {"top": 3}},
]


async def test_bad_bindings(lake: Lakehouse) -> None:
    for more in BAD:
        with pytest.raises(InvalidInput):
            await lake.call("set_profile", {"name": "x", "bucket": "eu", **more})
