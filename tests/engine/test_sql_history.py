"""The queries that were asked: remembered over restarts, without credentials, each profile its own."""

import logging
from pathlib import Path

import anyio
import pytest
from tests.tables import commit

import lakehouse
from lakehouse import Lakehouse, LakehouseError, TimedOut
from lakehouse.engine.profiles import Profile
from lakehouse.engine.sql import History, Sql
from lakehouse.engine.sql.history import Entry

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_every_query_is_remembered_over_restarts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "hunter22")
    async with lakehouse.open(home) as lake:
        await commit(lake, "orders", {"id": [1, 2]})
        await commit(lake, "orders", {"id": [1, 2, 3]})
        await lake.call("query_sql", {"sql": 'SELECT o.id FROM orders o JOIN "orders@v1" USING (id) -- hunter22'})
        with pytest.raises(LakehouseError):
            await lake.call("query_sql", {"sql": "FROM ordrs"})
        with anyio.move_on_after(0.2):
            await lake.call("query_sql", {"sql": "SELECT count(*) FROM range(3000000) a, range(3000000) b"})
        with pytest.raises(TimedOut):
            await lake.sql.query("SELECT count(*) FROM range(3000000) a, range(3000000) b", timeout=0.1)
    async with lakehouse.open(home) as lake:
        await lake.call("query_sql", {"sql": f"SELECT '{'x' * 3000}'"})
        found = (await lake.call("query_history", {}))["queries"]
        assert [one["outcome"] for one in found] == ["ok", "timeout", "cancelled", "invalid_request", "ok"]
        long, _, _, wrong, first = found
        assert (first["datasets"], first["rows"]) == (["orders@2", "orders@1"], 2)
        assert first["who"] == "python" and first["call"] and first["bytes"] == len("[[1],[2]]")
        assert "hunter22" not in str(found) and "[redacted]" in first["sql"]
        assert "no dataset 'ordrs'" in wrong["error"] and len(long["sql"]) == 2000
        for asked, count in (
            ({"failed_only": True}, 3),
            ({"contains": "ORDRS"}, 1),
            ({"limit": 2}, 2),
            ({"min_ms": 90}, 2),
            ({"min_ms": 90, "failed_only": True, "contains": "none"}, 0),
        ):
            answer = await lake.call("query_history", asked)
            assert answer["count"] == len(answer["queries"]) and answer["count"] >= count, asked
            if count == 0 or "min_ms" not in asked:
                assert answer["count"] == count, asked


@pytest.mark.slow
async def test_slow_ones_are_told(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with lakehouse.open(home, overrides={"sql.slow_ms": 1}) as lake:
        with caplog.at_level(logging.WARNING, "lakehouse"):
            await lake.sql.query("SELECT count(*) FROM range(1000000) t(i) WHERE md5(i::VARCHAR) > 'b'")
    assert "sql.slow" in caplog.text and "md5" in caplog.text


async def test_a_disk_that_fails_fails_no_query(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file", lake.redactor, 0)
    history.add(Entry("SELECT 1"))
    await history.aclose()
    assert history.lost == 1
    assert [one.sql for one in await history.recent()] == ["SELECT 1"]


@pytest.mark.slow
async def test_each_profile_sees_its_own(lake: Lakehouse) -> None:
    for name in ("mine", "theirs"):
        await commit(lake, name, {"id": [1]})
        profile = Profile(name, lake.datasets.catalogs()[0].bucket.name, frozenset({name}))
        bound = Sql(lake.storage, lake.datasets.within(profile), lake.results, lake.config.sql, history=lake.history)
        await bound.query(f"FROM {name}")
        await bound.aclose()
    await lake.sql.query("SELECT 1")
    assert [one.sql for one in await lake.history.recent(scope=profile.digest)] == ["FROM theirs"]
    assert len(await lake.history.recent()) == 3
