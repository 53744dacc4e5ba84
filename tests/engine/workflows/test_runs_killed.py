"""Runs whose process is killed with -9 at a random moment go on, and do nothing twice that was done."""

import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.flows import PATIENCE

import lakehouse
from lakehouse.engine.workflows.runs import Store

pytestmark = pytest.mark.anyio

TRACE = 'echo "$WORKFLOW_ID:ID $LAKEHOUSE_IDEMPOTENCY_KEY" >> TRACES'
WHOLE = """
name: whole
description: Nodes that leave traces.
nodes:
  - {id: a, bash: 'TRACE; seq 1 20000'}
  - {id: b, bash: 'TRACE', depends_on: [a]}
  - {id: c, bash: 'TRACE', depends_on: [a]}
  - {id: items, bash: "echo '[1, 2, 3]'"}
  - {id: each, workflow: part, depends_on: [b, items], fan_out: {items: $items.output, max_parallel: 2}}
  - {id: z, bash: 'TRACE', depends_on: [c, each]}
"""
PART = """
name: part
description: Of an item.
nodes:
  - {id: p, bash: 'TRACE'}
  - {id: q, bash: 'TRACE', depends_on: [p]}
"""
WORK = """
import sys, anyio, lakehouse
from lakehouse.engine.workflows.runs import Starter

async def main(home, run):
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        await lake.start()
        await lake.load()
        print("ready", flush=True)
        sys.stdin.readline()
        if run and (await lake.workflows.state(run)).status == "completed":  # it was killed before it could say so
            print(run, "completed", flush=True)
            return
        if run:
            record = await lake.workflows.resume(run)
        else:
            record = await lake.workflows.start("whole", Starter())
        print(record.id, flush=True)
        state = await lake.workflows.wait(record.id, 60)
        print(state.status, flush=True)

anyio.run(main, *sys.argv[1:3])
"""


def write(home: Path, traces: Path) -> None:
    (home / "workflows").mkdir(parents=True)
    for name, text in (("whole", WHOLE), ("part", PART)):
        lines = [re.sub("TRACE", TRACE.replace(":ID", f":{line[9:10]}"), line) for line in text.split("\n")]
        (home / "workflows" / f"{name}.yaml").write_text("\n".join(lines).replace("TRACES", str(traces)))


def traced(traces: Path) -> Counter[str]:
    return Counter(traces.read_text().split("\n")[:-1] if traces.exists() else [])


def reach(process: subprocess.Popen[str], traces: Path, more: int) -> None:
    """Wait until so many more nodes have run, or it ended."""
    wanted = traced(traces).total() + more
    while traced(traces).total() < wanted and not ended(process, 0.003):
        pass


def ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether it ends within so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


async def done(home: Path) -> set[str]:
    """The nodes that left traces and completed, of all runs."""
    store = Store(home / "runs")
    try:
        runs = await store.runs(100)
        nodes = [(run.id, await store.nodes(run.id)) for run in runs]
        assert all(len(found["a"].text) > 64 * 1024 for _, found in nodes if "a" in found and found["a"].text)
        return {f"{run}:{node.path}" for run, found in nodes for node in found.values() if node.status == "completed"}
    finally:
        await store.aclose()


async def test_killed_at_any_moment(tmp_path: Path, seconds: Callable[[float], float]) -> None:
    source = random.Random(5)
    end = time.monotonic() + seconds(2.5)
    rounds = kills = 0
    while rounds < 1 or time.monotonic() < end:
        rounds += 1
        home, traces = tmp_path / f"home{rounds}", tmp_path / f"traces{rounds}"
        write(home, traces)
        run, status, before = "", "", Counter[str]()
        kept: set[str] = set()
        while status != "completed":
            process = subprocess.Popen(
                [sys.executable, "-c", WORK, str(home), run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            with process:
                assert process.stdin is not None and process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                process.stdin.write("go\n")
                process.stdin.flush()
                reach(process, traces, source.randint(1, 5))
                if not ended(process, source.random() / 30):
                    process.kill()
                    kills += 1
                said = process.stdout.read().split()
            run = said[0] if said else run
            status = said[1] if len(said) > 1 else ""
            now = await done(home)
            assert kept <= now
            for key in kept:  # what had completed ran not once more
                assert traced(traces)[f"{key} {key}"] == before[f"{key} {key}"], key
            kept, before = now, traced(traces)
        final = traced(traces)
        runs = {key.partition(":")[0] for key in kept}
        assert len(runs) == 4
        wanted = {f"{run}:{id}" for id in "abcz"} | {f"{one}:{id}" for one in runs - {run} for id in "pq"}
        assert {line.partition(" ")[0] for line in final} == wanted
        assert all(
            line.partition(" ")[0] == line.partition(" ")[2] for line in final
        )  # the key is the run and the path
    assert kills


async def test_a_second_process_does_not_run_a_run(tmp_path: Path) -> None:
    """Whoever comes second attaches to the first, whose run it is: resuming it is refused, cancelling it works."""
    home = tmp_path / "home"
    (home / "workflows").mkdir(parents=True)
    text = "name: whole\ndescription: It waits.\nnodes:\n  - {id: a, bash: 'sleep 60'}\n"
    (home / "workflows" / "whole.yaml").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(home), ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        run = process.stdout.readline().strip()
        async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
            assert (await lake.call("workflow_status", {"run": run}))["status"] == "running"
            with pytest.raises(lakehouse.Conflict, match="runs already"):
                await lake.call("workflow_resume", {"run": run})
            with pytest.raises(lakehouse.Busy):
                _ = lake.workflows
            answer = await lake.call("workflow_cancel", {"run": run, "reason": "enough"})
            assert answer["status"] == "cancelled"
        assert process.wait(PATIENCE) == 0
