"""What a query would do, or did: plan, what it reads, hints; and never a path."""

from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse import InvalidInput, Lakehouse, TimedOut
from lakehouse.engine.sql.footers import Scan

pytestmark = pytest.mark.anyio
Register = Callable[..., Awaitable[Path]]
ROWS = 2100  # three row groups


async def events(lake: Lakehouse, register: Register) -> None:
    table = pa.table(
        {
            "id": range(ROWS),
            "day": [date(2024, 1 + n // 700, 1) for n in range(ROWS)],
            "name": [f"n{n:05}" for n in range(ROWS)],
            "place": [{"city": "Oslo", "zip": str(n)} for n in range(ROWS)],
        }
    )
    await register(lake, "events", table)


@pytest.mark.slow
async def test_what_is_read_at_most(lake: Lakehouse, register: Register, home: Path) -> None:
    await events(lake, register)
    for where, rows in {
        "true": 2100,
        "id < 100": 700,
        "id >= 700 AND id < 800": 700,
        "id = 2099": 700,
        "id > 699": 1400,
        "day = DATE '2024-02-01'": 700,
        "name >= 'n01400'": 700,
        "id < 100 OR id > 2000": 2100,
        "name LIKE '%7'": 2100,
    }.items():
        found = await lake.sql.explain(f"SELECT sum(id), max(name) FROM events WHERE {where}")
        assert (found.rows, found.reads[0].total_rows) == (rows, 2100), where
        assert (found.reads[0].dataset, found.reads[0].version) == ("events", 1)
    narrow = await lake.sql.explain("SELECT sum(id) FROM events")
    wide = await lake.sql.explain("SELECT * FROM events")
    part = await lake.sql.explain("SELECT place.city FROM events")
    assert 0 < narrow.bytes < part.bytes < wide.bytes == wide.reads[0].total_bytes
    for one in (narrow, wide, part):
        assert "Scan" in one.plan and str(home) not in str(one) and "parquet" not in str(one).lower()
    with pytest.raises(InvalidInput, match="no dataset"):
        await lake.sql.explain("FROM event")


@pytest.mark.slow
async def test_what_running_it_took(lake: Lakehouse, register: Register, home: Path) -> None:
    await events(lake, register)
    found = await lake.sql.explain(
        "SELECT day, count(*) FROM events WHERE id < ? GROUP BY day", [700], analyze=True, as_of=1
    )
    ran = found.ran
    assert ran is not None and (ran.rows, ran.rows_read, ran.row_groups_read, ran.row_groups) == (1, 700, 1, 3)
    assert ran.bytes_read > 0 and ran.elapsed_ms > 0
    assert ("Scan", 700) in [(step.operator, step.rows) for step in ran.operators]
    assert len(ran.operators) == len(found.plan.splitlines())
    assert str(home) not in str(found) and "parquet" not in str(found).lower()
    with pytest.raises(TimedOut):
        await lake.sql.explain("SELECT count(*) FROM range(3000000) a, range(3000000) b", analyze=True, timeout=0.2)
    assert (await lake.sql.explain("SELECT 1")).reads == []


@pytest.mark.slow
async def test_hints(lake: Lakehouse, register: Register) -> None:
    await events(lake, register)
    crossed = await lake.sql.explain("SELECT count(*) FROM events a, events b WHERE a.id + b.id > a.id * b.id")
    assert any("cross join" in hint for hint in crossed.hints)
    assert (await lake.sql.explain("SELECT id FROM events WHERE id = 3")).hints == []
    await register(lake, "big", pa.table({"id": range(1_000_001)}))
    whole = await lake.sql.explain("SELECT sum(id) FROM big")
    assert any("no filter" in hint and "1,000,001" in hint for hint in whole.hints)
    assert (await lake.sql.explain("FROM big LIMIT 3")).hints == []
    unhelpful = await lake.sql.explain("SELECT sum(id) FROM big WHERE id % 2 = 1")
    assert len(unhelpful.hints) == 1


NOT_EXPLAINED = [
    "DESCRIBE events",
    "SUMMARIZE SELECT 1",
    "COPY (SELECT 1) TO 'x.csv'",
    "WITH x AS (COPY (SELECT 1) TO 'x.csv') FROM x",
    "EXPLAIN ANALYZE SELECT 1",
    "ANALYZE SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT * FROM read_text('/etc/passwd')",
    "(FORMAT json) SELECT 1",
    "",
]


@pytest.mark.slow
async def test_what_is_not_explained(lake: Lakehouse, home: Path) -> None:
    for sql in NOT_EXPLAINED:
        for analyze in (False, True):
            with pytest.raises(InvalidInput):
                await lake.sql.explain(sql, analyze=analyze)
                pytest.fail(f"{sql!r} was explained")
    assert not (home / "x.csv").exists()


def test_filters_that_are_not_understood_skip_nothing() -> None:
    for text in ("(id = 1 OR id = 2)", "prefix(id, 'x')", "id IN (1, 2)", "(id + 1) = 2", "", "id = "):
        assert not list(Scan((), (text,))._tests()) or "OR" not in text
    assert list(Scan((), ("((id >= 1) AND (id <= 3))",))._tests()) == [("id", ">=", "1"), ("id", "<=", "3")]
    assert list(Scan((), ("(day = '2024-01-01'::DATE)",))._tests()) == [("day", "=", "'2024-01-01'")]
