"""SQL: small queries and a large scan through the query process, against raw DuckDB on the same Parquet file."""

import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import duckdb
import pyarrow
import pyarrow.parquet

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.datasets import Column, DataFile, data_key, fingerprint

CALLS = 200
SCAN_ROWS = 6_000_000
SMALL = {
    "SELECT 1": "SELECT 1",
    "one row": "SELECT * FROM {t} WHERE id = 4242",
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
        f"{what:<28} ours {ours_p50:8.2f} ms   raw {raw_p50:8.2f} ms   over {ours_p50 - raw_p50:6.2f} ms   "
        f"ratio {ours_p50 / raw_p50:5.2f}"
    )


async def compare(lake: Lakehouse, what: str, sql: str, raw: duckdb.DuckDBPyConnection, calls: int) -> None:
    """The same statement both ways, in turns."""
    ours_times, raw_times = [], []
    await lake.sql.query(sql)
    for _ in range(calls):
        began = time.perf_counter()
        await lake.sql.query(sql)
        ours_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        raw.execute(sql).fetchall()
        raw_times.append(time.perf_counter() - began)
    row(what, ours_times, raw_times)


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
                await compare(lake, what, sql.format(t="small"), raw, 20 if quick else CALLS)
            await compare(lake, f"scan of {SCAN_ROWS // (10 if quick else 1):,} rows", SCAN.format(t="large"), raw, 10)
            raw.close()


if __name__ == "__main__":
    anyio.run(main, "--quick" in sys.argv)
