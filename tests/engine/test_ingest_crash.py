"""Ingest cut off at any moment leaves the old version or the new one, and nothing else."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pyarrow.parquet as pq
import pytest
from tests.engine.ingesting import Bench

from lakehouse.engine.child import Child
from lakehouse.errors import InvalidInput, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

INGEST = """
import sys, anyio
from pathlib import Path
from lakehouse import config
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.ingest import Ingester
from lakehouse.engine.storage import Storage
from lakehouse.engine.template import TEMPLATE

async def main(home, source):
    storage = Storage(home, config.Storage())
    await Ingester(storage, Datasets(home, storage), config.Ingest()).ingest_path(source, "t")

TEMPLATE.hold()
print("ready", flush=True)
anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def table(path: Path, rows: int) -> Path:
    """A CSV of so many rows, about 40 bytes each."""
    path.write_text("a,b\n" + "".join(f"{n},some text of row {n}\n" for n in range(rows)), encoding="utf-8")
    return path


async def test_killed_at_any_moment(bench: Bench, tmp_path: Path, seconds: Callable[[float], float]) -> None:
    """S7.8: after kill -9 the dataset is whole, old or new, and can be written again."""
    source = random.Random(11)
    end = time.monotonic() + seconds(5)
    rows = 0
    while time.monotonic() < end:
        rows += 20_000
        path = table(tmp_path / "t.csv", rows)
        process = subprocess.Popen(
            [sys.executable, "-c", INGEST, str(bench.home), str(path)], stdout=subprocess.PIPE, start_new_session=True
        )
        with process:
            assert process.stdout is not None and process.stdout.readline()
            try:
                process.wait(source.random())
            except subprocess.TimeoutExpired:
                process.kill()
        # A new catalog, as after a restart: what it shows is readable to the last row.
        seen = Bench(tmp_path)
        assert await seen.datasets.refresh() == []
        for manifest in await seen.datasets.list():
            assert manifest.row_count in range(20_000, rows + 1, 20_000)
            (file,) = await seen.datasets.local_files(manifest)
            assert pq.ParquetFile(file).read().num_rows == manifest.row_count
    done = await Bench(tmp_path).ingester.ingest_path(table(tmp_path / "t.csv", 10), "t")
    assert done.row_count == 10


async def test_the_reader_goes_with_its_parent(tmp_path: Path) -> None:
    """The child ends when the process that started it is killed."""
    home, path = tmp_path / "home", table(tmp_path / "t.csv", 2_000_000)
    process = subprocess.Popen([sys.executable, "-c", INGEST, str(home), str(path)], start_new_session=True)
    if not Path(f"/proc/{process.pid}/task/{process.pid}/children").exists():
        process.kill()
        process.wait()
        pytest.skip("needs /proc")

    def children(pid: int | str) -> list[str]:
        found: list[str] = []
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += thread.read_text().split()
        return found

    def readers() -> list[str]:
        """What was forked by the template, the one child it has."""
        return [reader for template in children(process.pid) for reader in children(template)]

    with anyio.fail_after(20):
        while not (found := readers()):
            await anyio.sleep(0.01)
    process.kill()
    process.wait()
    with anyio.fail_after(20):
        while os.path.exists(f"/proc/{found[0]}") and Path(f"/proc/{found[0]}/stat").read_text().split()[2] != "Z":
            await anyio.sleep(0.01)


async def test_cancelled_half_way(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling ends the child and takes its folder away."""
    started: list[Child] = []
    start = Child.start

    async def remember(module: str, setup: dict[str, object]) -> Child:
        started.append(await start(module, setup))
        return started[0]

    monkeypatch.setattr(Child, "start", remember)
    path = await anyio.to_thread.run_sync(table, tmp_path / "t.csv", 1_000_000)
    async with anyio.create_task_group() as tasks:

        async def progress(done: float, total: float | None, message: str) -> None:
            tasks.cancel_scope.cancel()

        async def ingest() -> None:
            await bench.ingester.ingest_path(path, "t", progress=progress)

        tasks.start_soon(ingest)
    assert len(started) == 1 and not started[0].alive
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, signal.SIGTERM)
    assert bench.scratch() == [] and bench.objects() == {}


async def test_a_reader_that_is_killed(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a crafted file or the system's memory guard would."""
    start = Child.start

    async def doomed(module: str, setup: dict[str, object]) -> Child:
        child = await start(module, setup)
        child.kill()
        return child

    monkeypatch.setattr(Child, "start", doomed)
    with pytest.raises(Upstream, match="ended without an answer"):
        await bench.ingester.ingest_path(table(tmp_path / "t.csv", 10), "t")
    assert bench.scratch() == [] and bench.objects() == {}


async def test_four_at_once(bench: Bench, tmp_path: Path) -> None:
    """Different datasets, and the same one: each is whole, and versions follow each other."""
    paths = [table(tmp_path / f"t{n}.csv", 1000 * (n + 1)) for n in range(4)]
    async with anyio.create_task_group() as tasks:
        for n, path in enumerate(paths):
            tasks.start_soon(bench.ingester.ingest_path, path, f"own{n}")
            tasks.start_soon(bench.ingester.ingest_path, path, "shared")
    for n in range(4):
        assert (await bench.datasets.get(f"own{n}")).row_count == 1000 * (n + 1)
    shared = [await bench.datasets.get("shared", version) for version in range(1, 5)]
    assert {manifest.row_count for manifest in shared} == {1000, 2000, 3000, 4000}
    assert bench.scratch() == []


async def test_a_file_that_changes_while_it_is_read(bench: Bench, tmp_path: Path) -> None:
    path = await anyio.to_thread.run_sync(table, tmp_path / "t.csv", 2_000_000)

    async def progress(done: float, total: float | None, message: str) -> None:
        os.utime(path, (1, 1))

    with pytest.raises(InvalidInput, match="changed while it was read"):
        await bench.ingester.ingest_path(path, "t", progress=progress)
    assert bench.objects() == {}
