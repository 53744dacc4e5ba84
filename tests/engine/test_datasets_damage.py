"""The catalog when something is broken or dies: damaged manifests, two processes at once, kill -9."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tests.catalog import COLUMNS, Failing, a_file, again

from lakehouse.engine.datasets import (
    Column,
    DatasetDamaged,
    Datasets,
)
from lakehouse.engine.storage import Storage
from lakehouse.errors import Upstream

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("damage", ["cut", "garbage", "a number", "bits", "foreign", "future", "empty"])
async def test_a_damaged_manifest_harms_no_other(datasets: Datasets, home: Path, damage: str) -> None:
    """A-S6-8: of three, two load; the third is reported and never silently replaced by its older version."""
    for name in ("a", "b", "c"):
        await datasets.commit(name, COLUMNS, [a_file("one")])
    await datasets.commit("b", COLUMNS, [a_file("two")])
    path = home / "objects/_catalog/b/00000000000000000002.json"
    good = path.read_bytes()
    bad = {
        "cut": good[:50],
        "garbage": b"\xff\x00",
        "a number": b"7",
        "bits": good.replace(b'"row_count": 1', b'"row_count": 9'),
        "foreign": (home / "objects/_catalog/a/00000000000000000001.json").read_bytes(),
        "future": good.replace(b'"format": 2', b'"format": 3'),
        "empty": b"",
    }[damage]
    path.write_bytes(bad)
    fresh = again(home)
    assert [m.name for m in await fresh.list()] == ["a", "c"]
    assert await fresh.names() == ["a", "b", "c"]
    (problem,) = await fresh.refresh()
    assert problem == fresh.problems[0] and "'b'" in problem and "00000000000000000002.json" in problem
    for attempt in (fresh.get("b"), fresh.get("b", 2), fresh.commit("b", COLUMNS, [a_file("three")])):
        with pytest.raises(DatasetDamaged, match="00000000000000000002"):
            await attempt
    assert (await fresh.get("b", 1)).version == 1
    assert path.read_bytes() == bad
    path.write_bytes(good)
    assert (await fresh.get("b")).version == 2
    assert fresh.problems == [] and len(await fresh.list()) == 3


async def test_a_slow_reading_does_not_undo_a_commit(
    datasets: Datasets, storage: Storage, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mended dataset is being read again when a commit overtakes it: the newest version stays the newest."""
    await datasets.commit("b", COLUMNS, [a_file("one")])
    path = home / "objects/_catalog/b/00000000000000000001.json"
    good = path.read_bytes()
    path.write_bytes(b"{")
    fresh = Datasets(home, storage)
    assert len(await fresh.refresh()) == 1
    path.write_bytes(good)
    slow = Failing(storage, monkeypatch, "get")
    slow.broken = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fresh.get, "b")
        await slow.reached.wait()
        monkeypatch.undo()
        assert (await fresh.commit("b", COLUMNS, [a_file("two")]))[0].version == 2
        slow.release.set()
    assert (await fresh.get("b")).version == 2


async def test_a_removed_damaged_version_makes_the_one_before_the_newest(datasets: Datasets, home: Path) -> None:
    await datasets.commit("b", COLUMNS, [a_file("one")])
    await datasets.commit("b", COLUMNS, [a_file("two")])
    path = home / "objects/_catalog/b/00000000000000000002.json"
    path.write_bytes(b"{")
    fresh = again(home)
    assert len(await fresh.refresh()) == 1
    path.unlink()
    assert await fresh.refresh() == []
    assert (await fresh.get("b")).version == 1


async def test_a_store_that_fails_is_an_error_not_an_empty_catalog(
    datasets: Datasets, storage: Storage, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A listing that fails is raised and tried again; a manifest that cannot be fetched is a problem until it can."""
    await datasets.commit("orders", COLUMNS, [a_file("one")])
    fresh = Datasets(home, storage)
    Failing(storage, monkeypatch, "names")
    for _ in range(2):
        with pytest.raises(Upstream, match="down"):
            await fresh.list()
    monkeypatch.undo()
    Failing(storage, monkeypatch, "get_each")
    assert await fresh.refresh() == ["the store is down."]
    monkeypatch.undo()
    assert (await fresh.get("orders")).version == 1


async def test_a_store_that_fails_takes_nothing_back(
    datasets: Datasets, storage: Storage, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A new version that cannot be fetched yet is no damage: the known one stays, as before anybody looked."""
    await datasets.commit("orders", COLUMNS, [a_file("one")])
    fresh = Datasets(home, storage)
    assert (await fresh.get("orders")).version == 1
    await datasets.commit("orders", COLUMNS, [a_file("two")])
    Failing(storage, monkeypatch, "get_each")
    assert await fresh.refresh() == []
    assert [m.version for m in await fresh.list()] == [1]
    monkeypatch.undo()
    assert await fresh.refresh() == []
    assert [m.version for m in await fresh.list()] == [2]


async def test_strangers_below_the_prefix_are_ignored(datasets: Datasets, storage: Storage, home: Path) -> None:
    for key in (
        "_catalog/readme.txt",
        "_catalog/x/notes.json",
        "_catalog/x/1.json",
        "_catalog/x/y/00000000000000000001.json",
    ):
        await storage.bucket.put(key, b"?")
    await datasets.commit("x", COLUMNS, [a_file("one")])
    assert await datasets.refresh() == []
    assert [m.name for m in await again(home).list()] == ["x"]


COMMITTER = """
import sys
from pathlib import Path
import anyio
from lakehouse import config
from lakehouse.engine.datasets import Column, DataFile, Datasets
from lakehouse.engine.storage import Storage

async def main():
    home = Path(sys.argv[1])
    datasets = Datasets(home, Storage(home, config.Storage()))
    for n in range(int(sys.argv[3])):
        file = DataFile(f"k{sys.argv[2]}-{n}", "0" * 64, 1, 1)
        manifest, _ = await datasets.commit("shared", [Column("id", "int64")], [file])
        print(manifest.version, file.key, flush=True)

anyio.run(main)
"""


def committer(home: Path, label: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMITTER, str(home), label, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
async def test_processes_that_commit_at_once_lose_nothing(home: Path) -> None:
    """Every acknowledged commit of every process is a version of its own."""
    acknowledged: dict[int, str] = {}
    with committer(home, "a", 25) as one, committer(home, "b", 25) as other:
        for child in (one, other):
            for line in child.stdout or ():
                version, key = line.split()
                assert int(version) not in acknowledged
                acknowledged[int(version)] = key
    datasets = again(home)
    assert (await datasets.get("shared")).version == 50 == len(acknowledged)
    for number, kept in acknowledged.items():
        assert (await datasets.get("shared", number)).objects[0].key == kept


@pytest.mark.slow
async def test_a_commit_survives_kill_9(home: Path) -> None:
    """What was acknowledged before the kill is there; nothing is half there; the next commit goes on."""
    acknowledged: dict[int, str] = {}
    for label in ("a", "b", "c"):
        with committer(home, label, 1_000_000) as child:
            for line in child.stdout or ():
                version, key = line.split()
                acknowledged[int(version)] = key
                if len(acknowledged) % 20 == 0:
                    child.kill()
    datasets = again(home)
    assert await datasets.refresh() == []
    newest = await datasets.get("shared")
    assert newest.version >= max(acknowledged)
    for number, kept in acknowledged.items():
        assert (await datasets.get("shared", number)).objects[0].key == kept
    assert (await datasets.commit("shared", [Column("id", "int64")], []))[0].version == newest.version + 1
