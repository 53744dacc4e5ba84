"""Rows as files through the door: every format keeps what it can, and what it cannot keep is refused, not cut."""

import csv
import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, NotFound, TooLarge, Unprocessable
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio
SQL = """SELECT i, (i + 0.25)::DECIMAL(9,2) AS d, CASE WHEN i = 1 THEN NULL ELSE 'ü "x",' || chr(10) || i END AS t,
    TIMESTAMPTZ '2024-03-01 12:00:00+02' AS z, TIMESTAMP '2024-03-01 12:00:00.5' AS p, [i, NULL] AS l,
    CASE i WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-inf'::DOUBLE ELSE 0.1 END AS f, 9007199254740993 AS big,
    '' AS none, uuid '00000000-0000-0000-0000-00000000000a' AS u, '=1+1' AS formula, DATE '1850-01-01' AS old
    FROM range(3000) r(i) ORDER BY i"""
NAMES = "i d t z p l f big none u formula old".split()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def export(lake: Lakehouse, path: Path, sql: str = SQL, **more: Any) -> dict[str, Any]:
    made = await lake.call("export_sql", {"sql": sql, "path": str(path), **more})
    assert made["size_bytes"] == path.stat().st_size and made["path"] == str(path)
    return dict(made)


@pytest.mark.slow
async def test_every_format_keeps_rows_and_types(lake: Lakehouse, tmp_path: Path) -> None:
    for name in ("parquet", "arrow", "arrows", "csv", "json", "jsonl", "xlsx"):
        made = await export(lake, tmp_path / f"out.{name}")
        assert (made["format"], made["row_count"]) == (name, 3000)
    noon = datetime.datetime(2024, 3, 1, 10, tzinfo=datetime.UTC)
    for table in (
        pq.read_table(tmp_path / "out.parquet"),
        pa.ipc.open_file(tmp_path / "out.arrow").read_all(),
        pa.ipc.open_stream(tmp_path / "out.arrows").read_all(),
    ):
        assert table.column_names == NAMES and table.num_rows == 3000
        row = table.slice(2, 1).to_pylist()[0]
        assert (row["d"], row["z"], row["l"], row["f"]) == (Decimal("2.25"), noon, [2, None], 0.1)
        assert table.schema.field("d").type == pa.decimal128(9, 2) and row["big"] == 2**53 + 1
        assert table["f"][1].as_py() == float("-inf")
    cells = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"), newline="")))
    assert cells[0] == NAMES and len(cells) == 3001
    moments = ["2024-03-01T10:00:00Z", "2024-03-01T12:00:00.500000"]
    assert cells[3][:7] == ["2", "2.25", 'ü "x",\n2', *moments, "[2,null]", "0.1"]
    assert [row[6] for row in cells[1:3]] == ["NaN", "-Infinity"] and cells[2][10] == "=1+1"
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.count(b"\r\n") == 3001 and b"1,1.25,,2024" in raw and b',"",00000000-' in raw  # null is not empty text
    objects = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert objects == lines and list(objects[2]) == NAMES
    assert objects[2] | {"i": 2, "d": "2.25", "l": [2, None], "big": 2**53 + 1, "none": ""} == objects[2]
    assert objects[0]["f"] is None and objects[1]["t"] is None
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(tmp_path / "out.xlsx", read_only=True)
    rows = list(book.active.iter_rows())
    book.close()
    assert [cell.value for cell in rows[0]] == NAMES and len(rows) == 3001
    found = {name: cell.value for name, cell in zip(NAMES, rows[3], strict=True)}
    assert found["d"] == 2.25 and found["p"] == datetime.datetime(2024, 3, 1, 12, 0, 0, 500000)
    assert (found["z"], found["l"], found["old"]) == ("2024-03-01T10:00:00Z", "[2,null]", "1850-01-01")
    assert found["big"] == "9007199254740993"  # a cell keeps 15 digits: as text, none is lost
    assert found["formula"] == "=1+1" and rows[3][10].data_type == "s"


@pytest.mark.slow
async def test_a_guarded_csv_has_no_formulas(lake: Lakehouse, tmp_path: Path) -> None:
    sql = "SELECT '=cmd()' AS \"@a\", '-x' AS b, -1 AS n, 'plain' AS c, '@y' AS d"
    await export(lake, tmp_path / "g.csv", sql, guard_formulas=True)
    assert (tmp_path / "g.csv").read_bytes() == b"'@a,b,n,c,d\r\n'=cmd(),'-x,-1,plain,'@y\r\n"
    with pytest.raises(InvalidInput, match="it is for csv"):
        await export(lake, tmp_path / "g.json", sql, guard_formulas=True)
    assert files_in(tmp_path) == ["g.csv", "home"]


@pytest.mark.slow
async def test_parameters_no_rows_and_as_of(lake: Lakehouse, tmp_path: Path) -> None:
    for rows in ("1\n", "1\n2\n"):
        await lake.call("ingest_file", {"name": "orders", "content": "id\n" + rows})
    sql = "SELECT * FROM orders WHERE id < $most"
    for as_of, count in ((None, 2), (1, 1)):
        made = await export(lake, tmp_path / "o.csv", sql, params={"most": 9}, overwrite=True, **{"as_of": as_of})
        assert made["row_count"] == count
    made = await export(lake, tmp_path / "none.parquet", sql, params={"most": 0})
    assert made["row_count"] == 0 and pq.read_table(tmp_path / "none.parquet").column_names == ["id"]


@pytest.mark.slow
async def test_what_a_format_cannot_hold_is_refused_and_leaves_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    wide = ", ".join(f"{n} AS c{n}" for n in range(2100))
    long = "SELECT 'x' AS a UNION ALL SELECT repeat('y', 32768) ORDER BY 1"
    cases: list[tuple[str, str, type[Exception], str]] = [
        ("xlsx", "SELECT i FROM range(1048576) r(i)", TooLarge, "1,048,576 rows and a line of names"),
        ("xlsx", long, TooLarge, "row 2, column 'a': its 32,768 characters"),
        ("json", "SELECT 1 AS a, 2 AS a", Unprocessable, "two columns are called 'a'"),
        ("parquet", "SELECT 1 AS a, 2 AS A", Unprocessable, "two columns are called 'A'"),
        ("csv", "SELECT rol FROM range(3)", InvalidInput, "rol"),
        ("csv", "COPY (SELECT 1) TO 'x'", InvalidInput, "not a read"),
    ]
    for name, sql, error, said in cases:
        with pytest.raises(error, match=said):
            await export(lake, tmp_path / f"out.{name}", sql)
    await export(lake, tmp_path / "wide.csv", f"SELECT {wide}")
    await export(lake, tmp_path / "twice.csv", "SELECT 1 AS a, 2 AS a")
    assert files_in(tmp_path) == ["home", "twice.csv", "wide.csv"]
    assert not [path for path in (tmp_path / "home" / "tmp").iterdir() if path.name.startswith("export-")]


@pytest.mark.slow
async def test_limits_are_refused_and_leave_nothing(home: Path, tmp_path: Path) -> None:
    limits = {"export.max_bytes": 100_000, "sql.export_timeout_secs": 2, "embed.provider": "hash"}
    async with lakehouse.open(home, overrides=limits) as lake:
        for name in ("parquet", "csv", "arrow"):
            with pytest.raises(TooLarge, match=r"over the limit of 100,000 bytes"):
                await export(lake, tmp_path / f"o.{name}", "SELECT random() AS x FROM range(50000)")
        with pytest.raises(TooLarge, match=r"the file is over the limit of 100,000 bytes"):  # its rows are not
            await export(
                lake, tmp_path / "o.json", "SELECT i::TINYINT AS a_rather_long_name FROM range(127) r(i), range(40)"
            )
        with pytest.raises(lakehouse.TimedOut) as late:
            await export(
                lake, tmp_path / "o.csv", "SELECT sum(a.range * b.range) FROM range(10000000) a, range(100000) b"
            )
        assert "sql.export_timeout_secs" in late.value.fix
        assert files_in(tmp_path) == ["home"]


@pytest.mark.slow
async def test_where_files_may_be_written(lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a shell anywhere; for an agent below the home directory, nothing hidden; for other machines nowhere."""
    user = tmp_path / "user"
    (user / ".ssh").mkdir(parents=True)
    (user / "out").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(user))
    sql = "SELECT 1 AS a"

    async def over(caller: Caller, path: Path, **more: Any) -> Any:
        return await lake.call("export_sql", {"sql": sql, "path": str(path), **more}, caller=caller)

    agent = Caller("mcp")
    await over(agent, user / "a.csv")
    for path in (tmp_path / "b.csv", user / ".ssh" / "b.csv", user / ".b.csv", user / "out" / "b.csv"):
        with pytest.raises(Forbidden, match="not in a place that may be written to"):
            await over(agent, path)
    with pytest.raises(Forbidden, match="none of those may be named"):
        await over(Caller("http", remote=True), user / "b.csv")
    for path, given in ((user / "b.sh", None), (user / "b.sh", "csv"), (user / "b.csv", "json")):
        with pytest.raises(InvalidInput, match="does not end in"):
            await over(agent, path, **({"format": given} if given else {}))
    with pytest.raises(Conflict, match="is there already"):
        await over(agent, user / "a.csv")
    (user / "link.csv").symlink_to(tmp_path / "target.csv")
    with pytest.raises(Conflict, match="is there already"):
        await over(agent, user / "link.csv")
    await over(agent, user / "link.csv", overwrite=True)  # the link is replaced, not what it points to
    assert not (user / "link.csv").is_symlink() and not (tmp_path / "target.csv").exists()
    await over(Caller("cli"), tmp_path / "c.txt", format="csv")
    with pytest.raises(InvalidInput, match="there is no folder"):
        await over(Caller("cli"), tmp_path / "no" / "c.csv")
    with pytest.raises(InvalidInput, match="is no path"):
        await lake.call("export.sql", {"sql": "SELECT 1", "path": f"{tmp_path}/\0.csv"})
    with pytest.raises(InvalidInput, match="is a folder"):
        await over(Caller("cli"), user / ".ssh", format="csv")
    with pytest.raises(Forbidden, match="read-only"):
        await over(Caller("cli", read_only=True), tmp_path / "d.csv")


@pytest.mark.slow
async def test_results_are_exported_whole_or_not(home: Path, tmp_path: Path) -> None:
    limits = {"sql.max_rows": 5, "sql.max_handle_rows": 50, "embed.provider": "hash"}
    async with lakehouse.open(home, overrides=limits) as lake:
        whole = (await lake.call("query_sql", {"sql": "SELECT i FROM range(40) r(i)"}))["handle"]
        cut = (await lake.call("query_sql", {"sql": "SELECT i FROM range(60) r(i)"}))["handle"]
        table = await lake.results.keep_json({"columns": [{"name": "a"}, {"name": "b"}], "rows": [[1, "x"], [2, None]]})
        value = await lake.results.keep_json({"text": "é"})

        async def kept(id: str, name: str) -> Path:
            path = tmp_path / name
            path.unlink(missing_ok=True)
            await lake.call("export_result", {"id": id, "path": str(path)})
            return path

        assert pq.read_table(await kept(whole, "a.parquet"))["i"].to_pylist() == list(range(40))
        assert pa.ipc.open_file(await kept(whole, "a.arrow")).read_all().num_rows == 40
        with pytest.raises(TooLarge, match="holds 50 rows, and there are more") as refused:
            await kept(cut, "b.csv")
        assert "export_sql" in refused.value.fix
        assert (await kept(table, "t.csv")).read_bytes() == b"a,b\r\n1,x\r\n2,\r\n"
        assert json.loads((await kept(table, "t.json")).read_text()) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
        assert json.loads((await kept(value, "v.json")).read_text()) == {"text": "é"}
        for id, name, words in ((table, "t.parquet", "without types"), (value, "v.csv", "not a table")):
            with pytest.raises(InvalidInput, match=words):
                await kept(id, name)
        with pytest.raises(NotFound):
            await kept("0" * 32, "n.csv")
        assert files_in(tmp_path) == ["a.arrow", "a.parquet", "home", "t.csv", "t.json", "v.json"]


@pytest.mark.slow
async def test_what_an_agent_is_shown_a_part_of_has_types(lake: Lakehouse, tmp_path: Path) -> None:
    """An answer that is cut for MCP alone is kept as rows with types, so that it is exported with them."""
    sql = "SELECT i::DECIMAL(9,2) AS d, repeat('x', 50) AS t FROM range(2000) r(i)"
    shown, text = await lake.answer("query_sql", {"sql": sql}, 50_000, caller=Caller("mcp"))
    assert len(text) <= 50_000 and shown["truncated"] and shown["complete"] and shown["row_count"] == 2000
    await lake.call("export_result", {"id": shown["handle"], "path": str(tmp_path / "o.parquet")})
    assert pq.read_schema(tmp_path / "o.parquet").field("d").type == pa.decimal128(9, 2)


@pytest.mark.slow
async def test_a_cancelled_export_leaves_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    begun = anyio.Event()

    async def heard(done: float, total: float | None, message: str) -> None:
        begun.set()

    async with anyio.create_task_group() as group:
        given = {"sql": "SELECT i, repeat('x', 100) AS t FROM range(900000) r(i)", "path": str(tmp_path / "o.json")}
        group.start_soon(lambda: lake.call("export_sql", given, progress=heard))
        await begun.wait()
        group.cancel_scope.cancel()
    assert files_in(tmp_path) == ["home"]
    assert not [path for path in (tmp_path / "home" / "tmp").iterdir() if not path.name.startswith("sql-")]


async def test_a_missing_extra_is_named(lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.engine.export import sheets

    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(lakehouse.NotInstalled, match="excel"):
        list(sheets.write_xlsx(tmp_path / "o.xlsx", ["a"], [], [""], str(tmp_path)))
