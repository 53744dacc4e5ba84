"""Triggers of several processes: killed with -9 around a firing, and attached to the one that fires."""

import json
import signal
import sys
from pathlib import Path

import anyio
import pytest
from tests.engine.workflows.test_triggers import Clock, runs, watcher, write

import lakehouse

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


KILLED = """
import os, signal, sys, anyio, lakehouse
sys.path.insert(0, {tests!r})
from tests.engine.workflows.test_triggers import NOON, Clock, watcher

async def main(home, when):
    clock = Clock()
    async with lakehouse.open(home, overrides={{"embed.provider": "hash"}}) as lake:
        await lake.start()
        watch = watcher(lake, clock)
        await watch.tick()
        clock.now += 60
        start = lake.workflows.start
        async def killed(*given, **more):
            if when == "after":
                await start(*given, **more)
            os.kill(os.getpid(), signal.SIGKILL)
        lake.workflows.start = killed
        await watch.tick()

anyio.run(main, *sys.argv[1:3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_around_the_start_of_the_run_there_is_one(home: Path, clock: Clock, when: str) -> None:
    """kill -9 before the run's first commit, and after it, before the firing is noted."""
    write(home, "[{cron: '* * * * *'}]")
    script = KILLED.format(tests=str(Path(__file__).parents[3]))
    command = [sys.executable, "-c", script, str(home), when]
    ended = await anyio.run_process(command, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    clock.now += 90
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        await lake.start()
        watch = watcher(lake, clock)
        for _ in range(2):
            await watch.tick()
        (told,) = await watch.report()
        (record,) = [record for record, _ in await lake.workflows.runs()]
        assert (told.last_run, told.missed) == (record.id, 0)
        assert json.loads(record.message)["at"] == "2026-06-01T12:01:00.000000Z"


ATTACHED = """
import sys, anyio, lakehouse

async def main(home):
    async with lakehouse.open(home, overrides={"workflows.triggers": True}) as lake:
        await lake.call("ingest.file", {"name": "orders", "content": "a\\n1\\n"})
        print(lake.attached_to != "", (await lake.call("workflow.triggers"))["triggers"][0]["workflow"])

anyio.run(main, sys.argv[1])
"""


@pytest.mark.slow
async def test_of_two_processes_the_owner_fires(home: Path) -> None:
    """The other one attaches to it: its commit is the owner's, and starts one run, there."""
    write(home, "[{dataset: orders}]")
    async with lakehouse.open(home, overrides={"workflows.triggers": True, "embed.provider": "hash"}) as lake:
        await lake.start()
        await lake.triggers.tick()
        done = await anyio.run_process([sys.executable, "-c", ATTACHED, str(home)])
        assert done.stdout.split() == [b"True", b"daily"]
        await lake.triggers.tick()
        (run,) = await runs(lake)
        assert json.loads((await lake.workflows.state(run)).record.message)["version"] == 1
