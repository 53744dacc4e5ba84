"""Ingest figures: the staffing table of 500,000 rows against one raw strict DuckDB COPY, in turn, and memory.

Ours is counted from the call to the committed version, the reading process's start included; the raw copy is a fresh
process from start to end. `--quick` takes a tenth of the rows.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

import lakehouse

ROOT = Path(__file__).parents[1]
RUNS = 3
RAW = """
import sys, duckdb
source, target = sys.argv[1:]
duckdb.execute("SET enable_progress_bar = false")
duckdb.execute(f"COPY (SELECT * FROM read_csv('{source}', sample_size=-1, strict_mode=true, header=true, delim=',', "
               f"quote='\\"', escape='\\"')) TO '{target}' "
               "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 122880)")
"""


def write_table(path: Path, rows: int) -> None:
    """Write the staffing table."""
    spec = importlib.util.spec_from_file_location("staffing", ROOT / "corpora" / "staffing.py")
    assert spec and spec.loader
    staffing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(staffing)
    staffing.write_csv(path, rows)


def peak_mib(who: int) -> float:
    """The most memory this process (or the largest of its children) ever held, MiB."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(who).ru_maxrss / scale


def ours(source: str, home: str) -> None:
    """One ingest into a fresh data directory; prints its figures as JSON."""

    async def run() -> dict[str, Any]:
        async with lakehouse.open(home) as lake:
            before = peak_mib(resource.RUSAGE_SELF)
            began = time.perf_counter()
            answer = await lake.call("ingest.file", {"path": source, "name": "staffing"}, via="cli")
            took = time.perf_counter() - began
        parent, child = peak_mib(resource.RUSAGE_SELF), peak_mib(resource.RUSAGE_CHILDREN)
        cpu = sum(os.times()[:4])
        return {"seconds": took, "tree": parent + child, "growth": parent - before + child, "cpu": cpu, **answer}

    print(json.dumps(anyio.run(run)))


def measure_ours(table: Path, folder: Path) -> dict[str, Any]:
    """The figures of one ingest in a fresh process."""
    home = folder / f"home-{time.monotonic_ns()}"
    done = subprocess.run(
        [sys.executable, __file__, "--ours", str(table), str(home)], check=True, capture_output=True, text=True
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure_raw(table: Path, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the raw copy in a fresh process."""
    before, began = sum(os.times()[2:4]), time.perf_counter()
    subprocess.run([sys.executable, "-c", RAW, str(table), str(folder / "raw.parquet")], check=True)
    return time.perf_counter() - began, sum(os.times()[2:4]) - before


def main() -> int:
    """Print both times, their ratio and the memory."""
    if sys.argv[1:2] == ["--ours"]:
        ours(*sys.argv[2:])
        return 0
    rows = 50_000 if "--quick" in sys.argv else 500_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "staffing.csv"
        write_table(table, rows)
        raw, our = [], []
        for _ in range(RUNS):
            raw.append(measure_raw(table, folder))
            our.append(measure_ours(table, folder))
        smaller = folder / "smaller.csv"
        write_table(smaller, rows * 3 // 10)
        growth = measure_ours(smaller, folder)["growth"]
        size, small = table.stat().st_size / 2**20, smaller.stat().st_size / 2**20
    ours_s, raw_s = statistics.median(f["seconds"] for f in our), statistics.median(wall for wall, _ in raw)
    ratio = statistics.median(f["seconds"] / wall for f, (wall, _) in zip(our, raw, strict=True))
    print(
        f"CSV of {rows:,} rows x 18, {size:.0f} MiB, to a committed version: {our[0]['bytes'] / 2**20:.0f} MiB Parquet"
    )
    print(f"  ours            {ours_s:6.2f} s   (CPU {statistics.median(f['cpu'] for f in our):.2f} s)")
    print(f"  raw DuckDB COPY {raw_s:6.2f} s   (CPU {statistics.median(cpu for _, cpu in raw):.2f} s)")
    print(f"  ratio {ratio:.2f} (target <= 1.2); peak RSS of all our processes {max(f['tree'] for f in our):.0f} MiB")
    print(f"  memory growth for a {small:.0f} MiB CSV: {growth:.0f} MiB (target < 300 MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
