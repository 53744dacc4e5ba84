"""SQL over a remote bucket: listings run beside the queries, other processes' commits are seen all the same."""

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow
import pytest
from tests.doubles.s3 import S3
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Lakehouse, TimedOut, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def quick(server: S3) -> dict[str, Any]:
    """Settings with a listing due at each query."""
    values = {f"storage.{name}": value for name, value in server.values().items()}
    return values | {"sql.refresh_every": "1ms", "embed.provider": "hash"}


async def test_a_slow_listing_keeps_no_query_waiting(home: Path, moto: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """S8.7 on a remote bucket: the very first query waits for the listing; later ones answer with what is known,
    commits of this process included, while another's are looked for; then those are seen, too."""
    overrides = quick(moto)
    async with lakehouse.open(home, overrides=overrides) as lake:
        await commit(lake, "t", pyarrow.table({"n": [1]}))
        assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
        listing, answered = anyio.Event(), anyio.Event()
        real = lake.storage.bucket.list

        async def slow(prefix: str = "", **more: Any) -> Any:
            if prefix == "_catalog/":
                listing.set()
                await answered.wait()
            return await real(prefix, **more)

        monkeypatch.setattr(lake.storage.bucket, "list", slow)
        while not listing.is_set():
            assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
        await commit(lake, "mine", pyarrow.table({"n": [2]}))
        assert (await lake.sql.query("SELECT n FROM mine")).rows == [[2]]
        another = home.with_name("another")
        async with lakehouse.open(another, overrides=overrides) as other:
            await commit(other, "theirs", pyarrow.table({"n": [3]}))
        with pytest.raises(InvalidInput, match="theirs"):
            await lake.sql.query("SELECT n FROM theirs")
        answered.set()
        while not any(manifest.name == "theirs" for manifest in await lake.datasets.list()):
            await lake.sql.query("SELECT 1")
        assert (await lake.sql.query("SELECT n FROM theirs")).rows == [[3]]


async def test_a_refresh_that_fails_aside_harms_nobody(
    home: Path, moto: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = quick(moto)
    async with lakehouse.open(home, overrides=overrides) as lake:
        await commit(lake, "t", pyarrow.table({"n": [1]}))
        assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
        failures: list[Exception] = [Upstream("down."), RuntimeError("a bug")]

        async def fail() -> Any:
            raise failures.pop() if len(failures) > 1 else failures[0]

        monkeypatch.setattr(lake.datasets, "refresh", fail)
        while len(failures) > 1 or "sql.refresh_failed" not in caplog.text:
            assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
        assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]


async def test_files_come_when_a_query_names_their_dataset(
    home: Path, moto: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8.5: nothing else is downloaded, nothing twice; what this process stored is here already."""
    overrides = quick(moto)
    async with lakehouse.open(home, overrides=overrides) as lake:
        path = home.with_name("rows.csv")
        for name, rows in (("a", "n\n1\n"), ("b", "n\n2\n"), ("c", "n\n3\n")):
            await anyio.Path(path).write_text(rows)
            await lake.ingest.ingest_path(path, name)
        fetched = counted(lake, monkeypatch)
        assert (await lake.sql.query("SELECT n FROM a")).rows == [[1]]
        assert fetched == []
    async with lakehouse.open(home.with_name("another"), overrides=overrides) as lake:
        fetched = counted(lake, monkeypatch)
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
        assert fetched == []
        for _ in range(2):
            assert (await lake.sql.query("SELECT a.n + b.n FROM a, b")).rows == [[3]]
        assert sorted(key.split("/")[1] for key in fetched) == ["a", "b"]


async def test_a_download_outlives_the_query_that_wanted_it(
    home: Path, moto: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = quick(moto)
    async with lakehouse.open(home.with_name("another"), overrides=overrides) as other:
        await commit(other, "t", pyarrow.table({"n": [1]}))
    async with lakehouse.open(home, overrides=overrides) as lake:
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]
        fetched, gone_on = counted(lake, monkeypatch), anyio.Event()
        real = lake.storage.bucket.get_to

        async def slow(key: str, path: Path) -> None:
            await gone_on.wait()
            await real(key, path)

        monkeypatch.setattr(lake.storage.bucket, "get_to", slow)
        for _ in range(2):
            with pytest.raises(TimedOut, match="still being copied"):
                await lake.sql.query("SELECT n FROM t", timeout=0.3)
        assert (await lake.sql.query("SELECT 2")).rows == [[2]]
        gone_on.set()
        assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
        assert len(fetched) == 1


async def test_a_file_that_is_gone_or_altered_is_reported_and_mended(home: Path, moto: S3) -> None:
    """Each query tries anew; other datasets are not affected."""
    overrides = quick(moto)
    async with lakehouse.open(home.with_name("another"), overrides=overrides) as other:
        for name in ("t", "u"):
            await commit(other, name, pyarrow.table({"n": [1]}))
        (file,) = (await other.datasets.get("t")).objects
        good = await other.storage.bucket.get(file.key)
        async with lakehouse.open(home, overrides=overrides) as lake:
            await other.storage.bucket.delete(file.key)
            with pytest.raises(Upstream, match="no object"):
                await lake.sql.query("SELECT n FROM t")
            await other.storage.bucket.put(file.key, b"X" + good[1:])
            with pytest.raises(Upstream, match="not the file that was recorded"):
                await lake.sql.query("SELECT n FROM t")
            assert (await lake.sql.query("SELECT n FROM u")).rows == [[1]]
            await other.storage.bucket.put(file.key, good)
            assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]


async def test_a_copy_that_is_spoiled_is_fetched_again(home: Path, moto: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket has the file as it was; only where that is spoiled, too, the dataset is damaged."""
    async with lakehouse.open(home, overrides=quick(moto)) as lake:
        await commit(lake, "t", pyarrow.table({"n": [1]}))
        manifest = await lake.datasets.get("t")
        for harm in (lambda p: p.write_bytes(b"X" + p.read_bytes()[1:]), Path.unlink):
            assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
            (copy,) = await lake.datasets.local_files(manifest)
            await anyio.to_thread.run_sync(copy.chmod, 0o600)
            await anyio.to_thread.run_sync(harm, copy)
            fetched = counted(lake, monkeypatch)
            assert (await lake.sql.query("SELECT n FROM t")).rows == [[1]]
            assert len(fetched) == 1
            monkeypatch.undo()
        (file,) = manifest.objects
        await anyio.to_thread.run_sync(copy.chmod, 0o600)
        await anyio.to_thread.run_sync(copy.write_bytes, b"X" * file.size_bytes)
        await lake.storage.bucket.put(file.key, b"X" * file.size_bytes)
        for _ in range(2):
            with pytest.raises(Upstream, match="not the file that was recorded"):
                await lake.sql.query("SELECT n FROM t")
        assert (await lake.sql.query("SELECT 1")).rows == [[1]]


def counted(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the objects that are downloaded from now on."""
    keys: list[str] = []
    real = lake.storage.bucket.get_to

    async def count(key: str, path: Path) -> None:
        keys.append(key)
        await real(key, path)

    monkeypatch.setattr(lake.storage.bucket, "get_to", count)
    return keys
