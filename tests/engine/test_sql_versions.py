"""Queries over older versions: by as_of, by a version in the name, over datasets with deltas, and what stays hidden."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa
import pytest
from tests.doubles.s3 import S3
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, TooLarge, Upstream
from lakehouse.engine.datasets import DatasetNotFound, Draft, Manifest
from lakehouse.engine.moment import now

pytestmark = pytest.mark.anyio
Register = Callable[..., Awaitable[Path]]


async def upsert(lake: Lakehouse, name: str, **columns: list[Any]) -> Manifest:
    """Add a delta to a dataset whose key is id."""
    delta = (await commit(lake, f"delta of {name} {len(columns['id'])}", columns)).objects[0]
    file = type(delta)(delta.key, delta.sha256, delta.size_bytes, delta.row_count, "delta")

    async def next_of(current: Manifest | None) -> Draft:
        assert current is not None
        return Draft.of(current, "upsert", objects=(*current.objects, file), key=("id",))

    return (await lake.datasets.change(name, next_of))[0]


async def drop(lake: Lakehouse, name: str) -> None:
    async def dropped(current: Manifest | None) -> Draft:
        assert current is not None
        return Draft.of(current, "drop", objects=(), row_count=0, dropped=True)

    await lake.datasets.change(name, dropped)


@pytest.mark.slow
async def test_versions_by_name_and_by_as_of(lake: Lakehouse) -> None:
    """Two versions in one statement, one for each dataset, a moment for the rest, and one that was dropped."""
    moments = []
    for rows in ([1], [1, 2], [1, 2, 3]):
        await commit(lake, "orders", {"id": rows})
        await commit(lake, "Quotes", {"id": rows})
        moments.append(now())
    count = "SELECT count(*) FROM orders"
    right: list[tuple[str, Any, list[Any]]] = [
        (count, None, [3]),
        (count, 1, [1]),
        (count, "v2", [2]),
        (count, moments[1], [2]),
        (count, {"orders": 1}, [1]),
        (count, {"ORDERS": "2"}, [2]),
        (count, {"Quotes": 1}, [3]),
        (count, {"*": moments[0]}, [1]),
        ('SELECT count(*) FROM "orders@v1"', None, [1]),
        ('SELECT count(*) FROM "Orders@2"', None, [2]),
        (f'SELECT count(*) FROM "quotes@{moments[0]}"', None, [1]),
        ('SELECT count(*) FROM (FROM orders EXCEPT FROM "orders@v1")', None, [2]),
        ('SELECT count(*) FROM "orders@v1" a, "ORDERS@V1" b, orders c', {"orders": 2}, [2]),
        ("SELECT (FROM (SELECT count(*) FROM orders)), (SELECT count(*) FROM quotes)", {"orders": 1, "*": 2}, [1, 2]),
        ("WITH orders AS (SELECT 7 AS n) SELECT n FROM orders", 1, [7]),
        ("SELECT '\"a@b\"'", None, ['"a@b"']),
    ]
    for sql, as_of, row in right:
        assert (await lake.sql.query(sql, as_of=as_of)).rows == [row], (sql, as_of)
    await drop(lake, "orders")
    for sql, as_of in ((count, {"orders": 2}), ('SELECT count(*) FROM "orders@v2"', None), (count, moments[1])):
        assert (await lake.sql.query(sql, as_of=as_of)).rows == [[2]]
    with pytest.raises(InvalidInput, match="'orders' was dropped"):
        await lake.sql.query(count)


@pytest.mark.slow
async def test_versions_there_are_not(lake: Lakehouse) -> None:
    for rows in ([1], [1, 2]):
        await commit(lake, "orders", {"id": rows})
    missing: list[tuple[str, Any]] = [
        ("FROM orders", 3),
        ("FROM orders", {"orders": 0}),
        ("FROM orders", "2001-01-01"),
        ('FROM "orders@v9"', None),
    ]
    for sql, as_of in missing:
        with pytest.raises(DatasetNotFound) as caught:
            await lake.sql.query(sql, as_of=as_of)
        assert "1 to 2" in caught.value.fix
    for sql, as_of in (("FROM orders", {"ordrs": 1}), ("FROM ordrs", 1), ('FROM "ordrs@v1"', None)):
        with pytest.raises(DatasetNotFound) as caught:
            await lake.sql.query(sql, as_of=as_of)
        assert "orders" in caught.value.fix
    wrong: list[tuple[str, Any]] = [
        ("FROM orders", "soon"),
        ("FROM orders", {"orders": True}),
        ("FROM orders", {"orders": None}),
        ("FROM orders", {"orders": " "}),
        ('FROM "orders@"', None),
        ('FROM "@v1"', None),
        ("FROM main.orders", 1),
        ("COPY orders TO 'x'", 1),
    ]
    for sql, as_of in wrong:
        with pytest.raises(InvalidInput):
            await lake.sql.query(sql, as_of=as_of)
    await commit(lake, "orders@v1", {"id": [5]})
    assert (await lake.sql.query('FROM "orders@v1"')).rows == [[5]]  # a dataset's own name comes first


@pytest.mark.slow
async def test_changing_between_versions_makes_nothing_anew(lake: Lakehouse) -> None:
    for rows in ([1], [1, 2], [1, 2, 3]):
        await commit(lake, "orders", {"id": rows})
    for _ in range(2):
        for version in (1, 2, 3):
            answer = await lake.sql.query("SELECT count(*) FROM orders", as_of=version)
            assert answer.rows == [[version]]
    counts = lake.sql.stats()
    assert counts["loaded"] == counts["started"] and counts["ended"] == 0


@pytest.mark.slow
async def test_an_older_version_that_is_damaged_harms_no_other(lake: Lakehouse, register: Register) -> None:
    old = await register(lake, "orders", pa.table({"id": [1]}))
    await register(lake, "orders", pa.table({"id": [1, 2]}))
    await anyio.to_thread.run_sync(os.unlink, old)
    for sql, as_of in (("FROM orders", 1), ('FROM "orders@v1"', None)):
        with pytest.raises(Upstream, match="orders"):
            await lake.sql.query(sql, as_of=as_of)
    assert (await lake.sql.query("SELECT count(*) FROM orders")).rows == [[2]]


@pytest.mark.slow
async def test_files_of_older_versions_come_when_they_are_asked_for(home: Path, moto: S3) -> None:
    overrides: dict[str, Any] = {f"storage.{name}": value for name, value in moto.values().items()}
    async with lakehouse.open(home, overrides=overrides) as lake:
        for rows in ([1], [1, 2]):
            await commit(lake, "orders", {"id": rows})
    async with lakehouse.open(home.with_name("another"), overrides=overrides) as lake:
        assert (await lake.sql.query('SELECT count(*) FROM "orders@v1"')).rows == [[1]]
        assert (await lake.sql.query("SELECT count(*) FROM orders")).rows == [[2]]

        def spoil() -> int:
            below = home.with_name("another").rglob("*")
            copies = [path for path in below if path.is_file() and path.read_bytes()[:4] == b"PAR1"]
            for copy in copies:
                copy.chmod(0o644)
                copy.write_bytes(b"PAR1")
            return len(copies)

        assert await anyio.to_thread.run_sync(spoil) == 2
        assert (await lake.sql.query('SELECT count(*) FROM "orders@v1"')).rows == [[1]]


@pytest.mark.slow
async def test_limits_of_one_call(lake: Lakehouse) -> None:
    """They lower the usual ones, and never raise them."""
    assert len((await lake.sql.query("FROM range(1000)", max_bytes=100)).rows) < 50
    assert len((await lake.sql.query("FROM range(100)", max_bytes=10**12)).rows) == 100
    with pytest.raises(TooLarge, match="memory"):
        await lake.sql.query("SELECT list(i) FROM range(10000000) t(i)", memory="20MB")
    assert (await lake.sql.query("SELECT len(list(i)) FROM range(10000000) t(i)")).rows == [[10000000]]
    assert (await lake.sql.query("SELECT 1", memory="20MB")).rows == [[1]]
    assert (await lake.sql.query("SELECT 1", memory="900GB")).rows == [[1]]
    for memory in ("much", "1MB", "-1GB", ""):
        with pytest.raises(InvalidInput, match="memory"):
            await lake.sql.query("SELECT 1", memory=memory)
    for number in (0, -1):
        with pytest.raises(InvalidInput, match="max_bytes"):
            await lake.sql.query("SELECT 1", max_bytes=number)


@pytest.mark.slow
async def test_what_a_merged_version_is_made_of_cannot_be_named(lake: Lakehouse, home: Path) -> None:
    """Names within the view of base and deltas mean nothing outside, and names of the caller nothing inside."""
    await commit(lake, "orders", {"id": [1, 2, 3], "pay": [10, 20, 30]})
    await upsert(lake, "orders", id=[2, 4], pay=[21, 40], _deleted=[False, False])
    await upsert(lake, "orders", id=[3], pay=[0], _deleted=[True])
    rows = [[1, 10], [2, 21], [4, 40]]
    forged = "SELECT 9 AS id, 9 AS pay, true AS _deleted, 99 AS _at"
    for sql in (
        "FROM orders",
        f"WITH _changes AS ({forged}) FROM orders",
        f"WITH _changes AS ({forged}) SELECT orders.* FROM orders, _changes",
        f"WITH RECURSIVE _changes AS ({forged} UNION ALL FROM _changes WHERE false) FROM orders",
        f"SELECT o.* FROM orders o, LATERAL ({forged}) _changes",
        f"WITH read_parquet AS ({forged}) FROM orders",
        "SELECT * FROM orders WHERE (SELECT count(*) FROM (WITH _changes AS (SELECT 1) FROM _changes)) = 1",
        "WITH x AS MATERIALIZED (FROM orders) FROM x",
    ):
        # Not by the query: after a recursive one ORDER BY has no place. What comes first is up to its threads.
        assert sorted((await lake.sql.query(sql)).rows) == rows, sql
    for sql in (
        "FROM _changes",
        "SELECT * FROM orders, _changes",
        "SELECT _at FROM orders",
        "SELECT _deleted FROM orders",
        "SELECT _changes.id FROM orders",
        "SELECT filename FROM orders",
        "SELECT file_row_number FROM orders",
        "FROM main._changes",
        "SELECT (SELECT _at FROM orders LIMIT 1)",
        'FROM "orders._changes"',
    ):
        with pytest.raises(InvalidInput) as caught:
            await lake.sql.query(sql)
        assert "parquet" not in str(caught.value)
    assert (await lake.sql.query('SELECT count(*) FROM "orders@v1"')).rows == [[3]]
    assert (await lake.sql.query("SELECT sum(pay) FROM orders", as_of=2)).rows == [[10 + 21 + 30 + 40]]
    shown = [
        await lake.sql.query("EXPLAIN FROM orders"),
        await lake.sql.query("DESCRIBE orders"),
        await lake.sql.query("SUMMARIZE orders"),
        await lake.sql.explain("SELECT sum(pay) FROM orders WHERE id > 1"),
        await lake.sql.explain("SELECT sum(pay) FROM orders WHERE id > 1", analyze=True),
    ]
    for one in shown:
        assert str(home) not in str(one) and "parquet" not in str(one).lower()
