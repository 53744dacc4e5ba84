"""Merge-on-read figures: a million rows and a delta of ten thousand, against raw DuckDB over the same two files.

Raw is the anti join written by hand, in one process. Ours is the same dataset through `query_sql`, gate, query process
and answer included. Milliseconds, best of several in turn; then the same after compaction. `--quick` takes a tenth of
the rows.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import duckdb

import lakehouse

ROUNDS = 7
BASE = "SELECT range AS id, range % 100 AS g, (range * 7919) % 1000003 AS v, 'text ' || range AS t FROM range({rows})"
DELTA = "SELECT range * 100 AS id, 7 AS g, range AS v, 'new ' || range AS t, range % 20 = 0 AS _deleted FROM range({n})"
QUERIES = {
    "count": "SELECT count(*) FROM t",
    "group by": "SELECT g, count(*) AS n, sum(v) AS s FROM t GROUP BY g ORDER BY g",
    "point": "SELECT * FROM t WHERE id = 123457",
    "filter, sort": "SELECT id, v FROM t WHERE v < 1000 ORDER BY v, id LIMIT 100",
    "text scan": "SELECT count(*) FROM t WHERE t LIKE '%99%'",
}
RAW = (
    "CREATE VIEW t AS SELECT * FROM '{base}' ANTI JOIN '{delta}' USING (id)"
    " UNION ALL SELECT * EXCLUDE _deleted FROM '{delta}' WHERE NOT _deleted"
)


async def main(rows: int, folder: Path) -> None:
    """Print the table."""
    base, delta = folder / "base.parquet", folder / "delta.parquet"
    raw = duckdb.connect()
    raw.execute(f"COPY ({BASE.format(rows=rows)}) TO '{base}' (FORMAT parquet, COMPRESSION zstd)")
    raw.execute(f"COPY ({DELTA.format(n=rows // 100)}) TO '{delta}' (FORMAT parquet, COMPRESSION zstd)")
    raw.execute(RAW.format(base=base, delta=delta))
    async with lakehouse.open(folder / "home") as lake:
        await lake.ingest.ingest_path(base, "t", key=["id"])
        began = time.perf_counter()
        await lake.ingest.ingest_path(delta, "t", mode="upsert", deletes="_deleted")
        upsert = time.perf_counter() - began
        merged = await measured(lake, raw)
        began = time.perf_counter()
        await lake.ingest.compact("t")
        compact = time.perf_counter() - began
        compacted = await measured(lake, raw)
    print(f"{'ms, best of ' + str(ROUNDS):>16} {'raw':>8} {'merged':>8} {'compacted':>10}")
    for name in QUERIES:
        print(f"{name:>16} {merged[name][0]:>8.1f} {merged[name][1]:>8.1f} {compacted[name][1]:>10.1f}")
    print(f"upsert of {rows // 100} rows {upsert:.2f} s, compaction {compact:.2f} s")


async def measured(lake: Any, raw: Any) -> dict[str, tuple[float, float]]:
    """For each query the best time of raw DuckDB and of ours, ms; both answers must be the same."""
    found = {}
    for name, sql in QUERIES.items():
        times: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            theirs = raw.execute(sql).fetchall()
            between = time.perf_counter()
            answer = await lake.call("sql.query", {"sql": sql})
            times.append((between - began, time.perf_counter() - between))
            assert [list(row) for row in theirs] == answer["rows"], name
        found[name] = (min(t[0] for t in times) * 1000, min(t[1] for t in times) * 1000)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        anyio.run(main, 100_000 if "--quick" in sys.argv else 1_000_000, Path(temporary))
