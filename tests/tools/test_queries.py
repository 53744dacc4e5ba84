"""Verified queries through the door: saved, found, run, refused when their datasets change, published as tools."""

import json
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, NotFound, TimedOut
from lakehouse.lake import examine
from lakehouse.rendered import render, rendered

pytestmark = pytest.mark.anyio
ORDERS = "id,city,year\n1,Rome,2024\n2,Oslo,2023\n3,Rome,2024\n"
BY_CITY = {
    "name": "by_city",
    "question": "How many orders does each city have in a year?",
    "sql": "SELECT city, count(*) AS n FROM Orders\nWHERE year = $year AND $since::DATE < '2025-01-01' GROUP BY ALL",
    "params": {
        "year": {"type": "integer", "example": 2024, "min": 2000},
        "since": {"type": "date", "default": "2024-01-01"},
    },
}
OPTIONS = {"embed.provider": "hash"}


@pytest.fixture
async def orders(lake: Lakehouse) -> Lakehouse:
    await lake.call("ingest_file", {"name": "orders", "content": ORDERS})
    return lake


@pytest.mark.slow
async def test_saved_found_run_verified_and_deleted(orders: Lakehouse, home: Path) -> None:
    saved = await orders.call("save_query", BY_CITY)
    assert saved["datasets"] == ["orders"] and saved["columns"][1] == {"name": "n", "type": "BIGINT"}
    assert "problem" not in saved and saved["saved"]
    answer = await orders.call("run_query", {"name": "by_city", "params": {"year": 2024}})
    assert answer["rows"] == [["Rome", 2]]
    one = {"name": "one", "question": "What is one?", "sql": "SELECT $x AS x", "params": {"x": 1}}
    await orders.call("save_query", one)
    listed = await orders.call("list_queries", {"search": "how many orders per city?"})
    assert [query["name"] for query in listed["queries"]] == ["by_city"] and listed["total"] == 1
    assert (await orders.call("list_queries"))["total"] == 2
    for given, words in (
        ({"year": 1999}, "params.year: .*2000"),
        ({"year": "many"}, "params.year"),
        ({}, "params.year"),
        ({"year": 2024, "since": "soon"}, "params.since: 'soon' is no date"),
        ({"year": 2024, "to": 1}, "params.to"),
    ):
        with pytest.raises(InvalidInput, match=words):
            await orders.call("run_query", {"name": "by_city", "params": given})
    with pytest.raises(Conflict, match="already"):
        await orders.call("save_query", BY_CITY)
    with pytest.raises(NotFound, match="no query 'by_sity'") as near:
        await orders.call("run_query", {"name": "by_sity"})
    assert "by_city" in near.value.fix
    await orders.call("delete_query", {"name": "by_city"})
    assert [path.name for path in (home / "queries").iterdir()] == ["one.yaml"]


NOT_SAVED: list[tuple[dict[str, Any], str]] = [
    ({"name": "Bad Name"}, "no name for a query"),
    ({"name": "run"}, "no name for a query"),
    ({"sql": "SELECT * FROM none"}, "no dataset 'none'"),
    ({"sql": "DELETE FROM orders"}, "read"),
    ({"params": {"year": {"type": "integer"}}}, "give it a default or an example"),
    ({"params": {"year": {"type": "integer", "default": "x"}}}, "params.year: 'x' does not fit"),
    ({"params": {"year": {"type": "whole", "default": 1}}}, "params.year.type"),
    ({"params": {"year": {"type": "string", "default": "a", "min": 1}}}, "has no min and max"),
    ({"params": {"json": 1}}, "no name for a parameter"),
    ({"params": {"from": 1}}, "no name for a parameter"),
    ({"params": {"year": [1]}}, "is no parameter"),
    ({"question": " "}, "question"),
]


async def test_what_is_not_saved(orders: Lakehouse, home: Path) -> None:
    for change, words in NOT_SAVED:
        given = BY_CITY | {"sql": "SELECT * FROM orders WHERE year = $year", "params": {"year": 2024}} | change
        with pytest.raises(InvalidInput, match=words):
            await orders.call("save_query", given)
            pytest.fail(f"{change} was saved")
    assert not (home / "queries").exists()


@pytest.mark.slow
async def test_a_changed_dataset_is_a_conflict_until_it_is_verified_again(orders: Lakehouse, home: Path) -> None:
    import pyarrow as pa

    sql = "SELECT count(*) AS n FROM orders"
    await orders.call("save_query", {"name": "how_many", "question": "How many orders?", "sql": sql})
    file = home / "queries" / "how_many.yaml"
    file.write_text("# A remark.\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    await orders.call("ingest_file", {"name": "orders", "content": ORDERS + "4,Bonn,2025\n"})  # rows are no drift
    assert (await orders.call("run_query", {"name": "how_many"}))["rows"] == [[4]]
    manifest = await orders.datasets.get("orders")

    async def other(_: Any) -> Any:

        from lakehouse.engine.datasets import Column, Draft

        columns = (Column("id", "string"), *manifest.columns[2:], Column("region", "string"))
        return Draft("ingest", columns, manifest.objects, manifest.row_count, (), (), False, {}, {})

    await orders.datasets.change("orders", other)
    said = "the schema of orders changed since this query was verified: city is gone; id was int64, is string; region"
    with pytest.raises(Conflict, match=said) as drifted:
        await orders.call("run_query", {"name": "how_many"})
    assert "verify_query how_many" in drifted.value.fix
    assert (await orders.call("list_queries"))["queries"][0]["problem"].startswith("the schema of orders changed")
    await commit(orders, "other", pa.table({"a": [1]}))
    await orders.datasets.change("orders", lambda _: _restored(manifest))
    await orders.call("verify_query", {"name": "how_many"})
    assert file.read_text(encoding="utf-8").startswith("# A remark.\n") and "region" not in file.read_text("utf-8")
    assert (await orders.call("run_query", {"name": "how_many"}))["rows"] == [[4]]


async def _restored(manifest: Any) -> Any:
    from lakehouse.engine.datasets import Draft

    return Draft("restore", manifest.columns, manifest.objects, manifest.row_count, (), (), False, {}, {})


@pytest.mark.slow
async def test_each_is_a_typed_tool_from_the_next_start(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project" / "queries"
    folder.mkdir(parents=True)
    (folder / "squares.yaml").write_text(
        "question: What are the first squares?\nsql: SELECT i * i AS n FROM range(1, $most + 1) r(i)\n"
        "params: {most: {type: integer, description: How many., default: 3, enum: [3, 4]}}\n",
        encoding="utf-8",
    )
    bad = {
        "torn": "question: [",
        "list": "- 1",
        "other": "question: a\nsql: SELECT 1\nwhat: 1",
        "named": "name: x\nquestion: a\nsql: SELECT 1",
        "run": "question: a\nsql: SELECT 1",
    }
    for name, text in bad.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    options = OPTIONS | {"plugins.folders": [folder.parent]}
    async with lakehouse.open(home, overrides=options) as lake:
        await lake.call("ingest_file", {"name": "orders", "content": ORDERS})
        await lake.call("save_query", BY_CITY)
        assert {Path(s.origin).stem for s in lake.catalogue.skipped} == set(bad)
        with pytest.raises(Conflict, match="never verified here"):
            await lake.call("queries_squares")
        await lake.call("verify_query", {"name": "squares"})
        assert (await lake.call("queries_squares", {"most": 4}))["rows"] == [[1], [4], [9], [16]]
        with pytest.raises(InvalidInput, match="one of 3, 4"):
            await lake.call("queries_squares", {"most": 5})
        with pytest.raises(Forbidden, match="plugin folder"):
            await lake.call("delete_query", {"name": "squares"})
        with pytest.raises(NotFound):
            lake.catalogue.find("queries_by_city")
        assert len((await lake.call("list_queries"))["problems"]) == len(bad)
    async with lakehouse.open(home, overrides=options) as lake:
        spec = lake.catalogue.find("queries_by_city")
        assert spec.facts.effect == "reads" and spec.facts.toolsets == ("sql",)
        assert spec.input_schema["properties"]["year"] == {"type": "integer", "minimum": 2000}
        assert spec.input_schema["required"] == ["year"] and spec.description.startswith(str(BY_CITY["question"]))
        assert (await lake.call("queries.by_city", {"year": 2023}))["rows"] == [["Oslo", 1]]

        def shown() -> Any:
            live = json.loads(json.dumps(render(lake.catalogue)))
            assert rendered([folder.parent], home) == live
            (home / "queries" / "by_city.yaml").unlink()
            return {t["name"] for t in live["tools"]} - {t["name"] for t in rendered([folder.parent], home)["tools"]}

        assert await anyio.to_thread.run_sync(shown) == {"queries.by_city"}
    report = await examine(home, overrides=options)
    told = {check["name"] for check in report["checks"] if not check["ok"] and check["name"].startswith("plugin ")}
    assert told == {f"plugin {folder / name}.yaml" for name in bad}


@pytest.mark.slow
async def test_a_query_that_takes_too_long_is_not_saved(home: Path) -> None:
    async with lakehouse.open(home, overrides=OPTIONS | {"sql.timeout_secs": 1}) as lake:
        sql = "SELECT sum(a.range * b.range) AS n FROM range(10000000) a, range(100000) b"
        with pytest.raises(TimedOut):
            await lake.call("save_query", {"name": "slow", "question": "Slow?", "sql": sql})
        assert (await lake.call("list_queries"))["total"] == 0
