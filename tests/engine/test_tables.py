"""Versions as tables: the merged rows, files of them, and what a caller's statement may not do there."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse import config
from lakehouse.engine.relation import Part
from lakehouse.engine.tables import Table, desk
from lakehouse.errors import InvalidInput, Upstream

pytestmark = pytest.mark.anyio


def part(folder: Path, name: str, role: str = "base", lacks: tuple[str, ...] = (), **columns: list[object]) -> Part:
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return Part(str(path), role, lacks)


@pytest.fixture
def orders(tmp_path: Path) -> Table:
    return Table(
        [
            part(tmp_path, "base", lacks=("note",), id=[1, 2, 3], pay=[10, 20, 30]),
            part(tmp_path, "one", "delta", ("note",), id=[2, 4], pay=[21, 40], _deleted=[False, False]),
            part(tmp_path, "two", "delta", id=[4, 3], pay=[41, None], note=["new", None], _deleted=[False, True]),
        ],
        ["id", "pay", "note"],
        ["id"],
    )


async def test_the_newest_of_each_key_wins_and_deleted_rows_are_gone(orders: Table, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    async with desk({"orders": orders}, folder, config.Ingest()) as work:
        rows = await work.rows("SELECT * FROM orders ORDER BY id")
        assert rows == [[1, 10, None], [2, 21, None], [4, 41, "new"]]
        once = await work.write("SELECT * FROM orders ORDER BY id", "a.parquet")
        again = await work.write("SELECT * FROM orders ORDER BY id", "b.parquet")
        assert once.sha256 == again.sha256 and once.rows == 3
        assert once.columns == [("id", "int64"), ("pay", "int64"), ("note", "string")]
        assert pq.read_table(once.path).to_pydict()["pay"] == [10, 21, 41]


async def test_a_callers_statement_only_reads_the_tables(orders: Table, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    async with desk({"orders": orders}, folder, config.Ingest()) as work:
        for sql in (
            "COPY (SELECT 1) TO 'x.parquet'",
            "WITH x AS (COPY (SELECT 1) TO 'x.parquet') SELECT * FROM x",
            "SELECT * FROM 'one.parquet'",
            "SELECT * FROM other",
            "SELECT nonsense FROM orders",
        ):
            with pytest.raises(InvalidInput):
                await work.rows(sql, foreign=True)
                pytest.fail(f"{sql!r} was run")
        assert await work.rows("SELECT count(*) FROM ORDERS WHERE pay > ?", [20], foreign=True) == [[2]]
    assert list(folder.iterdir()) == []


async def test_a_damaged_file_is_said(orders: Table, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    Path(orders.parts[0].path).write_bytes(b"no parquet")
    async with desk({"orders": orders}, folder, config.Ingest()) as work:
        with pytest.raises((Upstream, InvalidInput)):
            await work.rows("SELECT 1")
