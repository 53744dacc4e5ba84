"""The tables of queries that must run and of statements that must be refused, and the attack collection, end to end."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

import lakehouse
from lakehouse import InvalidInput, Lakehouse, LakehouseError, TimedOut, TooLarge

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parents[1] / "cases"
Register = Callable[..., Awaitable[Path]]

ORDERS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "customer": ["ann", "bob", "ann", "Zoë"],
        "amount": [10.5, 20.0, 3.25, None],
        "price": [Decimal("1.10"), Decimal("2.20"), Decimal("3.30"), Decimal("4.40")],
        "day": [date(2024, 1, 5), date(2024, 2, 1), date(2024, 2, 9), date(2024, 3, 1)],
        "placed": [
            datetime(2024, 1, 5, 10),
            datetime(2024, 2, 1, 11),
            datetime(2024, 2, 9, 12),
            datetime(2024, 3, 1, 13),
        ],
        "status": ["open", "paid", "paid", "open"],
        "tags": [["a", "b"], ["b"], [], None],
        "place": [
            {"city": "Oslo", "zip": "0150"},
            {"city": "Rome", "zip": "00100"},
            None,
            {"city": "Bonn", "zip": None},
        ],
        "doc": ['{"color": "red", "size": 3}', '{"color": "blue"}', "{}", None],
    }
)
QUOTES = pa.table(
    {"customer": ["ann", "bob"], "placed": [datetime(2024, 1, 1), datetime(2024, 1, 2)], "rate": [1.5, 2.5]}
)


class Case(NamedTuple):
    """One block of a table of cases."""

    what: str
    params: Any
    sql: str


def cases(name: str) -> list[Case]:
    blocks = re.split(r"\n[ \t]*\n", (CASES / name).read_text(encoding="utf-8").strip())[1:]
    found = []
    for block in blocks:
        what, _, sql = block.partition("\n")
        params = None
        if sql.startswith("-- params: "):
            line, _, sql = sql.partition("\n")
            params = json.loads(line.removeprefix("-- params: "))
        found.append(Case(what.removeprefix("-- "), params, sql))
    return found


@pytest.fixture
async def orders(lake: Lakehouse, register: Register) -> Path:
    """Three datasets; the data file of `orders`."""
    await register(lake, "quotes", QUOTES)
    await register(lake, 'o\'brien "x"', pa.table({"id": [1]}))
    return await register(lake, "orders", ORDERS)


def state_of(*folders: Path) -> dict[str, str]:
    """Every file below these folders, by name and content; what queries may leave behind is left out."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"results", "tmp", "observer"} & set(path.parts) and path.suffix != ".lock"
    }


@pytest.mark.slow
async def test_every_allowed_query_runs(lake: Lakehouse, orders: Path) -> None:
    table = cases("sql_allowed.sql")
    assert len(table) >= 45
    failed = []
    for case in table:
        try:
            answer = await lake.sql.query(case.sql, case.params)
            json.dumps(answer.model_dump(mode="json"), allow_nan=False)
            assert answer.columns
        except LakehouseError as error:
            failed.append((case.what, str(error)))
    assert not failed


@pytest.mark.slow
async def test_every_refused_statement_is_refused_and_does_nothing(
    lake: Lakehouse, orders: Path, home: Path, tmp_path: Path
) -> None:
    """A-S8-10."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.csv").write_text("a\n1\n")
    before = state_of(home, outside)
    wrong = []
    for case in cases("sql_refused.sql"):
        sql = case.sql.replace("{home}", str(home)).replace("{file}", str(orders))
        try:
            answer = await lake.sql.query(sql.replace("{outside}", str(outside / "x.csv")), case.params)
            wrong.append((case.what, f"answered {answer.rows[:2]}"))
        except InvalidInput as error:
            said = str(error).replace(sql, "")
            if str(home) in said and str(home) not in sql:
                wrong.append((case.what, f"names a path: {said}"))
        except LakehouseError as error:
            wrong.append((case.what, f"{type(error).__name__}: {error}"))
    assert not wrong
    assert state_of(home, outside) == before
    assert (await lake.sql.query("SELECT count(*) FROM orders")).rows == [[4]]
    assert lake.sql.stats()["ended"] == 0  # every refusal came from a process that lives on


@pytest.mark.slow
async def test_a_cte_means_itself_wherever_the_gate_says_so(lake: Lakehouse) -> None:
    """The gate's idea of scope is the engine's: a CTE that hides a system view is never taken for that view."""
    places = [
        "SELECT * FROM (SUMMARIZE {t})",
        "SELECT * FROM (DESCRIBE {t})",
        "SELECT * FROM (PIVOT {t} ON only_here IN (7) USING count(*) GROUP BY only_here)",
        "UNPIVOT {t} ON only_here",
        "SELECT 1 ORDER BY (SELECT only_here FROM {t})",
        "SELECT 1 LIMIT (SELECT only_here FROM {t})",
        "VALUES ((SELECT only_here FROM {t}))",
        "SELECT * FROM range((SELECT only_here FROM {t}))",
        "SELECT * FROM (SELECT 1) a, LATERAL (SELECT only_here FROM {t})",
        "SELECT 1 QUALIFY row_number() OVER () < (SELECT only_here FROM {t})",
        "SELECT sum(1) OVER (ROWS BETWEEN (SELECT only_here FROM {t}) PRECEDING AND CURRENT ROW)",
        "SELECT count(*) FILTER ((SELECT only_here FROM {t}) = 7)",
        "SELECT * FROM {t} AT (VERSION => 1)",
        "SELECT only_here FROM (WITH a AS (FROM {t}) FROM a UNION ALL FROM {t})",
        "SELECT only_here IN (SELECT only_here FROM {t}) FROM {t} TABLESAMPLE 100%",
    ]
    for place in places:
        for view in ("sqlite_master", "DUCKDB_TABLES"):
            sql = f"WITH {view} AS (SELECT 7 AS only_here) " + place.replace("{t}", view)
            answer = await lake.sql.query(sql)
            assert not {"database_name", "rootpage"} & (
                {c.name for c in answer.columns} | {str(r[0]) for r in answer.rows}
            )


async def test_a_macro_that_takes_a_table_by_name_would_reach_any_file(orders: Path) -> None:
    """Why `histogram` is no allowed table function, although it only computes."""
    import duckdb

    with duckdb.connect() as db:
        assert db.sql(f"SELECT * FROM histogram_values('{orders}', id)").fetchall()


@pytest.mark.slow
async def test_the_attack_collection_holds(
    home: Path, data: Callable[[str], Path], register: Register, tmp_path: Path
) -> None:
    """Every case of the collection: refused before anything happens, or over within its limits; then the next works."""
    attacks = json.loads(data("sql_attacks/attacks.json").read_text())
    overrides = {"embed.provider": "hash", "sql.timeout_secs": 1.5, "sql.memory_limit": "400MB"}
    async with open_lake(home, overrides) as lake, open_lake(tmp_path / "other", overrides) as other:
        file = await register(lake, "orders", ORDERS)
        foreign = await register(other, "secret", QUOTES)
        (home / "x.csv").write_text("a\n1\n")
        (home / "link_to_passwd").symlink_to("/etc/passwd")
        before = state_of(home, tmp_path / "other")
        wrong = []
        for attack in attacks:
            sql = attack["sql"].replace("{data_dir}", str(home))
            sql = sql.replace("{allowed_file}", str(file)).replace("{other_tenant_file}", str(foreign))
            try:
                await lake.sql.query(sql)
                if attack["must"] == "error":
                    wrong.append((attack["name"], "ran"))
            except InvalidInput:
                pass
            except (TimedOut, TooLarge) as error:
                if attack["must"] == "error":
                    wrong.append((attack["name"], f"was not refused at once: {error}"))
            if (await lake.sql.query("SELECT count(*) FROM orders")).rows != [[4]]:
                wrong.append((attack["name"], "the next query"))
        assert not wrong
        assert state_of(home, tmp_path / "other") == before


def open_lake(home: Path, overrides: dict[str, Any]) -> Any:
    return lakehouse.open(home, overrides=overrides)


@pytest.mark.slow
async def test_the_other_lake_is_out_of_reach(home: Path, register: Register, tmp_path: Path) -> None:
    """Neither its names nor its files can be used, not even through the gate's own allowed words."""
    async with open_lake(home, {}) as lake, open_lake(tmp_path / "other", {}) as other:
        await register(lake, "orders", ORDERS)
        foreign = await register(other, "secret", QUOTES)
        for sql in ("FROM secret", f"FROM '{foreign}'", f'SELECT * FROM "{foreign}"', f"DESCRIBE '{foreign}'"):
            with pytest.raises(InvalidInput, match="no dataset"):
                await lake.sql.query(sql)
