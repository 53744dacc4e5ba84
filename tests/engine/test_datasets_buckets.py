"""Datasets of several buckets: one that is down takes nothing from the others, a name two have, where new ones go."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.catalog import COLUMNS, a_file

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse, NotFound, Unavailable
from lakehouse.engine.datasets import DatasetNotFound, Datasets
from lakehouse.engine.storage import Storage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lake(home: Path, tmp_path: Path) -> AsyncIterator[Lakehouse]:
    """A lake with a second bucket."""
    async with lakehouse.open(home, overrides=buckets(tmp_path)) as opened:
        yield opened


def buckets(folder: Path) -> dict[str, Any]:
    archive = {"name": "archive", "url": (folder / "archive").as_uri()}
    return {"embed.provider": "hash", "storage.buckets": [archive]}


async def ingest(lake: Lakehouse, name: str, bucket: str | None = None) -> None:
    arguments = {"name": name, "content": "id,role\n1,nurse\n"}
    await lake.call("ingest_file", arguments | ({"bucket": bucket} if bucket else {}))


def away(folder: Path) -> None:
    if folder.is_dir():
        folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder)  # a link to itself: every operation fails


@pytest.mark.slow
async def test_a_dataset_lives_in_its_bucket(lake: Lakehouse, tmp_path: Path) -> None:
    """`ingest_file(bucket=)` says where a new dataset goes; later versions stay there; SQL sees all."""
    await ingest(lake, "here")
    await ingest(lake, "there", "archive")
    await lake.call("ingest_file", {"name": "there", "content": "id,role\n2,cook\n"})
    manifest = await lake.datasets.get("there")
    assert (manifest.bucket, manifest.version) == ("archive", 2)
    assert all((tmp_path / "archive" / file.key).is_file() for file in manifest.objects)
    rows = (await lake.call("query_sql", {"sql": "SELECT * FROM here UNION ALL FROM there ORDER BY id"}))["rows"]
    assert rows == [[1, "nurse"], [2, "cook"]]
    with pytest.raises(Conflict, match="'archive'"):
        await ingest(lake, "there", "primary")
    with pytest.raises(NotFound, match="no bucket"):
        await ingest(lake, "new", "attic")
    await lake.call("storage_put", {"key": "in.csv", "text": "id\n1\n", "bucket": "archive"})
    await lake.call("ingest_file", {"name": "stored", "object_key": "archive://in.csv"})
    assert (await lake.datasets.get("stored")).bucket == "primary"


@pytest.mark.slow
async def test_a_bucket_that_is_down_takes_nothing_from_the_others(lake: Lakehouse, tmp_path: Path) -> None:
    """Known before, its datasets stay known; a new process reads the others, names the trouble, and tries again."""
    await ingest(lake, "here")
    await ingest(lake, "there", "archive")
    away(tmp_path / "archive")
    assert any("'archive' cannot be read" in why for why in await lake.datasets.refresh())
    assert await lake.datasets.names() == ["here", "there"]
    assert (await lake.call("query_sql", {"sql": "SELECT role FROM here"}))["rows"] == [["nurse"]]
    anew = Datasets(lake.home, Storage(lake.home, lake.config.storage))
    assert await anew.names() == ["here"]
    assert [manifest.name for manifest in await anew.list()] == ["here"]
    with pytest.raises(DatasetNotFound) as unknown:
        await anew.get("there")
    assert "bucket archive, which cannot be read" in unknown.value.fix
    assert any("'archive' cannot be read" in why for why in anew.problems)
    await anew.commit("more", COLUMNS, [a_file("x")])
    (tmp_path / "archive").unlink()
    await anyio.Path(tmp_path / "elsewhere").rename(tmp_path / "archive")
    assert await anew.refresh() == []
    assert (await anew.get("there")).bucket == "archive"


async def test_what_a_bucket_that_is_down_may_have(lake: Lakehouse, tmp_path: Path) -> None:
    """Rows for a dataset that may be there do not become another one that hides it; gc clears up the other buckets."""
    await ingest(lake, "there", "archive")
    await lake.aclose()
    away(tmp_path / "archive")
    async with lakehouse.open(lake.settings.home, overrides=buckets(tmp_path)) as anew:
        rows = {"name": "there", "content": "id,role\n2,cook\n"}
        for mode in ("append", "upsert"):
            with pytest.raises(Unavailable, match="there") as refused:
                await anew.call("ingest_file", rows | {"mode": mode, "key": ["id"]})
            assert "bucket archive" in refused.value.fix and "name its bucket" in refused.value.fix
        with pytest.raises(InvalidInput, match="no dataset 'there'") as unknown:
            await anew.call("query_sql", {"sql": "FROM there"})
        assert "bucket archive" in unknown.value.fix
        await anew.call("ingest_file", {"name": "new", "content": "a\n1\n", "mode": "append", "bucket": "primary"})
        left = anew.storage.bucket.root / f"datasets/new/{'0' * 64}-{'1' * 64}.parquet"  # type: ignore[operator]
        left.write_bytes(b"left")
        os.utime(left, (1, 1))
        done = await anew.call("gc", {})
        assert done["files"] == 1 and "archive" in done["problems"][0]
        (tmp_path / "archive").unlink()
        await anyio.Path(tmp_path / "elsewhere").rename(tmp_path / "archive")
        await anew.datasets.refresh()
        assert (await anew.call("ingest_file", rows | {"mode": "append"}))["row_count"] == 2


async def test_a_name_two_buckets_have(lake: Lakehouse) -> None:
    """The first bucket's is read, and the other is a problem that is reported."""
    await ingest(lake, "both")
    other, _ = await lake.datasets.commit("both", COLUMNS, [a_file("x")], bucket="archive")
    assert other.bucket == "archive"
    assert (await lake.datasets.get("both")).bucket == "primary"
    assert [(m.name, m.bucket) for m in await lake.datasets.list()] == [("both", "primary")]
    assert [why for why in await lake.datasets.refresh() if "hidden" in why] == [
        "dataset 'both' of bucket 'archive' is hidden by that of 'primary'."
    ]


async def test_an_older_version_is_of_the_dataset_that_is_seen(home: Path, tmp_path: Path) -> None:
    """A number that only the hidden dataset of another bucket has is no version of this one."""
    async with lakehouse.open(home, overrides=buckets(tmp_path)) as lake:
        await lake.datasets.commit("both", COLUMNS, [a_file("one")])
        for content in ("two", "three"):
            await lake.datasets.commit("both", COLUMNS, [a_file(content)], bucket="archive")
        assert (await lake.datasets.get("both", 1)).bucket == "primary"
        with pytest.raises(DatasetNotFound, match="no version 2"):
            await lake.datasets.get("both", 2)
