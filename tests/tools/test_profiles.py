"""Callers bound to a profile, through the door: two buckets hold a dataset of one name, and whoever has one of them
tries to come by the other."""

import inspect
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse, LakehouseError, NotFound, Upstream
from lakehouse.lake.parts import Parts
from lakehouse.lake.whole import Whole
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
EU, US = Caller(via="mcp", profile="eu"), Caller(via="http", profile="us")
FEW = Caller(via="mcp", profile="few")
NAMES = [
    "FROM pay",
    "SELECT * FROM eu.people",
    'SELECT * FROM "../eu/people"',
    "SELECT * FROM main.pay",
    "SELECT * FROM memory.main.pay",
    "DESCRIBE pay",
    "SUMMARIZE pay",
    "SELECT * FROM read_parquet('{eu}/datasets/pay/*.parquet')",
    "SELECT * FROM '{eu}/datasets/pay/x.parquet'",
    "SELECT * FROM glob('{eu}/**')",
    "SELECT * FROM query('FROM pay')",
    "SELECT * FROM query_table('pay')",
    "EXPLAIN SELECT * FROM pay",
]
ALL_TABLES = [
    *("SHOW TABLES", "SHOW ALL TABLES", "FROM duckdb_views()", "FROM duckdb_tables()", "FROM pg_catalog.pg_class"),
    *("FROM information_schema.tables", "FROM information_schema.columns"),
]
CLOSED: list[tuple[str, dict[str, Any]]] = [
    ("observer_recent", {}),
    ("observer_stats", {}),
    ("observer.stats_resource", {}),
    ("journal_query", {}),
    ("journal_append", {"action": "a", "entity_type": "b", "entity_id": "c"}),
    ("list_profiles", {}),
    ("set_profile", {"name": "eu", "bucket": "us"}),
    ("delete_profile", {"name": "eu"}),
    ("query_sql", {"sql": "FROM people", "profile": "eu"}),
    ("list_datasets", {"profile": "eu"}),
    ("get_manifest", {"name": "people", "profile": "eu"}),
    ("storage_get", {"key": "_profiles/eu.json"}),
    ("storage_list", {"prefix": "_journal/"}),
    ("doctor", {}),
]
BAD: list[tuple[dict[str, Any], type[LakehouseError]]] = [
    ({"name": "x", "bucket": "none"}, NotFound),
    ({"name": "../x", "bucket": "eu"}, InvalidInput),
    ({"name": "x", "bucket": "eu", "datasets": []}, InvalidInput),
    ({"name": "x", "bucket": "eu", "datasets": ["a/b"]}, InvalidInput),
]


@pytest.fixture
async def lake(home: Path, tmp_path: Path) -> AsyncIterator[Lakehouse]:
    """Buckets eu and us, each with `people`; eu has `pay`, too, which the profile few does not see."""
    buckets = [{"name": name, "url": (tmp_path / name).as_uri()} for name in ("eu", "us")]
    overrides = {"storage.buckets": buckets, "embed.provider": "hash", "ingest.roots": [str(tmp_path)]}
    async with lakehouse.open(home, overrides=overrides) as lake:
        for name in ("eu", "us"):
            await lake.call("set_profile", {"name": name, "bucket": name})
        await lake.call("set_profile", {"name": "few", "bucket": "eu", "datasets": ["people", "later"]})
        async with lake.within("eu"):
            await commit(lake, "people", {"who": ["anna"]})
            await commit(lake, "pay", {"sum": [7]})
        async with lake.within("us"):
            await commit(lake, "people", {"who": ["bob", "bill"]})
        yield lake


async def rows(lake: Lakehouse, sql: str, caller: Caller) -> Any:
    return (await lake.call("query_sql", {"sql": sql}, caller=caller))["rows"]


@pytest.mark.slow
async def test_each_sees_its_own_rows(lake: Lakehouse) -> None:
    """A-S27-1: the same name in two buckets, and never the other's."""
    assert await rows(lake, "SELECT who FROM people", EU) == [["anna"]]
    assert await rows(lake, "SELECT who FROM people ORDER BY 1", US) == [["bill"], ["bob"]]
    listed = await lake.call("list_datasets", {}, caller=US)
    assert [(one["name"], one["bucket"]) for one in listed["manifests"]] == [("people", "us")]
    assert await lake.call("datasets.names", {}, caller=FEW) == {"values": ["people"]}
    assert (await lake.call("get_manifest", {"name": "people", "version": 1}, caller=US))["row_count"] == 2
    assert (await lake.call("datasets.sample", {"name": "people"}, caller=FEW))["rows"] == [["anna"]]
    described = [str(await lake.call("profile_dataset", {"name": "people"}, caller=caller)) for caller in (US, EU)]
    assert ["anna" in text for text in described] == [False, True]
    card = await lake.call("schema_card", {}, caller=FEW)
    assert "people" in str(card) and "pay" not in str(card)
    # What a caller bound to none asks for by an argument is the same.
    assert (await lake.call("query_sql", {"sql": "FROM people", "profile": "us"}))["row_count"] == 2
    assert (await lake.call("list_datasets", {"profile": "few"}))["total"] == 1
    assert (await lake.call("get_manifest", {"name": "people", "profile": "eu"}))["bucket"] == "eu"
    with pytest.raises(NotFound, match="no profile 'none'"):
        await lake.call("list_datasets", {"profile": "none"})


@pytest.mark.slow
async def test_no_name_reaches_what_is_not_there(lake: Lakehouse, tmp_path: Path) -> None:
    """S27.1: by another spelling, by the path of its file, by what knows all tables."""
    for sql, caller in product(NAMES, (US, FEW)):
        with pytest.raises(LakehouseError) as failed:
            await rows(lake, sql.format(eu=tmp_path / "eu"), caller)
        assert failed.value.http in (400, 403, 404)
        assert "sum" not in f"{failed.value} {failed.value.data}" and "anna" not in str(failed.value)


@pytest.mark.slow
async def test_what_knows_all_tables_knows_the_profile_s(lake: Lakehouse) -> None:
    """S27.1: the catalogue of the engine itself has no other instance's names, where it may be read at all."""
    for view in ALL_TABLES:
        try:
            found = await rows(lake, view, US)
        except InvalidInput as refused:
            assert "pay" not in str(refused)
        else:
            assert "pay" not in str(found) and "anna" not in str(found)


@pytest.mark.slow
async def test_writing_stays_in_the_profile(lake: Lakehouse, tmp_path: Path) -> None:
    """A new name goes to the profile's bucket; one that the profile does not have cannot be made."""
    made = await lake.call("ingest_file", {"name": "later", "content": "a\n1\n"}, caller=FEW)
    assert (await lake.call("get_manifest", {"name": "later"}))["bucket"] == "eu" and made["version"] == 1
    with pytest.raises(NotFound, match="has no dataset 'other'"):
        await lake.call("ingest_file", {"name": "other", "content": "a\n1\n"}, caller=FEW)
    with pytest.raises(NotFound):
        await lake.call("ingest_file", {"name": "pay", "content": "sum\n8\n"}, caller=FEW)
    assert await rows(lake, "SELECT sum FROM pay", EU) == [[7]]


async def test_files_of_others_are_no_source(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """The rows of others lie in files of this machine: none may be ingested, by whatever path."""
    (tmp_path / "own.csv").write_text("a\n1\n", encoding="utf-8")
    assert (await lake.call("ingest_file", {"name": "own", "path": str(tmp_path / "own.csv")}, caller=US))["row_count"]
    (file,) = (tmp_path / "eu" / "datasets" / "pay").glob("*.parquet")
    (tmp_path / "link.parquet").symlink_to(file)
    (tmp_path / "folder").symlink_to(tmp_path / "eu")
    paths = [file, tmp_path / "link.parquet", tmp_path / "folder" / "datasets" / "pay" / file.name]
    paths += [tmp_path / "us" / ".." / "eu" / file.relative_to(tmp_path / "eu"), home / "observer" / "ops.jsonl"]
    paths += [tmp_path / "e*" / "datasets" / "pay" / "*.parquet", tmp_path, tmp_path / "eu" / "datasets" / "pay"]
    for path in paths:
        for via in ("mcp", "cli"):
            with pytest.raises(Forbidden):
                caller = Caller(via=via, profile="us")
                await lake.call("ingest_file", {"name": "theirs", "path": str(path), "source": "jsonl"}, caller=caller)
    for key in (f"datasets/pay/{file.name}", "_profiles/eu.json", "_journal/x", "_Vectors/x.csv"):
        with pytest.raises((NotFound, Forbidden)):
            await lake.call("ingest_file", {"name": "theirs", "object_key": key}, caller=US)
        with pytest.raises(Forbidden):
            await lake.call("register_dataset", {"name": "people", "objects": [{"key": key}]}, caller=FEW)


async def test_what_holds_for_one_is_judged_for_the_other(lake: Lakehouse) -> None:
    """The same file, beside the same version of the same name and rules, is checked against each bucket's own rows."""
    rule = [{"rule": "unique", "columns": ["who"]}]
    for caller in (EU, US):
        await lake.call("set_expectations", {"name": "people", "expectations": rule}, caller=caller)
    more = {"name": "people", "content": "who\nbob\n", "mode": "append"}
    assert (await lake.call("ingest_file", more, caller=EU))["row_count"] == 2
    with pytest.raises(InvalidInput, match="does not hold"):
        await lake.call("ingest_file", more, caller=US)


async def test_what_is_about_everybody_is_closed(lake: Lakehouse) -> None:
    """S27.1: calls, changes, profiles and the choice of another profile."""
    for (tool, arguments), caller in product(CLOSED, (US, FEW)):
        with pytest.raises(Forbidden):
            await lake.call(tool, arguments, caller=caller)


@pytest.mark.slow
async def test_results_are_found_by_whom_they_are_for(lake: Lakehouse) -> None:
    """S27.1: a handle of another profile is no handle; who is bound to none reads them all."""
    answer = await lake.call("query_sql", {"sql": "SELECT i FROM range(100) t(i)", "max_rows": 3}, caller=EU)
    handle = answer["handle"]
    assert (await lake.call("get_result", {"id": handle}, caller=EU))["row_count"] == 100
    assert (await lake.call("get_result", {"id": handle}))["row_count"] == 100
    for caller in (US, FEW):
        with pytest.raises(NotFound):
            await lake.call("get_result", {"id": handle}, caller=caller)
        with pytest.raises(NotFound):
            await lake.call("results.whole", {"id": handle.rpartition("/")[2]}, caller=caller)
        assert await lake.call("results.ids", {}, caller=caller) == {"values": []}
    mine = await lake.call("query_sql", {"sql": "SELECT i FROM range(9) t(i)", "max_rows": 3, "profile": "us"})
    assert (await lake.call("get_result", {"id": mine["handle"]}))["row_count"] == 9


async def test_damage_is_told_to_those_it_is_of(lake: Lakehouse, tmp_path: Path) -> None:
    """The names of damaged datasets are names, too."""
    (tmp_path / "eu" / "_catalog" / "pay" / f"{1:020d}.json").chmod(0o644)
    (tmp_path / "eu" / "_catalog" / "pay" / f"{1:020d}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "eu" / "_catalog" / "pay" / f"{2:020d}.json").write_text("{}", encoding="utf-8")
    await lake.datasets.refresh()
    assert "pay" in str((await lake.call("list_datasets", {}, caller=EU))["problems"])
    assert (await lake.call("list_datasets", {}, caller=FEW))["problems"] == []
    assert (await lake.call("list_datasets", {}, caller=US))["problems"] == []


@pytest.mark.slow
async def test_a_changed_profile_counts_at_once(lake: Lakehouse) -> None:
    """A reader's next call is bound to what the profile is now; without one it reaches nothing."""
    kept = (await lake.call("query_sql", {"sql": "SELECT i FROM range(9) t(i)", "max_rows": 3}, caller=FEW))["handle"]
    assert await rows(lake, "FROM people", FEW) == [["anna"]]
    await lake.call("set_profile", {"name": "few", "bucket": "us"})
    assert len(await rows(lake, "FROM people", FEW)) == 2
    with pytest.raises(NotFound):  # it may hold rows of what it was bound to
        await lake.call("get_result", {"id": kept}, caller=FEW)
    asked = await lake.call("query_history", {}, caller=FEW)  # nor what was asked then
    assert [one["sql"] for one in asked["queries"]] == ["FROM people"]
    await lake.call("delete_profile", {"name": "few"})
    with pytest.raises(NotFound, match="no profile 'few'"):
        await rows(lake, "SELECT 1", FEW)
    with pytest.raises(NotFound):
        await lake.call("delete_profile", {"name": "few"})
    found = await lake.call("list_profiles", {})
    assert [(one["name"], one["bucket"]) for one in found["profiles"]] == [("eu", "eu"), ("us", "us")]


@pytest.mark.slow
async def test_many_callers_at_once(lake: Lakehouse) -> None:
    """Calls of several profiles side by side, and of none: each stays in its own."""

    async def ask(caller: Caller | None, count: int) -> None:
        for _ in range(5):
            found = await lake.call("query_sql", {"sql": "SELECT count(*) FROM people"}, caller=caller)
            assert found["rows"] == [[count]]

    async with anyio.create_task_group() as tasks:
        for caller, count in ((EU, 1), (US, 2), (None, 1), (FEW, 1)):
            tasks.start_soon(ask, caller, count)


@pytest.mark.slow
async def test_a_lake_opened_for_a_profile(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """Attached to the owner: bound by its own settings, whatever a call says."""
    buckets = [{"name": name, "url": (tmp_path / name).as_uri()} for name in ("eu", "us")]
    async with lakehouse.open(home, overrides={"storage.buckets": buckets}, profile="us") as bound:
        assert bound.attached_to
        assert (await bound.call("query_sql", {"sql": "FROM people"}))["row_count"] == 2
        for wrong in (EU, Caller(profile="")):
            with pytest.raises(Forbidden):
                await bound.call("list_datasets", {}, caller=wrong)
        with pytest.raises(Forbidden):
            await bound.call("list_profiles", {})


async def test_bad_profiles(lake: Lakehouse) -> None:
    for arguments, error in BAD:
        with pytest.raises(error):
            await lake.call("set_profile", arguments)


async def test_a_damaged_profile_binds_to_nothing(lake: Lakehouse, home: Path) -> None:
    (home / "objects" / "_profiles" / "us.json").write_text('{"name": "us"', encoding="utf-8")
    lake.profiles._known.clear()
    with pytest.raises(Upstream, match="profile 'us' is damaged"):
        await rows(lake, "FROM people", US)


def test_every_part_is_divided_or_closed() -> None:
    """A part that is added to the lake is either one that a profile divides, or Whole, or known to hold no data."""
    divided = {"storage", "datasets", "ingest", "results", "sql", "exports", "queries", "planner"}
    divided |= {"vectors", "corpora", "matrix", "playbook", "workflows"}
    harmless = {"catalogue", "embed", "profile", "redactor", "processes", "history", "chat"}
    harmless |= {
        "expectations",
        "profiler",
    }  # they work on the datasets they are given, and keep what they find by content
    public = {name for name, part in vars(Parts).items() if name[0] != "_" and not inspect.isfunction(part)}
    assert {name for name in public if not isinstance(vars(Parts)[name], Whole)} == divided | harmless
