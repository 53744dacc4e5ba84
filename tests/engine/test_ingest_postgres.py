"""Postgres, against a real server: types, refusals, limits, and a connection string that is told to nobody."""

import datetime as dt
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.doubles import postgres
from tests.doubles.postgres import PASSWORD, Postgres

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse, LakehouseError, NotFound
from lakehouse.engine.ingest import worker
from lakehouse.errors import NotInstalled, TimedOut, TooLarge, Upstream

pytestmark = pytest.mark.anyio

TABLES = """
CREATE TABLE kinds (
    i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric(10,2), exact numeric(30,5), loose numeric,
    b bool, d date, ts timestamp, tz timestamptz, j jsonb, u uuid, list int[], raw bytea, e text, m interval
);
INSERT INTO kinds VALUES
    (1, 2, 3, 1.5, 2.5, 12.34, 123456789012345678901.12345, 0.1, true, '2024-01-02', '2024-01-02 03:04:05.678',
     '2024-01-02 03:04:05+02', '{"a": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{1,2}', '\\x00ff', 'é', '1 day'),
    (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
CREATE VIEW many AS SELECT g AS id, 'row ' || g AS text FROM generate_series(1, 20000) g;
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."it's" AS SELECT 1 AS one;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.running() as running:
        with psycopg.connect(running.dsn) as connection:
            connection.execute(TABLES)
        yield running


async def take(lake: Lakehouse, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await lake.call("ingest_postgres", {"name": "t", **arguments})
    return answer


@pytest.mark.slow
async def test_types(lake: Lakehouse, server: Postgres) -> None:
    """S7.12, A-S7-8: a table to SQL, whole."""
    made = await take(lake, dsn=server.dsn, table="public.kinds")
    assert {c["name"]: c["type"] for c in made["columns"]} == {
        **dict.fromkeys(("i2", "i4", "i8"), "int64"),
        **dict.fromkeys(("f4", "f8", "n", "loose"), "double"),
        "exact": "decimal128(30, 5)",
        **{"b": "bool", "d": "date32[day]", "ts": "timestamp[us]", "tz": "timestamp[us, tz=UTC]"},
        **dict.fromkeys(("j", "u", "list", "raw", "e", "m"), "string"),
    }
    stored = await lake.datasets.get("t")
    import pyarrow.parquet as pq

    first, second = pq.read_table((await lake.datasets.local_files(stored))[0]).to_pylist()
    assert set(second.values()) == {None}
    assert first == {
        **{
            "i2": 1,
            "i4": 2,
            "i8": 3,
            "f4": 1.5,
            "f8": 2.5,
            "n": 12.34,
            "exact": Decimal("123456789012345678901.12345"),
        },
        **{"loose": 0.1, "b": True, "d": dt.date(2024, 1, 2), "ts": dt.datetime(2024, 1, 2, 3, 4, 5, 678000)},
        **{"tz": dt.datetime(2024, 1, 2, 1, 4, 5, tzinfo=dt.UTC), "j": '{"a": 1}', "list": "{1,2}", "raw": "\\x00ff"},
        **{"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "e": "é", "m": "1 day"},
    }
    assert (await take(lake, dsn=server.dsn, table="kinds"))["existing"]
    provenance = (await lake.datasets.get("t")).provenance
    assert provenance["source"] == "postgres" and provenance["table"] == "public.kinds"


@pytest.mark.slow
async def test_queries_and_modes(lake: Lakehouse, server: Postgres) -> None:
    """More rows than one fetch; names that need quotes; an upsert by key."""
    made = await take(lake, name="many", dsn=server.dsn, table="many")
    assert made["row_count"] == 20_000
    query = "SELECT 20000 + g AS id, 'new' AS text FROM generate_series(0, 1) g;"
    made = await take(lake, name="many", dsn=server.dsn, query=query.rstrip(";"), mode="upsert", key=["id"])
    assert made["row_count"] == 20_001
    assert (await take(lake, name="odd", dsn=server.dsn, table="Odd Schema.it's"))["row_count"] == 1
    declare = [line for line in server.log.splitlines() if "DECLARE" in line]
    assert declare and "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" in server.log


@pytest.mark.slow
async def test_what_is_refused(lake: Lakehouse, server: Postgres) -> None:
    for arguments, kind, words in (
        ({"query": "SELECT 1 AS a; DROP TABLE kinds"}, InvalidInput, "multiple commands"),
        ({"query": "INSERT INTO kinds (i2) VALUES (1) RETURNING i2"}, InvalidInput, "syntax"),
        ({"query": "WITH x AS (DELETE FROM kinds RETURNING 1) SELECT * FROM x"}, InvalidInput, "modif|read-only"),
        ({"table": "nobody"}, NotFound, "nobody"),
        ({"table": "kinds; DROP TABLE kinds"}, NotFound, "does not exist"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, InvalidInput, "columns 1, 2"),
        ({"query": "SELECT 1 AS a WHERE false"}, InvalidInput, "no row"),
        ({"query": "SELECT 12345678901234567890::numeric AS x"}, InvalidInput, "'x'.*lose digits"),
        ({"query": "SELECT 'infinity'::date AS d"}, InvalidInput, "infinity"),
        ({"query": "SELECT repeat('x', 20000000) AS x"}, TooLarge, "max_cell_bytes"),
        ({"query": "SELECT 1", "table": "kinds"}, InvalidInput, "exactly one"),
        ({}, InvalidInput, "exactly one"),
        ({"table": "kinds", "dsn_secret": "shop"}, InvalidInput, "exactly one"),
    ):
        with pytest.raises(kind, match=words):
            await take(lake, dsn=server.dsn, **arguments)
    assert await lake.datasets.names() == []
    with suppress(InvalidInput):  # older servers let this one write
        await take(lake, dsn=server.dsn, query="SELECT lo_create(0)")
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kinds").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)


@pytest.mark.slow
async def test_time_is_limited(home: Path, server: Postgres) -> None:
    async with lakehouse.open(home, overrides={"ingest.remote_timeout_secs": 2}) as lake:
        with pytest.raises(TimedOut, match="2 seconds"):
            await take(lake, dsn=server.dsn, query="SELECT pg_sleep(60)")


@pytest.mark.slow
async def test_the_connection_string_is_told_to_nobody(
    home: Path, server: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in errors, the record of calls, the log, the manifest or any other file; that of the secrets file neither."""
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(f'[postgres.shop]\ndsn = "{server.dsn}"\n', encoding="utf-8")
    secrets.chmod(0o600)
    caplog.set_level(logging.DEBUG)
    wrong = server.dsn.replace(PASSWORD, "hunter2hunter2")
    async with lakehouse.open(home, overrides={"storage.secrets": str(secrets)}) as lake:
        for via in ("python", "mcp"):  # what the operator wrote down may lead anywhere
            answer = await lake.call("ingest_postgres", {"name": "s", "dsn_secret": "shop", "table": "kinds"}, via=via)
        assert answer["existing"] and (await lake.datasets.get("s")).provenance["dsn_secret"] == "shop"
        await take(lake, dsn=server.dsn, table="kinds")
        told = []
        for dsn, kind in (
            (wrong, Upstream),
            (f"postgresql://keeper:{PASSWORD}@127.0.0.1:1/postgres", Upstream),
            (f"postgresql://keeper:{PASSWORD}@nobody.invalid/postgres", Upstream),
            (f"{PASSWORD} is no connection string", InvalidInput),
            (f"postgresql://keeper:{PASSWORD}@h/x?nonsense={PASSWORD}", InvalidInput),
        ):
            with pytest.raises(kind) as raised:
                await take(lake, dsn=dsn, table="kinds")
            told.append(str(raised.value))
        with pytest.raises(NotFound, match="dsn_secret") as unknown:
            await take(lake, dsn_secret="shopp", table="kinds")
        assert "shop" in unknown.value.fix
        told += [str(await lake.call("observer.recent", {})), caplog.text]
    secret = (PASSWORD, "hunter2hunter2", "keeper:")
    assert not [word for word in secret for text in told if word in text]
    for path in home.rglob("*"):
        if path.is_file():
            assert not any(word.encode() in path.read_bytes() for word in secret), path


@pytest.mark.slow
async def test_who_may_name_internal_addresses(home: Path, server: Postgres) -> None:
    """Over MCP and HTTP only public hosts, and networks of ingest.internal_networks; and no file of this machine."""
    async with lakehouse.open(home) as lake:
        for dsn in (server.dsn, "postgresql://10.0.0.1/x", "host=/tmp dbname=x", "dbname=x", "host=a,b", "service=x"):
            with pytest.raises((Forbidden, LakehouseError)) as raised:
                await lake.call("ingest_postgres", {"name": "t", "dsn": dsn, "table": "kinds"}, via="mcp")
            assert isinstance(raised.value, Forbidden), dsn
    async with lakehouse.open(home, overrides={"ingest.internal_networks": ["127.0.0.0/8"]}) as lake:
        answer = await lake.call("ingest_postgres", {"name": "t", "dsn": server.dsn, "table": "kinds"}, via="http")
        assert answer["row_count"] == 2
        for more in (
            "passfile=/etc/passwd",
            "sslkey=/root/.ssh/id",
            "options=-cstatement_timeout%3D0",
            "hostaddr=10.0.0.1",
        ):
            with pytest.raises(Forbidden, match="may not be given"):
                await lake.call(
                    "ingest_postgres", {"name": "t", "dsn": f"{server.dsn}?{more}", "table": "kinds"}, via="mcp"
                )


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lakehouse.engine.ingest.database", None)
    with pytest.raises(NotInstalled, match="psycopg") as raised:
        worker._ingest({}, {"source": "postgres"}, lambda *_: None)
    assert "lakehouse-mcp[postgres]" in raised.value.fix
