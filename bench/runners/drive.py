"""One runner taken through the steps, in an environment of its own: python -m bench.runners.drive RUNNER HOME.

Reads a JSON line {"step": ..., ...} from standard input for each step and writes one with what it measured. What is
timed is the runner's own call and nothing of ours around it. Needs the runner, not Lakehouse.
"""

import asyncio
import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.runners.graphs import GRAPHS, chain
from bench.runners.runner import Runner, Skipped
from bench.runners.usage import used

ENOUGH_SECS = 20  # after which a step has no further round


class Steps:
    """The steps, by name."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    async def open(self) -> dict[str, Any]:
        """Be ready, and run once what loads at the first run."""
        fsync = await asyncio.to_thread(_fsync, self.runner.home)
        began = time.perf_counter()
        await self.runner.open()
        opened = time.perf_counter()
        await self.runner.run(chain(3))
        took = {"open_ms": (opened - began) * 1e3, "first_ms": (time.perf_counter() - opened) * 1e3}
        return took | {"fsync_ms": fsync, "load": os.getloadavg()[0]}

    async def run(self, graph: str, count: int, rounds: int) -> dict[str, Any]:
        """Milliseconds of wall and CPU and bytes written per node: medians of some rounds."""
        shape = GRAPHS[graph](count)
        walls: list[float] = []
        cpus: list[float] = []
        bytes_written: list[float] = []
        ends = time.perf_counter() + ENOUGH_SECS
        while len(walls) < rounds and (not walls or time.perf_counter() < ends):
            before, began = used(), time.perf_counter()
            await self.runner.run(shape)
            walls.append((time.perf_counter() - began) * 1e3 / count)
            after = used()
            cpus.append((after.cpu_s - before.cpu_s) * 1e3 / count)
            bytes_written.append((after.written - before.written) / count)
        found = {"wall_ms": walls, "cpu_ms": cpus, "written": bytes_written}
        return {name: statistics.median(some) for name, some in found.items()} | {"peak_mb": used().peak / 1e6}

    async def begin(self, graph: str, count: int) -> dict[str, Any]:
        """Run a graph until this process is killed."""
        await self.runner.open()
        await self.runner.run(GRAPHS[graph](count))
        return {}

    async def resume(self, graph: str, count: int) -> dict[str, Any]:
        """Open what a killed process left, and go on with its run to the end."""
        cpu, began, wall = used().cpu_s, time.perf_counter(), time.time()
        await self.runner.open()
        opened = time.perf_counter()
        await self.runner.resume(GRAPHS[graph](count))
        ended = time.perf_counter()
        took = {"open_ms": (opened - began) * 1e3, "end_ms": (ended - began) * 1e3}
        return {"began": wall, **took, "cpu_ms": (used().cpu_s - cpu) * 1e3}


def _fsync(folder: Path) -> float:
    """Milliseconds the disk takes just now to keep 4 KiB."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


async def main() -> None:
    """Answer steps until the input ends."""
    name, home = sys.argv[1], Path(sys.argv[2])
    os.environ["BENCH_HOME"] = str(home)
    runner: Runner = importlib.import_module(f"bench.runners.peers.{name}").Adapter(home)
    steps = Steps(runner)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        try:
            answer = await getattr(steps, asked.pop("step"))(**asked)
        except Skipped as error:
            answer = {"skipped": str(error)}
        except Exception as error:  # a runner's own failure is its figure
            answer = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        print("\x1e" + json.dumps(answer), flush=True)
    await runner.close()


if __name__ == "__main__":
    asyncio.run(main())
