"""Changes of a dataset cut off by kill -9 at every step on the disk, and by a disk that takes no more."""

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tests.engine.ingesting import Bench

from lakehouse import config
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.ingest import Ingester
from lakehouse.engine.merged import batches
from lakehouse.engine.storage import Storage
from lakehouse.errors import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Rows = list[tuple[Any, ...]]
BEFORE: Rows = [(1, "a"), (2, "b"), (3, "c")]
AFTER: dict[str, Rows] = {
    "replace": [(7, "z")],
    "append": [*BEFORE, (9, "n")],
    "upsert": [(1, "a"), (2, "B"), (3, "c"), (4, "d")],
    "delete": [(1, "a"), (3, "c")],
    "compact": BEFORE,
}
# The process ends before the nth change it makes on the disk below the data directory; 0: never, and it says how many.
SCRIPT = """
import os, signal, sys, anyio
from pathlib import Path
from tests.engine.test_modes_crash import change, ingester

home, step, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}

def hook(event, args):
    global seen
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    folder = event == "open" and os.path.isdir(str(args[0]))  # opened to be forced to the disk
    if (event in CHANGES or writes or folder) and str(args[0]).startswith(str(home)):
        seen += 1
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

work = change(ingester(home), step)
sys.addaudithook(hook)

async def main():
    await work

anyio.run(main)
print(seen)
"""


def ingester(home: Path) -> Ingester:
    storage = Storage(home, config.Storage())
    return Ingester(storage, Datasets(home, storage), config.Ingest())


def change(ingester: Ingester, step: str) -> Awaitable[Any]:
    """One change of the dataset, to be made again and again."""
    if step == "delete":
        return ingester.delete("t", where="id = 2")
    if step == "compact":
        return ingester.compact("t")
    text = {"replace": b"id,x\n7,z\n", "append": b"id,x\n9,n\n", "upsert": b"id,x\n2,B\n4,d\n"}[step]
    return ingester.ingest_content(text, "csv", "t", mode=step)  # type: ignore[arg-type]


async def rows(home: Path) -> Rows:
    """What a new process reads; every manifest there is can be used."""
    bench = Bench(home.parent)
    assert await bench.datasets.refresh() == []
    manifest = await bench.datasets.get("t")
    paths = await bench.datasets.local_files(manifest)

    def read() -> Rows:
        found = batches(manifest, paths, ["id", "x"], 100)
        return [tuple(row.values()) for batch in found for row in batch.to_pylist()]

    found = await anyio.to_thread.run_sync(read)  # its first run imports the engine
    assert len(found) == manifest.row_count
    return sorted(found)


def run(home: Path, step: str, nth: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, str(home), step, str(nth)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


async def test_killed_at_every_step(tmp_path: Path, seconds: Callable[[float], float]) -> None:
    """After kill -9 the version before or the one after is whole, and a second run finishes what was begun."""
    pristine = {}
    for kind, key in (("keyed", ["id"]), ("plain", [])):
        await anyio.Path(tmp_path / kind).mkdir()
        bench = Bench(tmp_path / kind)
        await bench.ingester.ingest_content(b"id,x\n1,a\n2,b\n3,old\n", "csv", "t", key=key)
        text, mode = (b"id,x\n3,c\n", "upsert") if key else (b"id,x\n1,a\n2,b\n3,c\n", "replace")
        await bench.ingester.ingest_content(text, "csv", "t", mode=mode)  # type: ignore[arg-type]
        await anyio.to_thread.run_sync(shutil.copytree, bench.home, tmp_path / kind / "pristine")
    for step in AFTER:
        kind = "plain" if step in ("replace", "append") else "keyed"
        pristine[step] = tmp_path / kind / "pristine"
    points = []
    for step in AFTER:
        told = await anyio.to_thread.run_sync(run, await restored(pristine[step]), step, 0)
        assert told.returncode == 0, told.stderr
        assert await rows(pristine[step].parent / "home") == AFTER[step]
        count = int(told.stdout)
        assert count > 10
        points.append([(step, nth) for nth in random.Random(step).sample(range(1, count + 1), count)])
    end = time.monotonic() + seconds(3)
    for step, nth in itertools.chain(*itertools.zip_longest(*points, fillvalue=("", 0))):
        if step:
            home = await restored(pristine[step])
            killed = await anyio.to_thread.run_sync(run, home, step, nth)
            assert killed.returncode == -9, killed.stderr
            assert await rows(home) in (BEFORE, AFTER[step]), (step, nth)
            await Storage(home, config.Storage()).sweep()
            await change(ingester(home), step)
            assert await rows(home) == AFTER[step], (step, nth)
        if time.monotonic() > end:
            break


async def restored(pristine: Path) -> Path:
    home = pristine.parent / "home"

    def restore() -> None:
        shutil.rmtree(home)
        shutil.copytree(pristine, home)

    await anyio.to_thread.run_sync(restore)
    return home


async def test_a_disk_that_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full or read-only: the change is refused, what was there stays, and it works once there is room."""
    bench = Bench(tmp_path)
    await bench.ingester.ingest_content(b"id,x\n1,a\n2,b\n3,old\n", "csv", "t", key=["id"])
    await bench.ingester.ingest_content(b"id,x\n3,c\n", "csv", "t", mode="upsert")
    link = os.link
    for number in (28, 30):  # ENOSPC, EROFS

        def fail(source: Any, target: Any, number: int = number, **options: Any) -> None:
            raise OSError(number, os.strerror(number))

        for step in ("upsert", "delete", "compact"):
            monkeypatch.setattr(os, "link", fail)
            with pytest.raises(Upstream):
                await change(bench.ingester, step)
            monkeypatch.setattr(os, "link", link)
            assert await rows(bench.home) == BEFORE
    assert bench.scratch() == []
    for step in ("upsert", "compact"):
        await change(bench.ingester, step)
    assert await rows(bench.home) == AFTER["upsert"]
