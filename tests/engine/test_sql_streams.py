"""SQL over files larger than all local copies together may be: their parts are read where they are."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pyarrow
import pytest
from tests.doubles.s3 import S3
from tests.tables import commit

import lakehouse
from lakehouse import Lakehouse, LakehouseError, Upstream
from lakehouse.engine.child import Child
from lakehouse.engine.sql.streams import Streams

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROWS = 100_000
MIB = 2**20


@pytest.fixture(scope="module")
def table() -> Any:
    """Some MiB that do not compress, in many row groups."""
    source = random.Random(1)
    pad = [source.randbytes(40).hex() for _ in range(ROWS)]
    return pyarrow.table({"id": list(range(ROWS)), "n": [i % 7 for i in range(ROWS)], "pad": pad})


@asynccontextmanager
async def opened(home: Path, server: S3) -> AsyncIterator[Lakehouse]:
    overrides = {f"storage.{name}": value for name, value in server.values().items()}
    overrides |= {"storage.cache_bytes": MIB, "embed.provider": "hash"}
    async with lakehouse.open(home, overrides=overrides) as lake:
        yield lake


def copies(home: Path) -> list[Path]:
    return [path for path in (home / "cache" / "objects").rglob("*") if path.is_file()]


async def test_point_queries_and_column_subsets_move_little(home: Path, moto: S3, table: Any) -> None:
    """A file over the budget is not copied; a look-up and one column move a part of it; the second time, nothing."""
    async with opened(home, moto) as lake:
        size = (await commit(lake, "big", table)).objects[0].size_bytes
        await commit(lake, "small", table.slice(0, 10))
        assert size > 4 * MIB
        streams = lake.sql._views.streams
        asked = "SELECT id, n, length(pad) FROM big WHERE id = 77777"
        assert (await lake.sql.query(asked)).rows == [[77777, 0, 80]]
        assert 0 < streams.bytes < size / 2
        look_up = streams.bytes
        assert (await lake.sql.query("SELECT sum(n), count(*) FROM big")).rows == [
            [sum(i % 7 for i in range(ROWS)), ROWS]
        ]
        assert streams.bytes < size / 2 + look_up
        before = streams.bytes
        assert (await lake.sql.query(asked)).rows == [[77777, 0, 80]]
        assert streams.bytes == before
        joined = "SELECT count(*) FROM big JOIN small USING (id)"
        assert (await lake.sql.query(joined)).rows == [[10]]
        whole = "SELECT count(DISTINCT pad), min(length(pad)) FROM big"
        assert (await lake.sql.query(whole)).rows == [[ROWS, 80]]
        sizes = [path.stat().st_size for path in await anyio.to_thread.run_sync(copies, home)]
        assert sum(sizes) < MIB


async def test_older_versions_plans_and_comparisons(home: Path, moto: S3, table: Any) -> None:
    """as_of, a version in the name and a plan read such files in parts, too; what compares versions copies them."""
    async with opened(home, moto) as lake:
        size = (await commit(lake, "big", table)).objects[0].size_bytes
        await commit(lake, "big", table.slice(0, ROWS - 1))
        asked = "SELECT count(*), max(id) FROM big"
        assert (await lake.sql.query(asked, as_of={"big": 1})).rows == [[ROWS, ROWS - 1]]
        both = 'SELECT o.id FROM "big@v1" o ANTI JOIN big USING (id)'
        assert (await lake.sql.query(both)).rows == [[ROWS - 1]]
        plan = await lake.sql.explain("SELECT n FROM big WHERE id = 77777", analyze=True)
        assert plan.reads[0].dataset == "big" and plan.plan.startswith("Scan")
        assert str(home) not in str(plan) and "s3://" not in str(plan)
        assert 0 < lake.sql._views.streams.bytes < size
        found = await lake.call("diff_dataset", {"name": "big", "key": ["id"]})
        assert (found["removed"], found["added"]) == (1, 0)


async def test_a_service_of_whole_objects_only(home: Path, rclone: S3, table: Any) -> None:
    """Where no parts can be had, the files are copied as a whole after all."""
    async with opened(home, rclone) as lake:
        await commit(lake, "big", table)
        for _ in range(2):
            assert (await lake.sql.query("SELECT n FROM big WHERE id = 77777")).rows == [[0]]
        assert lake.sql._views.streams.bytes == 0


async def test_a_file_that_is_gone_or_cut_is_the_datasets_trouble(home: Path, moto: S3, table: Any) -> None:
    async with opened(home, moto) as lake:
        (file,) = (await commit(lake, "big", table)).objects
        await commit(lake, "other", table.slice(0, 10))
        data = await lake.storage.bucket.get(file.key)
        await lake.storage.bucket.delete(file.key)
        with pytest.raises(Upstream, match="no object"):
            await lake.sql.query("SELECT n FROM big WHERE id = 1")
        await lake.storage.bucket.put(file.key, data[:-10])
        with pytest.raises(Upstream):
            await lake.sql.query("SELECT n FROM big WHERE id = 1")
        assert (await lake.sql.query("SELECT count(*) FROM other")).rows == [[10]]
        await lake.storage.bucket.put(file.key, data)
        assert (await lake.sql.query("SELECT n FROM big WHERE id = 1")).rows == [[1]]
        assert await lake.sql.query("SELECT count(*) FROM other")


async def test_a_process_reads_its_own_files_only(home: Path, table: Any) -> None:
    """What a query process asks for is looked up in the set it was given; anything else ends it."""
    async with lakehouse.open(home, overrides={"storage.url": "memory://", "storage.cache_bytes": MIB}) as lake:
        manifest = await commit(lake, "big", table)
        streams = Streams(lake.datasets)
        view = {"name": "big", "streams": streams.places(manifest)}
        (name,) = streams.names(manifest)
        for asked in (
            {"file": "s3://lake/" + "0" * 64 + ".parquet", "start": 0, "end": 4},
            {"file": "_catalog/big/00000000000000000001.json", "start": 0, "end": 4},
            {"file": name, "start": -1, "end": 4},
            {"file": name, "start": 0, "end": manifest.objects[0].size_bytes + 1},
            {"file": name, "start": 4, "end": 4},
        ):
            child = await Child.start("lakehouse.engine.tables.worker", {})
            try:
                with pytest.raises(LakehouseError, match="not its own"):
                    async with streams.answering(child, [view]) as answer:
                        answer({"range": 1, **asked})
                        await anyio.sleep_forever()
            finally:
                await child.aclose()
        assert streams.bytes == 0
