"""Calls through the owner of a data directory against calls of the owner itself: what attaching costs.

The owner makes a round of calls, then the attached process does, and so on, so that a noisy machine disturbs both
alike. CPU is that of the owner and that of the attached process, without that of the query workers.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from protocol import TOOL  # type: ignore[import-not-found]  # the script beside this one

import lakehouse
from lakehouse import Lakehouse

ROWS = "SELECT i AS id, i % 7 AS grp, i * 2.5 AS price, 'item ' || i AS name FROM range(100) t(i)"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "trivial": ("sums.add", {"a": 1, "b": 2}),
    "SQL, 100 rows": ("sql.query", {"sql": ROWS}),
}


def settings(folder: Path) -> dict[str, Any]:
    """The tool of the benchmark, beside the shipped ones."""
    (folder / "project" / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "project" / "tools" / "sums.py").write_text(TOOL, encoding="utf-8")
    return {"plugins.folders": [str(folder / "project")]}


async def round_of(lake: Lakehouse, what: str, calls: int) -> list[float]:
    """Seconds of each of so many calls, one after another."""
    name, arguments = CALLS[what]
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        await lake.call(name, arguments)
        times.append(time.perf_counter() - began)
    return times


async def own(folder: Path) -> None:
    """The owner: it makes the rounds it is told to, and says how long each call took and its CPU seconds so far."""
    async with lakehouse.open(folder / "home", overrides=settings(folder)) as lake:
        print(json.dumps([[], time.process_time()]), flush=True)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            what, calls = json.loads(line)
            times = await round_of(lake, what, calls) if calls else []
            print(json.dumps([times, time.process_time()]), flush=True)


class Owner:
    """The owner's process."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, __file__, "own", str(folder)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.heard()

    def heard(self) -> tuple[list[float], float]:
        assert self.child.stdout is not None
        times, cpu = json.loads(self.child.stdout.readline())
        return times, cpu

    def ask(self, what: str, calls: int) -> tuple[list[float], float]:
        """Seconds of each of so many calls it makes itself, and its CPU seconds so far."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps([what, calls]) + "\n")
        self.child.stdin.flush()
        return self.heard()


async def compare(folder: Path, owner: Owner, rounds: int, each: int) -> None:
    """Both ways, in turns."""
    async with lakehouse.open(folder / "home", overrides=settings(folder)) as lake:
        assert lake.attached_to
        for what in CALLS:
            calls = each if what == "trivial" else each // 5
            owned, attached = [], []
            cpu = {"owned": 0.0, "the owner": 0.0, "attached": 0.0}
            for turn in range(rounds + 1):
                _, start = await anyio.to_thread.run_sync(owner.ask, what, 0)
                times, middle = await anyio.to_thread.run_sync(owner.ask, what, calls)
                began = time.process_time()
                guest_times = await round_of(lake, what, calls)
                here = time.process_time() - began
                _, end = await anyio.to_thread.run_sync(owner.ask, what, 0)
                if turn:  # the first round warms up
                    owned += times
                    attached += guest_times
                    cpu["owned"] += middle - start
                    cpu["the owner"] += end - middle
                    cpu["attached"] += here
            p50, through = (statistics.median(times) * 1e6 for times in (owned, attached))
            mean = {name: spent / (rounds * calls) * 1e6 for name, spent in cpu.items()}
            both = mean["the owner"] + mean["attached"]
            print(
                f"{what:13} owned p50 {p50:5.0f} us, CPU {mean['owned']:4.0f} us   attached p50 {through:5.0f} us, "
                f"CPU {mean['the owner']:4.0f} + {mean['attached']:4.0f} us   over {through - p50:4.0f} us   "
                f"ratio {through / p50:4.2f}, CPU {both / mean['owned']:4.2f}"
            )


def commands(home: Path, runs: int) -> float:
    """The median seconds of a command that asks SQL for one value."""
    line = [sys.executable, "-m", "lakehouse", "--home", str(home), "sql", "SELECT 1", "--json"]
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(line, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main(quick: bool) -> None:
    """Print all figures of attaching."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = 3 if quick else 9
        commands(folder / "home", 1)  # renders the catalogue once
        alone = commands(folder / "home", runs)
        owner = Owner(folder)
        anyio.run(compare, folder, owner, 3 if quick else 10, 200 if quick else 500)
        attached = commands(folder / "home", runs)
        assert owner.child.stdin is not None
        owner.child.stdin.close()
        owner.child.wait()
        print(
            f"lakehouse sql 'SELECT 1': owning {alone * 1e3:4.0f} ms, attached {attached * 1e3:4.0f} ms, "
            f"ratio {attached / alone:4.2f}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["own"]:
        anyio.run(own, Path(sys.argv[2]))
    else:
        main("--quick" in sys.argv)
