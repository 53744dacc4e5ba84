"""gc and restore killed with -9 at a random moment: what was acknowledged is whole, and a second run finishes."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.collecting import Lake

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

# After the imports it waits for a line, so that the moments are those of the work. Each restore that returned is said.
WORK = """
import sys, anyio
from pathlib import Path
from lakehouse import config
from lakehouse.engine import claims, datasets, storage
from lakehouse.engine.datasets import undo
from lakehouse.engine.upkeep import gc
import duckdb, obstore

async def main(home):
    lake = storage.Storage(home, config.Storage(url=(home / "bucket").as_uri()))
    found = datasets.Datasets(home, lake)
    keep = config.Datasets(keep_versions=3)
    async with anyio.create_task_group() as tasks:
        async def clear():
            while True:
                await gc.collect(found, keep)
        tasks.start_soon(clear)
        while True:
            versions = await (await found.catalog_of("orders")).versions("orders")
            for number in versions[:2]:
                try:
                    made, _ = await undo.restore(found, "orders", number)
                except datasets.DatasetNotFound:
                    continue
                print(made.version, flush=True)

print("ready", flush=True)
sys.stdin.readline()
anyio.run(main, Path(sys.argv[1]))
"""


async def test_killed_at_any_moment(tmp_path: Path, seconds: Callable[[float], float]) -> None:
    source = random.Random(3)
    home = tmp_path / "home"
    url = (home / "bucket").as_uri()
    end = time.monotonic() + seconds(4)
    rounds = collected = 0
    while rounds < 2 or time.monotonic() < end:
        rounds += 1
        lake = Lake(home, url)
        for n in range(4):
            await lake.ingest("orders", f"{rounds} {n}")
        await lake.put("orders", f"{rounds} left over")
        lake.age()
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"go\n")
            process.stdin.flush()
            try:
                process.wait(source.random() / 2)
            except subprocess.TimeoutExpired:
                process.kill()
            said = [int(line) for line in process.stdout.read().split()]
        fresh = Lake(home, url)
        assert await fresh.datasets.refresh() == []
        newest = await fresh.datasets.get("orders")
        assert newest.version >= max(said, default=0)
        assert await fresh.lost(["orders"]) == []
        fresh.age()
        done = await fresh.gc(keep_versions=1)
        collected += done.files
        assert await fresh.lost(["orders"]) == []
        assert (await Lake(home, url).datasets.get("orders")) == newest
        files = [key for key in fresh.keys() if key.startswith("datasets/")]
        assert sorted(files) == sorted({file.key for file in newest.objects})
        assert not any("/_" in key for key in fresh.keys() if not key.startswith(f"unfinished#{os.sep}"))
    assert collected
