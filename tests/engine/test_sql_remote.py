"""SQL over a remote bucket: listings run beside the queries, other processes' commits are seen all the same."""

from pathlib import Path
from typing import Any

import anyio
import pyarrow
import pytest
from tests.doubles.s3 import S3
from tests.tables import commit

import lakehouse
from lakehouse import InvalidInput, Upstream

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
