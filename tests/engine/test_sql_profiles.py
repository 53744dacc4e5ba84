"""Readers bound to a profile: queries in processes of their own, a bound on how many there are, and no way across."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pyarrow as pa
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, LakehouseError
from lakehouse.engine.datasets import DatasetNotFound
from lakehouse.engine.profiles import Profile
from lakehouse.engine.sql import Sql

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def reader(lake: Lakehouse, *datasets: str) -> AsyncIterator[Sql]:
    """The queries of a reader that sees these datasets of the first bucket."""
    profile = Profile("-".join(datasets), lake.datasets.catalogs()[0].bucket.name, frozenset(datasets))
    sql = Sql(
        lake.storage,
        lake.datasets.within(profile),
        lake.results,
        lake.config.sql,
        processes=lake.processes,
        history=lake.history,
    )
    try:
        yield sql
    finally:
        await sql.aclose()


@pytest.mark.slow
async def test_a_reader_sees_its_own_alone(lake: Lakehouse, home: Path) -> None:
    """A-S27-1, the queries' half: neither by the engine's own tables nor by any way to name one."""
    await commit(lake, "mine", {"id": [1]})
    theirs = await commit(lake, "secret", {"id": [2], "treasure": ["gold"]})
    await commit(lake, "secret", {"id": [2, 3], "treasure": ["gold", "silver"]})
    file = (await lake.datasets.local_files(theirs))[0]
    async with reader(lake, "mine") as mine, reader(lake, "secret") as other:
        assert (await mine.query("FROM mine")).rows == [[1]]
        assert len((await other.query("FROM secret")).rows) == 2
        assert not set(mine.pids) & set(other.pids)
        for table in (
            *("secret", '"secret"', "SECRET", "main.secret", "memory.main.secret", '"main.secret"', "other.secret"),
            *("information_schema.tables", "information_schema.columns", "duckdb_views", "duckdb_views()"),
            *("duckdb_tables()", "duckdb_columns()", "pg_catalog.pg_class", "pg_views", "sqlite_master"),
            *("query_table('secret')", "query('FROM secret')", "(SHOW ALL TABLES)", "(DESCRIBE secret)"),
            *("(SUMMARIZE secret)", f"'{file}'", f'"{file}"', f"read_parquet('{file}')", "histogram('secret', id)"),
            *('"secret@v1"', '"mine@v1", secret', '"secret@2020-01-01"', "mine, secret", "glob('**')"),
        ):
            for sql in (f"SELECT * FROM {table}", f"EXPLAIN SELECT * FROM {table}"):
                with pytest.raises((InvalidInput, DatasetNotFound)) as caught:
                    await mine.query(sql)
                said = str(caught.value)
                assert "treasure" not in said and "gold" not in said, sql
                assert str(home) in sql or str(home) not in said, sql
            with pytest.raises((InvalidInput, DatasetNotFound)):
                await mine.explain(f"SELECT * FROM {table}")
        for as_of in (1, {"secret": 1}, {"*": 1}):
            with pytest.raises(LakehouseError):
                await mine.query("FROM secret", as_of=as_of)
        with pytest.raises(DatasetNotFound):
            await mine.query("FROM mine", as_of={"secret": 1})
        with pytest.raises(InvalidInput) as caught:
            await mine.query("SELECT treasure FROM mine")
        assert "secret" not in caught.value.fix
        for sql in ("EXPLAIN FROM mine", "DESCRIBE mine"):
            assert "secret" not in str(await mine.query(sql)) and str(home) not in str(await mine.query(sql))
    secret = Profile("secret", lake.datasets.catalogs()[0].bucket.name, frozenset({"secret"}))
    told = await lake.history.recent(1000, scope=secret.digest)
    assert [one.sql for one in told] == ["FROM secret"]


@pytest.mark.slow
async def test_the_processes_of_many_profiles_are_bounded(home: Path) -> None:
    """Those of whoever asked nothing for the longest end first, and none while its query runs."""
    async with lakehouse.open(home, overrides={"sql.workers": 2}) as lake:
        names = ["a", "b", "c", "d"]
        for name in names:
            await commit(lake, name, pa.table({"id": [name]}))
        async with anyio.create_task_group() as asking:
            readers = [reader(lake, name) for name in names]
            bound = [await one.__aenter__() for one in readers]
            for sql, name in itertools.chain(zip(bound, names, strict=True), zip(bound, names, strict=True)):
                assert (await sql.query(f"FROM {name}")).rows == [[name]]
                assert sum(len(one.pids) for one in bound) <= lake.processes.most == 3
            assert not bound[0].pids and bound[-1].pids
            slow = "SELECT count(*) FROM range(14000) a JOIN range(14000) b ON a.range < b.range + 0 * random()"
            counted: list[int] = []

            async def count() -> None:
                counted.append((await bound[0].query(slow)).rows[0][0])

            asking.start_soon(count)
            for sql, name in zip(bound[1:], names[1:], strict=True):
                assert (await sql.query(f"FROM {name}")).rows == [[name]]
        assert len(counted) == 1 and bound[0].stats()["started"] >= 2
        for one in readers:
            await one.__aexit__(None, None, None)
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
