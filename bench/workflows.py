"""What a workflow's node costs beyond what it does: order, provenance and a durable checkpoint.

Every node calls `fixture.echo` through the door. Beside each figure: a bare anyio task that makes the same call, in the
same run and in turns, so that a noisy machine disturbs both alike. CPU is that of the whole process. `fsync` is what
this disk takes to keep 4 KiB, which every link of a chain waits for.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.workflows.runs import Starter

QUICK = "--quick" in sys.argv
LIMIT_MS = 2.0  # per node, with its checkpoint
Figure = tuple[float, float]  # wall and CPU, milliseconds per node


def chain(count: int) -> str:
    """Each node needs the one before."""
    return "".join(_node(number, [number - 1] if number else []) for number in range(count))


def graph(count: int) -> str:
    """Layers of ten: each node needs two of the layer before."""
    needed = [[n - 10, n - n % 10 - 10 + (n + 1) % 10] if n >= 10 else [] for n in range(count)]
    return "".join(_node(number, after) for number, after in enumerate(needed))


def fan(count: int) -> str:
    """One node, then all others but one, then that one."""
    middle = "".join(_node(number, [0]) for number in range(1, count - 1))
    return _node(0, []) + middle + _node(count - 1, list(range(1, count - 1)))


def _node(number: int, after: list[int]) -> str:
    needed = ", ".join(f"n{one}" for one in after)
    return f"  - {{id: n{number}, mode: fixture.echo, with: {{value: {number}}}, depends_on: [{needed}]}}\n"


async def measured(work: Callable[[], Awaitable[None]], count: int) -> Figure:
    """What it takes per node."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - wall) * 1000 / count, (time.process_time() - cpu) * 1000 / count


async def run(lake: Lakehouse, nodes: str) -> float:
    """Run a workflow of these nodes; the seconds from its first node on, for the text is read before."""
    text = f"name: bench\ndescription: A benchmark.\nnodes:\n{nodes}"
    record = await lake.workflows.start("bench", Starter(), definition=text)
    began = time.perf_counter()
    state = await lake.workflows.wait(record.id, 600)
    assert state.record.status == "completed", state.record.error
    return time.perf_counter() - began


async def bare(lake: Lakehouse, count: int, *, chained: bool) -> None:
    """The same calls, each in a task of its own: one after another, or four at once."""
    places = anyio.Semaphore(1 if chained else 4)

    async def one(number: int) -> None:
        async with places:
            await lake.call("fixture.echo", {"value": number})

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)


async def compare(lake: Lakehouse, name: str, nodes: str, count: int, rounds: int, *, chained: bool = False) -> bool:
    """A line of figures; whether a node stays within its limit."""
    ours: list[Figure] = []
    theirs: list[Figure] = []
    read: list[float] = []
    took = 0.0

    async def workflow() -> None:
        nonlocal took
        took = await run(lake, nodes)

    async def tasks() -> None:
        await bare(lake, count, chained=chained)

    for _ in range(rounds):
        wall, cpu = await measured(workflow, count)
        ours.append((took * 1000 / count, cpu))
        read.append(wall - took * 1000 / count)
        theirs.append(await measured(tasks, count))
    wall, cpu, floor, floor_cpu = (
        statistics.median(figure[of] for figure in some) for some in (ours, theirs) for of in (0, 1)
    )
    within = wall - floor <= LIMIT_MS
    print(
        f"{name:22} {count:6,} nodes {wall * count / 1000:7.3f} s, per node {wall:6.3f} ms, bare task {floor:6.3f} ms, "
        f"overhead {wall - floor:6.3f} ms (limit {LIMIT_MS:g}){'' if within else ' OVER'}; "
        f"CPU {cpu:6.3f} / {floor_cpu:6.3f} ms; reading and checking it {statistics.median(read):6.3f} ms",
        flush=True,
    )
    return within


def fsync(folder: Path) -> float:
    """Milliseconds this disk takes to keep 4 KiB."""
    times = []
    handle = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY)
    for _ in range(100):
        os.write(handle, b"x" * 4096)
        began = time.perf_counter()
        os.fsync(handle)
        times.append(time.perf_counter() - began)
    os.close(handle)
    return statistics.median(times) * 1000


async def main() -> int:
    """Print the figures; the exit status says whether each is within its limit."""
    rounds = 3 if QUICK else 7
    with tempfile.TemporaryDirectory() as folder:
        print(f"fsync {await anyio.to_thread.run_sync(fsync, Path(folder)):.3f} ms")
        async with lakehouse.open(Path(folder) / "home", overrides={"embed.provider": "hash"}) as lake:
            await lake.load()
            await run(lake, chain(20))  # what is loaded at the first run is loaded
            within = [
                await compare(lake, "chain", chain(100), 100, rounds, chained=True),
                await compare(lake, "graph", graph(100), 100, rounds),
                await compare(lake, "fan-out", fan(1000), 1000, rounds),
            ]
            if not QUICK:
                within += [
                    await compare(lake, "graph", graph(1000), 1000, 3),
                    await compare(lake, "graph", graph(10_000), 10_000, 1),
                ]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main))
