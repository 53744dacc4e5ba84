"""Expectations and quarantine through the door."""

import base64
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse

pytestmark = pytest.mark.anyio

RULES: list[tuple[dict[str, Any], int]] = [
    ({"rule": "unique", "column": "id"}, 3),
    ({"rule": "not_null", "columns": ["age"]}, 3),
    ({"rule": "range", "columns": ["day"], "max": "2024-03-01"}, 3),
    ({"rule": "range", "columns": ["age"], "min": 6}, 1),
    ({"rule": "allowed", "columns": ["s"], "values": ["a"]}, 2),
    ({"rule": "pattern", "columns": ["s"], "pattern": "^a"}, 2),
    ({"rule": "sql", "sql": "age > 5 OR age IS NULL -- don't :("}, 1),
]
BAD: list[dict[str, Any]] = [
    {"rule": "sql", "sql": "count(*) > 5"},
    {"rule": "sql", "sql": "true) OR (true"},
    {"rule": "sql", "sql": "1) = (2"},
    {"rule": "sql", "sql": "/*(*/true) UNION ALL SELECT 0 WHERE (true/*)*/"},
    {"rule": "sql", "sql": "true) LIMIT (0"},
    {"rule": "sql", "sql": "true -- '\n) OR (true -- '"},
    {"rule": "sql", "sql": " "},
    {"rule": "sql", "sql": "id IN (SELECT id FROM other)"},
    {"rule": "sql", "sql": "id IN (SELECT 1 FROM read_csv('/etc/passwd'))"},
    {"rule": "unique", "columns": ["none"]},
    {"rule": "range", "columns": ["age"], "min": "x"},
    {"rule": "pattern", "columns": ["s"], "pattern": "(("},
    {"rule": "range", "columns": ["age"]},
    {"rule": "sometimes", "columns": ["age"]},
]


@pytest.mark.slow
async def test_each_rule_says_which_row_breaks_it(lake: Lakehouse) -> None:
    content = "id,age,day,s\n1,5,2024-01-01,a\n2,6,2024-02-01,b\n2,,2025-01-01,\n"
    await lake.call("ingest_file", {"name": "t", "content": content})
    for rule, row in RULES:
        with pytest.raises(InvalidInput, match="does not hold") as refused:
            await lake.call("set_expectations", {"name": "t", "expectations": [rule]})
        assert [each["row"] for each in refused.value.data["rows"]] == [row], rule
    for rule in BAD:
        with pytest.raises(InvalidInput, match="expectations"):
            await lake.call("set_expectations", {"name": "t", "expectations": [rule]})
    with pytest.raises(InvalidInput, match="row_count"):
        await lake.call("set_expectations", {"name": "t", "expectations": [{"rule": "row_count", "min": 4}]})
    assert (await lake.call("get_manifest", {"name": "t"}))["version"] == 1
    warned = [{**rule, "severity": "warn"} for rule, _ in RULES]
    answer = await lake.call("set_expectations", {"name": "t", "expectations": warned})
    assert answer["holds"] and [each["count"] for each in answer["findings"]] == [1] * len(RULES)
    assert await lake.call("check_expectations", {"name": "t"}) == answer
    assert (await lake.call("set_expectations", {"name": "t", "expectations": []}))["findings"] == []


@pytest.mark.slow
async def test_every_later_version_is_gated(lake: Lakehouse) -> None:
    rules = [{"rule": "unique", "column": "id"}, {"rule": "row_count", "max": 4}]
    await lake.call("ingest_file", {"name": "t", "content": "id\n1\n2\n", "expectations": rules})
    for mode, content in (("replace", "id\n5\n\n5\n"), ("append", "id\n5\n5\n"), ("append", "id\n7\n\n2\n")):
        with pytest.raises(InvalidInput) as refused:
            await lake.call("ingest_file", {"name": "t", "content": content, "mode": mode})
        line = content.count("\n") if mode == "append" else 4
        assert [each["line"] for each in refused.value.data["rows"]] == [line]
    with pytest.raises(InvalidInput, match="row_count"):
        await lake.call("ingest_file", {"name": "t", "content": "id\n3\n4\n5\n", "mode": "append"})
    with pytest.raises(InvalidInput, match="row_count"):
        await lake.call(
            "ingest_file", {"name": "t", "content": "id\n1\n2\n3\n", "expectations": [{"rule": "row_count", "max": 2}]}
        )
    added = await lake.call("ingest_file", {"name": "t", "content": "id\n3\n", "mode": "append"})
    assert (added["version"], added["row_count"]) == (2, 3)
    with pytest.raises(InvalidInput, match="row_count"):  # a change that is no ingest
        await lake.call("set_expectations", {"name": "t", "expectations": [{"rule": "row_count", "min": 3}]})
        await lake.call("delete_rows", {"name": "t", "where": "id = 3"})
    assert (await lake.call("query_sql", {"sql": "SELECT count(*) FROM t"}))["rows"] == [[3]]


@pytest.mark.slow
async def test_quarantine_keeps_the_good_rows_and_the_others_apart(lake: Lakehouse) -> None:
    first = {"name": "t", "content": "id,n\n1,5\n", "expectations": [{"rule": "unique", "column": "id"}]}
    await lake.call("ingest_file", first)
    content = 'id,n\n1,7\n\n3,6\n1,70\nx,7\n4,5,6\n"9,1\n3,8\n5,50\n'
    ingest = {"name": "t", "content": content, "quarantine": True}
    for again in (False, True):
        answer = await lake.call("ingest_file", ingest)
        assert (answer["row_count"], answer["rejected"], answer["rejects"]) == (3, 5, "t_rejects")
        assert answer["existing"] is again
    found = await lake.call("query_sql", {"sql": 'SELECT line, "column", value, raw FROM t_rejects'})
    assert found["rows"] == [
        [5, "id", "1", "1,70"],
        [6, "id", "x", "x,7"],
        [7, None, "6", "4,5,6"],
        [8, None, '"9,1', '"9,1'],
        [9, "id", "3", "3,8"],
    ]
    assert (await lake.call("query_sql", {"sql": "SELECT id FROM t"}))["rows"] == [[1], [3], [5]]
    assert (await lake.call("get_manifest", {"name": "t_rejects"}))["version"] == 1


@pytest.mark.slow
async def test_rejects_of_appends_add_up_and_an_append_again_changes_nothing(lake: Lakehouse) -> None:
    await lake.call(
        "ingest_file", {"name": "t", "content": "id\n1\n", "expectations": [{"rule": "unique", "column": "id"}]}
    )
    for content in ("id\n1\n2\n", "id\n2\n3\n", "id\n2\n3\n"):
        append = {"name": "t", "content": content, "mode": "append", "quarantine": True}
        answer = await lake.call("ingest_file", append)
    assert (answer["row_count"], answer["existing"], answer["rejected"]) == (3, True, 1)
    assert (await lake.call("query_sql", {"sql": "SELECT raw FROM t_rejects"}))["rows"] == [["1"], ["2"]]


@pytest.mark.slow
async def test_what_cannot_be_set_aside_is_refused(lake: Lakehouse) -> None:
    await lake.call("ingest_file", {"name": "t_rejects", "content": "id\n1\n"})
    with pytest.raises(Conflict, match="t_rejects"):
        await lake.call("ingest_file", {"name": "t", "content": "a,b\n1,2\n3\n", "quarantine": True})
    with pytest.raises(InvalidInput, match="no row can be stored"):
        await lake.call("ingest_file", {"name": "u", "content": "a,b\n1\n3\n", "quarantine": True})
    with pytest.raises(InvalidInput, match="name"):
        await lake.call("ingest_file", {"name": "u" * 125, "content": "a\n1\n", "quarantine": True})
    assert (await lake.call("datasets.names", {}))["values"] == ["t_rejects"]


@pytest.mark.slow
async def test_quarantine_says_where_it_is_of_no_use(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "a.csv").write_text("id,n\n1,2\n")
    (folder / "b.csv").write_text("id,n\n1,2\n3\n")
    with pytest.raises(InvalidInput, match=r"b\.csv: line 3") as refused:
        await lake.call("ingest_file", {"name": "t", "path": str(folder), "quarantine": True})
    assert "quarantine sets aside rows of many files that break an expectation" in refused.value.fix
    (folder / "b.csv").write_text("id,n\n1,2\n")
    many = {"name": "t", "path": str(folder), "quarantine": True, "source_column": "file"}
    unique = {"expectations": [{"rule": "unique", "column": "id"}]}
    planned = await lake.call("plan_ingest", {**many, **unique})
    assert (planned["outcome"], planned["row_count"], planned["rejected"]) == ("new", 1, 1)
    assert [each["name"] for each in planned["columns"]] == ["id", "n", "file"]
    made = await lake.call("ingest_file", {**many, **unique})
    assert (made["row_count"], made["rejected"]) == (1, 1)


@pytest.mark.slow
async def test_a_plan_of_a_workbook(lake: Lakehouse) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book, out = openpyxl.Workbook(), io.BytesIO()
    for row in (["a title"], ["id"], [7]):
        book.active.append(row)
    book.save(out)
    content = base64.b64encode(out.getvalue()).decode()
    asked = {"name": "t", "content": content, "source": "xlsx", "sheet": "1", "header_row": 2}
    plan = await lake.call("plan_ingest", asked)
    assert (plan["outcome"], plan["row_count"], plan["columns"]) == ("new", 1, [{"name": "id", "type": "int64"}])
    with pytest.raises(Forbidden):
        await lake.call("plan_ingest", {"name": "t", "url": "https://example.com/x.csv"})


@pytest.mark.slow
async def test_a_plan_stores_nothing(lake: Lakehouse) -> None:
    plan = {"name": "t", "content": "id;n\n1;5\n2;6\n"}
    new = await lake.call("plan_ingest", plan)
    assert (new["outcome"], new["details"]["delimiter"], new["sample"]) == (
        "new",
        ";",
        [{"id": 1, "n": 5}, {"id": 2, "n": 6}],
    )
    assert await lake.call("datasets.names", {}) == {"values": []}
    await lake.call("ingest_file", {**plan, "expectations": [{"rule": "unique", "column": "id"}]})
    for content, outcome in (
        (plan["content"], "same"),
        ("id;n\n3;5\n", "version"),
        ("id;n\n1;5\n1;6\n", "broken"),
        ("id;n;x\n1;5;1\n", "drift"),
        ("id;n\n1;5;1\n", "unreadable"),
    ):
        assert (await lake.call("plan_ingest", {"name": "t", "content": content}))["outcome"] == outcome
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [1]}), table)
    binary = {"name": "u", "source": "parquet", "content": base64.b64encode(table.getvalue()).decode()}
    assert (await lake.call("plan_ingest", binary))["sample"] == [{"id": 1}]  # as ingest_file reads it
    assert (await lake.call("get_manifest", {"name": "t"}))["version"] == 1
