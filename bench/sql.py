"""SQL: small queries and a large scan, in process and over stdio, against raw DuckDB on the same Parquet file."""

import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import duckdb
import pyarrow
import pyarrow.parquet
from protocol import Peer  # type: ignore[import-not-found]  # the script beside this one

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.datasets import Column, DataFile, data_key, fingerprint

CALLS = 200
SCAN_ROWS = 6_000_000
SMALL = {
    "SELECT 1": "SELECT 1",
    "one row": "SELECT * FROM {t} WHERE id = 4242",
    "one row, each text new": "SELECT * FROM {t} WHERE id = {n}",
    "100 groups": "SELECT grp, count(*) AS n, sum(amount) AS total FROM {t} GROUP BY grp ORDER BY grp",
}
SCAN = "SELECT grp, sum(amount) AS total, avg(price), count(*) FROM {t} WHERE price < 900 GROUP BY grp ORDER BY grp"


def generate(path: Path, rows: int) -> pyarrow.Schema:
    """A Parquet file of `rows` rows, the same every time."""
    duckdb.execute(
        f"COPY (SELECT i AS id, i % 100 AS grp, (hash(i) % 100000) / 100 AS price, hash(i + 1) % 50 AS amount, "
        f"'item ' || i AS name FROM range({rows}) t(i)) "
        f"TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
    )
    return pyarrow.parquet.read_schema(path)


async def register(lake: Lakehouse, name: str, rows: int) -> Path:
    """Store a generated file as a dataset; the file it lies in."""
    async with lake.storage.scratch() as folder:
        path = folder / "data.parquet"
        schema = generate(path, rows)
        content = path.read_bytes()
        columns = [Column(field.name, str(field.type)) for field in schema]
        sha256 = hashlib.sha256(content).hexdigest()
        key = data_key(name, fingerprint(columns), sha256)
        await lake.storage.bucket.put_file(key, path)
        manifest, _ = await lake.datasets.commit(name, columns, [DataFile(key, sha256, len(content), rows)])
    return (await lake.datasets.local_files(manifest))[0]


def row(what: str, ours: Sequence[float], raw: Sequence[float]) -> None:
    """One line of the table, milliseconds."""
    ours_p50, raw_p50 = statistics.median(ours) * 1000, statistics.median(raw) * 1000
    print(
        f"{what:<41} ours {ours_p50:8.2f} ms   raw {raw_p50:8.2f} ms   over {ours_p50 - raw_p50:6.2f} ms   "
        f"ratio {ours_p50 / raw_p50:5.2f}"
    )


async def compare(lake: Lakehouse, what: str, sql: str, raw: duckdb.DuckDBPyConnection, calls: int) -> None:
    """The same statement both ways, in turns."""
    ours_times, raw_times = [], []
    await lake.sql.query(sql.format(n=0))
    for n in range(calls):
        text = sql.format(n=n)
        began = time.perf_counter()
        await lake.sql.query(text)
        ours_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        raw.execute(text).fetchall()
        raw_times.append(time.perf_counter() - began)
    row(what, ours_times, raw_times)


def through_stdio(home: str, raw: duckdb.DuckDBPyConnection, calls: int) -> None:
    """The small statements through a server process, raw lines to and from it, in turns with raw DuckDB."""
    for modern in (False, True):
        peer = Peer([sys.executable, "-m", "lakehouse", "--home", home, "stdio"], modern)
        for what, sql in SMALL.items():
            ours_times, raw_times = [], []
            for n in range(calls + 10):
                text = sql.format(t="small", n=n)
                began = time.perf_counter()
                answer = peer.ask("tools/call", {"name": "query_sql", "arguments": {"sql": text}})
                ours_times.append(time.perf_counter() - began)
                assert not answer.get("isError"), answer
                began = time.perf_counter()
                raw.execute(text).fetchall()
                raw_times.append(time.perf_counter() - began)
            era = "2026-07-28" if modern else "2025-11-25"
            row(f"stdio {era}: {what}", ours_times[10:], raw_times[10:])  # the first ones warm up
        peer.end()


async def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with lakehouse.open(home) as lake:
            raw = duckdb.connect()
            for name, rows in (("small", 10_000), ("large", SCAN_ROWS // (10 if quick else 1))):
                path = await register(lake, name, rows)
                raw.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")
            began = time.perf_counter()
            await lake.sql.query("SELECT 1")
            print(f"first query, process started {(time.perf_counter() - began) * 1000:7.0f} ms")
            for what, sql in SMALL.items():
                await compare(lake, what, sql.format(t="small", n="{n}"), raw, 20 if quick else CALLS)
            await compare(lake, f"scan of {SCAN_ROWS // (10 if quick else 1):,} rows", SCAN.format(t="large"), raw, 10)
        await anyio.to_thread.run_sync(through_stdio, home, raw, 20 if quick else CALLS)
        raw.close()


if __name__ == "__main__":
    anyio.run(main, "--quick" in sys.argv)
