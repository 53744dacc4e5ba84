"""Compaction that is killed, interrupted, out of room, or given damaged files: nothing is lost."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.engine.compacting import WIDTH, bulk, content, files_of, opened, row, sealed

from lakehouse.engine.child import Child
from lakehouse.engine.storage import Bucket
from lakehouse.engine.vectors import Ask, IndexDamaged, Item, objects
from lakehouse.errors import Upstream

pytestmark = pytest.mark.anyio


async def test_a_killed_process_costs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 500)
    real = Child.send

    async def killing(self: Child, header: Any, payload: bytes = b"") -> None:
        await real(self, header, payload)
        if "sources" in header:
            self.kill()

    with monkeypatch.context() as patch:
        patch.setattr(Child, "send", killing)
        with pytest.raises(Upstream, match="ended without an answer"):
            await vectors.optimise("it")
    assert (await vectors.ask("it", Ask(1, row(3)))).scanned == "scan"
    assert files_of(home, "graph") == []
    assert list((home / "tmp").glob("*")) == []
    assert await vectors.optimise("it") == 1
    assert (await vectors.ask("it", Ask(1, row(3)))).scanned == "graph"


async def test_a_full_disk_leaves_the_index_as_it_was(home: Path, cold_children: None) -> None:
    """The process may write no file over some bytes: a disk that is full looks so to it."""
    resource = pytest.importorskip("resource")
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    await bulk(vectors, 250, 250)
    there, stored = await content(vectors), files_of(home, "seg")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        with pytest.raises(Upstream, match="disk failed"):
            await vectors.optimise("it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await content(vectors) == there
    assert files_of(home, "seg") == stored
    assert await vectors.verify("it") == []
    assert await vectors.optimise("it") == 1
    assert await content(opened(home)) == there


async def test_a_spoilt_segment_is_not_given_new_checksums(home: Path, in_threads: None) -> None:
    """A-S9-9: a merge reads its sources against their checksums, and names the file."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    await bulk(vectors, 0, 250)
    await bulk(vectors, 250, 250)
    state = await (await vectors._index("it")).state()
    spoilt = state.sealed[0].segment.paths["vec.f32"]
    data = bytearray(spoilt.read_bytes())
    data[100] ^= 1
    spoilt.chmod(0o644)
    await anyio.to_thread.run_sync(_overwrite, spoilt, bytes(data))
    with pytest.raises(IndexDamaged) as caught:
        await vectors.optimise("it")
    assert caught.value.data["key"].endswith(f"{spoilt.parent.name}/vec.f32")


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


class Crash(BaseException):
    """The process ends here, as far as the store is concerned."""


async def crashed_at(step: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, after: bool) -> bool:
    """Do the work on a store that stops before or after its n-th durable step; whether it got there."""
    taken = 0

    def stopping(real: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken > step or (taken == step and not after):
                raise Crash
            done = await real(*args, **more)
            if taken == step:
                raise Crash
            return done

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Bucket, "put"), (Bucket, "put_file"), (objects.Objects, "_remove")):
            patch.setattr(owner, name, stopping(getattr(owner, name)))
        try:
            await work()
        except (Crash, BaseExceptionGroup):
            return True
    return False


@pytest.mark.slow
async def test_every_interruption_leaves_a_whole_index(
    home: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    """Stopped at any durable step of merging, building and clearing away: the same items, before or after, and the next
    run ends what is left."""
    start = opened(home)
    await start.create("it", WIDTH)
    await bulk(start, 0, 350)
    await bulk(start, 350, 250)
    await bulk(start, 600, 210)
    await start.delete_many("it", ["v0", "v500"])
    await start.add("it", [Item("v1", row(100)), Item("v700", row(701))])
    there = await content(start)
    step, crashed = 0, True
    while crashed:
        step += 1
        copy = home.with_name(f"copy{step}")
        await anyio.to_thread.run_sync(shutil.copytree, home, copy)
        crashed = await crashed_at(step // 2 + 1, partial(opened(copy).optimise, "it"), monkeypatch, step % 2 == 0)
        again = opened(copy)
        assert await content(again) == there, step
        await again.optimise("it")
        assert await content(again) == there, step
        assert any(linked for _, _, linked in await sealed(again))
        assert await again.verify("it") == []
        await anyio.to_thread.run_sync(shutil.rmtree, copy)
    assert step > 10


COMPACTING = """
import sys
from pathlib import Path
import anyio, numpy as np
from lakehouse import config
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

async def main(home, start):
    settings = config.Vectors(graph_rows=300, seal_rows=200)
    vectors = Vectors(home, Storage(home, config.Storage()), settings)
    async def adding():
        number = start
        while True:
            ids = [f"v{n}" for n in range(number, number + 40)]
            matrix = np.array([np.random.default_rng(n).standard_normal(8) for n in range(number, number + 40)])
            await vectors.add_matrix("it", ids, matrix, [{"n": n} for n in range(number, number + 40)])
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            number += 40
            await anyio.sleep(0.005)
    async def compacting():
        while True:
            await vectors.optimise("it")
            await anyio.sleep(0.01)
    async with anyio.create_task_group() as group:
        group.start_soon(adding)
        group.start_soon(compacting)

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def killed(home: Path, start: int, adds: int) -> list[int]:
    with subprocess.Popen([sys.executable, "-c", COMPACTING, str(home), str(start)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(adds)]
        child.kill()
        rest = child.stdout.read().decode().rpartition("\n")[0].split()
    assert all(lines), "it ended by itself"
    return [int(line) for line in lines] + [int(word) for word in rest]


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_a_kill_during_compaction(home: Path) -> None:
    """A-S9-8: kill -9 of a process that adds while its children merge and build."""
    vectors = opened(home)
    await vectors.create("it", WIDTH)
    acknowledged: set[str] = set()
    dice = random.Random(5)
    for turn in range(2):
        begun = await anyio.to_thread.run_sync(killed, home, turn * 100_000, dice.randint(20, 60))
        acknowledged |= {f"v{n}" for first in begun for n in range(first, first + 40)}
        vectors = opened(home)
        assert acknowledged <= await vectors.ids("it")
        assert await vectors.verify("it") == []
    await vectors.optimise("it")
    assert acknowledged <= await opened(home).ids("it")
    for id in dice.sample(sorted(acknowledged), 20):
        assert (await vectors.search("it", row(int(id[1:])), 1))[0].id == id
