"""Answers: rows and types, parameters, what is too large, what is wrong, and what datasets are seen."""

import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest

import lakehouse
from lakehouse import InvalidInput, Lakehouse, TimedOut, TooLarge, Upstream
from lakehouse.engine.results import RowPage

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Register = Callable[..., Awaitable[Path]]
SMALL = {"sql.max_rows": 100, "sql.max_bytes": 20_000, "sql.max_handle_rows": 5_000, "sql.max_handle_bytes": 2_000_000}
PEOPLE = pa.table({"id": [1, 2, 3], "name": ["ann", "bob", None]})


async def test_columns_types_and_rows(lake: Lakehouse, register: Register) -> None:
    """A-S8-1."""
    await register(lake, "people", PEOPLE)
    answer = await lake.sql.query("SELECT id, name FROM people ORDER BY id")
    assert [(c.name, c.type) for c in answer.columns] == [("id", "BIGINT"), ("name", "VARCHAR")]
    assert answer.rows == [[1, "ann"], [2, "bob"], [3, None]]
    assert (answer.row_count, answer.truncated, answer.handle, answer.complete) == (3, False, None, True)
    assert answer.elapsed_ms > 0
    empty = await lake.sql.query("SELECT id AS a, name AS a FROM people WHERE false")
    assert [c.name for c in empty.columns] == ["a", "a"]
    assert (empty.rows, empty.row_count) == ([], 0)


async def test_every_type_becomes_json(lake: Lakehouse, register: Register) -> None:
    """A-S8-11, and the types Arrow has no faithful form of."""
    table = pa.table(
        {
            "f": [float("nan"), float("inf")],
            "d": [Decimal("1.10"), None],
            "b": [b"text", b"\xff\x00"],
            "l": [[1, 2], None],
            "t": pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
            "day": [date(2024, 5, 1), None],
        }
    )
    await register(lake, "odd", table)
    answer = await lake.sql.query("SELECT * FROM odd")
    assert answer.rows[0] == [None, "1.10", "text", [1, 2], "2024-05-01T12:00:00Z", "2024-05-01"]
    assert answer.rows[1] == [None, None, "/wA=", None, None, None]
    answer = await lake.sql.query(
        "SELECT 170141183460469231731687303715884105727::HUGEINT, 340282366920938463463374607431768211455::UHUGEINT, "
        "'0110'::BIT, 12::BIGNUM, {'a': [1]}::VARIANT, '10:00:00+01'::TIMETZ, INTERVAL 3 DAY, NULL, "
        "MAP {'k': 1}, {'x': 1.5::DECIMAL(4, 2)}, 'a'::ENUM ('a', 'b'), '{}'::JSON, sum(1), 'infinity'::DATE, "
        'st_geomfromgeojson(\'{"type": "Point", "coordinates": [1, 2]}\'), uuid() IS NOT NULL'
    )
    assert answer.rows == [
        [
            170141183460469231731687303715884105727,
            340282366920938463463374607431768211455,
            "0110",
            "12",
            '{"a":[1]}',
            "10:00:00+01",
            "3 days",
            None,
            {"k": 1},
            {"x": "1.50"},
            "a",
            "{}",
            1,
            "infinity",
            "POINT (1 2)",
            True,
        ]
    ]
    kinds = [c.type for c in answer.columns[:8]]
    assert kinds == ["HUGEINT", "UHUGEINT", "BIT", "BIGNUM", "VARIANT", "TIME WITH TIME ZONE", "INTERVAL", "NULL"]
    json.dumps(answer.model_dump(mode="json"), allow_nan=False)


async def test_odd_names_can_be_queried(lake: Lakehouse, register: Register) -> None:
    """A-S8-5. Quotes, names of system views, dots, and columns that differ only by case."""
    for name in ('o\'brien "x"', "duckdb_settings", "a.b", "SELECT", "x.parquet", "naïve ☃", "sqlite_master"):
        await register(lake, name, pa.table({"id": [7]}))
        quoted = name.replace('"', '""')
        assert (await lake.sql.query(f'SELECT id FROM "{quoted}"')).rows == [[7]]
    await register(lake, "twice", pa.table({"id": [1], "ID": [2], 'q"': [3], "filename": ["mine"]}))
    answer = await lake.sql.query("SELECT * FROM twice")
    assert answer.rows == [[1, 2, 3, "mine"]]


async def test_names_that_differ_by_case_are_told_apart_by_spelling(lake: Lakehouse, register: Register) -> None:
    await register(lake, "Case", pa.table({"id": [1]}))
    await register(lake, "case", pa.table({"id": [2]}))
    assert (await lake.sql.query('FROM "Case"')).rows == [[1]]
    assert (await lake.sql.query('FROM "case"')).rows == [[2]]
    for sql in ("FROM CASES, cAsE", 'FROM "cAsE"', 'FROM "Case", "case"'):
        with pytest.raises(lakehouse.LakehouseError):
            await lake.sql.query(sql)
    assert (await lake.sql.query('FROM "Case"')).rows == [[1]]


async def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path, register: Register) -> None:
    async with lakehouse.open(tmp_path / "we [x]" / "year=2024" / "it's*?") as lake:
        await register(lake, "people", PEOPLE)
        assert len((await lake.sql.query("FROM people")).columns) == 2


async def test_parameters(lake: Lakehouse) -> None:
    right: list[tuple[str, Any, list[Any]]] = [
        ("SELECT ? + 1, ?", [1, "a"], [2, "a"]),
        ("SELECT $2, $1", [1, "a"], ["a", 1]),
        ("SELECT $a || $b", {"a": "x", "b": "y"}, ["xy"]),
        ("SELECT ?, ?, ?", [None, True, 1.5], [None, True, 1.5]),
        ("SELECT ?, ?", [[1, 2], {"k": "v"}], [[1, 2], {"k": "v"}]),
        ("SELECT ?", ["'; DROP VIEW x; --"], ["'; DROP VIEW x; --"]),
        ("SELECT CAST(? AS DATE)", ["2024-01-01"], ["2024-01-01"]),
        ("SELECT ?::VARIANT, ?", [1, 2], ["1", 2]),
        ("SELECT ?", [2**127 - 1], [2**127 - 1]),
    ]
    for sql, params, row in right:
        assert (await lake.sql.query(sql, params)).rows == [row]
    assert (await lake.sql.query("EXPLAIN SELECT ?", [1])).rows


async def test_wrong_parameters_are_named(lake: Lakehouse) -> None:
    wrong: list[tuple[str, Any]] = [
        ("SELECT $x", None),
        ("SELECT ?", None),
        ("SELECT ?", [1, 2]),
        ("SELECT $x", {"y": 1}),
        ("SELECT 1", [1]),
        ("SELECT ?, $x", [1]),
        ("SELECT ?", [2**200]),
        ("SELECT ?", [object()]),
        ("SELECT ?", ["\ud800"]),
        ("SELECT ?", "text"),
        ("SELECT ?", 3),
    ]
    for sql, params in wrong:
        with pytest.raises(InvalidInput):
            await lake.sql.query(sql, params)
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidInput):
        await lake.sql.query("SELECT ?", nested)
    assert (await lake.sql.query("SELECT 1")).rows == [[1]]


async def test_bad_texts(lake: Lakehouse) -> None:
    """A-S8-2."""
    for sql in ("", "   ", "\n\t ", ";", "  ;  ", "-- nothing", "SELECT 1\0", "SELECT '\ud800'"):
        with pytest.raises(InvalidInput):
            await lake.sql.query(sql)
    assert (await lake.sql.query("SELECT 1 -- " + "x" * 5 * 1024)).rows == [[1]]
    most = lake.config.sql.max_sql_bytes
    assert 16 * 2**10 <= most <= 2**20
    assert (await lake.sql.query("SELECT 1 -- ".ljust(most, "x"))).rows == [[1]]
    with pytest.raises(TooLarge, match=str(most)):
        await lake.sql.query("SELECT 1 -- ".ljust(most + 1, "x"))
    with pytest.raises(InvalidInput, match="max_rows"):
        await lake.sql.query("SELECT 1", max_rows=0)
    for timeout in (0, -1, float("nan")):
        with pytest.raises(InvalidInput, match="timeout"):
            await lake.sql.query("SELECT 1", timeout=timeout)


async def test_errors_say_what_there_is(lake: Lakehouse, register: Register, home: Path) -> None:
    with pytest.raises(InvalidInput, match="no dataset 'people'") as caught:
        await lake.sql.query("FROM people")
    assert "ingest_file" in caught.value.fix
    await register(lake, "people", PEOPLE)
    wrong = {
        "FROM peple": "Did you mean people?",
        "SELECT nme FROM people": "Did you mean name?",
        "SELECT p.nme FROM people p": "Did you mean name?",
        "SELECT zzzzzz FROM people": "The columns are: id, name.",
        "SELECT list_transform([1], x -> x)": "lambda x:",
        "SELECT averge(id) FROM people": "Did you mean",
        "SELECT to_char(now(), 'YYYY')": "strftime",
        "SELECT NVL(name, '') FROM people": "coalesce",
        "SELECT 1 % 0": "",
        "PIVOT people ON name USING sum(id)": "IN (",
        "COPY people TO 'x.csv'": "ingest_file",
        "SHOW TABLES": "list_datasets",
        "FROM main.people": "name alone",
        "SELECT sum(name) FROM people": "",
        "SELECT name::INTEGER FROM people": "",
        "SELECT error('my message')": "",
        "SELECT error(repeat(' ', 1000000) || chr(10))": "",
        "SELECT (SELECT id FROM people)": "",
    }
    for sql, said in wrong.items():
        with pytest.raises(InvalidInput) as caught:
            await lake.sql.query(sql)
        assert said in caught.value.fix, sql
        text = str(caught.value)
        assert str(home) not in text and "parquet" not in text and "\n" not in text and "SET " not in text, text


async def test_paths_are_in_no_answer(lake: Lakehouse, register: Register, home: Path) -> None:
    """Neither in a plan, a summary, nor by the columns that Parquet readers add."""
    await register(lake, "people", PEOPLE)
    for sql in ("EXPLAIN SELECT * FROM people WHERE id = 1", "DESCRIBE people", "SUMMARIZE people", "FROM people"):
        assert str(home) not in str(await lake.sql.query(sql))
    for column in ("filename", "file_row_number", "file_index", "people.filename"):
        with pytest.raises(InvalidInput):
            await lake.sql.query(f"SELECT {column} FROM people")


async def test_over_the_row_cap_the_rest_is_behind_a_handle(home: Path, register: Register) -> None:
    async with lakehouse.open(home, overrides=SMALL) as lake:
        answer = await lake.sql.query("SELECT range AS n, sum(range) OVER (ORDER BY range) AS s FROM range(3000)")
        assert answer.rows == [[n, n * (n + 1) // 2] for n in range(100)]
        assert (answer.row_count, answer.truncated, answer.complete) == (3000, True, True)
        assert answer.handle is not None
        page = await lake.results.read(answer.handle, 2998)
        assert isinstance(page, RowPage)
        assert (page.row_count, page.complete, len(page.rows)) == (3000, True, 2)
        assert page.columns == [{"name": "n", "type": "BIGINT"}, {"name": "s", "type": "HUGEINT"}]
        exact = await lake.sql.query("FROM range(100)")
        assert (len(exact.rows), exact.truncated, exact.handle) == (100, False, None)
        fewer = await lake.sql.query("FROM range(100)", max_rows=7)
        assert (len(fewer.rows), fewer.row_count, fewer.truncated) == (7, 100, True)
        more = await lake.sql.query("FROM range(1000)", max_rows=1000)
        assert len(more.rows) == 100


async def test_a_handle_has_its_own_caps(home: Path) -> None:
    async with lakehouse.open(home, overrides=SMALL) as lake:
        answer = await lake.sql.query("SELECT * FROM range(1000000000)")
        assert (answer.row_count, answer.truncated, answer.complete) == (5_000, True, False)
        page = await lake.results.read(answer.handle or "", 4_999)
        assert isinstance(page, RowPage) and page.rows == [[4_999]] and not page.complete
        wide = await lake.sql.query("SELECT repeat('x', 9000) AS t FROM range(4000)")
        assert not wide.complete and 2 <= len(wide.rows) < wide.row_count < 250
        one = await lake.sql.query("SELECT repeat('x', 30000)")
        assert (one.rows, one.row_count, one.truncated, one.complete) == ([], 1, True, True)
        bytes_used = len(json.dumps(wide.rows, separators=(",", ":")))
        assert bytes_used <= SMALL["sql.max_bytes"] < bytes_used + 10_000
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]


async def test_nothing_is_left_in_scratch(home: Path) -> None:
    async with lakehouse.open(home, overrides=SMALL) as lake:
        await lake.sql.query("FROM range(3000)")
        with pytest.raises(InvalidInput):
            await lake.sql.query("SELECT 1 / (range - 2000)::UTINYINT FROM range(3000)")
        left = await anyio.to_thread.run_sync(
            lambda: [p for p in (home / "tmp").iterdir() if p.is_file() or any(p.iterdir())]
        )
        assert left == []
    assert not await anyio.to_thread.run_sync(lambda: list((home / "tmp").glob("sql-*")))


@pytest.mark.slow
async def test_too_much_memory_names_the_setting(home: Path) -> None:
    async with lakehouse.open(home, overrides={"sql.memory_limit": "200MB", "sql.max_spill_bytes": 2**20}) as lake:
        for sql in ("SELECT list(i) FROM range(100000000) t(i)", "SELECT repeat('x', 4000000000)"):
            with pytest.raises(TooLarge) as caught:
                await lake.sql.query(sql)
            assert "sql.memory_limit" in caught.value.fix
            assert (await lake.sql.query("SELECT 1")).rows == [[1]]


@pytest.mark.slow
async def test_a_sort_larger_than_memory_spills(home: Path) -> None:
    async with lakehouse.open(home, overrides={"sql.memory_limit": "60MB"}) as lake:
        answer = await lake.sql.query(
            "SELECT i FROM (SELECT i, md5(i::VARCHAR) AS h FROM range(1500000) t(i)) ORDER BY h, i OFFSET 1499999"
        )
        assert len(answer.rows) == 1


async def test_a_new_version_is_seen_at_once(lake: Lakehouse, register: Register) -> None:
    """A-S8-4: an unchanged set is loaded once, and a changed one does not start a process."""
    await register(lake, "people", PEOPLE)
    for _ in range(3):
        assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[3]]
    before = lake.sql.stats()
    assert before["loaded"] == before["started"]
    await register(lake, "people", PEOPLE.slice(0, 1))
    assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[1]]
    after = lake.sql.stats()
    assert (after["started"], after["loaded"]) == (before["started"], before["loaded"] + 1)


async def test_another_process_is_seen_after_a_refresh(home: Path, register: Register) -> None:
    async with lakehouse.open(home, overrides={"sql.refresh_every": "10ms"}) as lake:
        await register(lake, "people", PEOPLE)
        assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[3]]
        manifest = next((home / "objects" / "_catalog").rglob("*.json"))
        await anyio.to_thread.run_sync(manifest.unlink)
        await anyio.sleep(0.02)
        with pytest.raises(InvalidInput, match="no dataset"):
            await lake.sql.query("FROM people")


async def test_one_damaged_dataset_harms_no_other(home: Path, register: Register) -> None:
    """A-S8-3: a missing file, a changed file, an unreadable manifest and a removed one, beside a good dataset."""
    async with lakehouse.open(home) as lake:
        files = {n: await register(lake, n, PEOPLE) for n in ("good", "missing", "changed", "cut", "noted", "removed")}

    def damage() -> None:
        files["missing"].unlink()
        content = bytearray(files["changed"].read_bytes())
        content[len(content) // 2] ^= 1
        files["changed"].chmod(0o644)
        files["changed"].write_bytes(content)
        files["cut"].chmod(0o644)
        files["cut"].write_bytes(b"PAR1")
        for name in ("noted", "removed"):
            note = next((home / "objects" / "_catalog" / name).glob("*.json"))
            note.write_text("{") if name == "noted" else note.unlink()

    await anyio.to_thread.run_sync(damage)
    async with lakehouse.open(home) as lake:
        assert (await lake.sql.query("SELECT count(*) FROM good")).rows == [[3]]
        for name in ("missing", "changed", "cut", "noted"):
            with pytest.raises(Upstream, match=name) as caught:
                await lake.sql.query(f"FROM {name}")
            assert str(home) not in str(caught.value)
            assert (await lake.sql.query("SELECT count(*) FROM good")).rows == [[3]]
        with pytest.raises(InvalidInput, match="no dataset 'removed'"):
            await lake.sql.query("FROM removed")


async def test_a_file_changed_after_its_first_use_is_not_read(lake: Lakehouse, register: Register) -> None:
    file = await register(lake, "people", PEOPLE)
    other = await register(lake, "others", pa.table({"id": [9, 9, 9], "name": ["x", "y", "z"]}))
    assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[3]]

    def swap() -> None:
        copy = file.with_name("copy")
        copy.write_bytes(other.read_bytes())
        os.replace(copy, file)

    await anyio.to_thread.run_sync(swap)
    with pytest.raises(Upstream, match="'people' is damaged"):
        await lake.sql.query("FROM people")


async def test_a_bucket_in_memory_is_read_through_the_cache(home: Path, register: Register) -> None:
    async with lakehouse.open(home, overrides={"storage.url": "memory://"}) as lake:
        await register(lake, "people", PEOPLE)
        assert (await lake.sql.query("SELECT count(*) FROM people")).rows == [[3]]


@pytest.mark.slow
async def test_the_time_limit(lake: Lakehouse) -> None:
    """In the engine, and within one call of a function, where the engine does not look at the clock."""
    for sql in (
        "SELECT count(*) FROM range(3000000) a JOIN range(3000000) b ON a.range < b.range",
        "SELECT lpad('x', 2000000000, 'y')",
        "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
    ):
        with pytest.raises(TimedOut, match=r"over 0\.3 seconds") as caught:
            await lake.sql.query(sql, timeout=0.3)
        assert "sql.timeout_secs" in caught.value.fix
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]


async def test_a_shorter_limit_after_a_longer_one_holds(lake: Lakehouse) -> None:
    """The engine ends the query by itself; its process, and the next query in it, go on."""
    sql = "SELECT count(*) FROM range(3000000) a JOIN range(3000000) b ON a.range < b.range"
    await lake.sql.query("SELECT 1")
    for seconds in (0.6, 0.2):
        with pytest.raises(TimedOut, match=f"over {seconds} seconds"):
            await lake.sql.query(sql, timeout=seconds)
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
    assert lake.sql.stats()["ended"] == 0
