"""Data files as local files: in place, or as verified copies; samples of them."""

import hashlib
import os
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pyarrow
import pyarrow.parquet
import pytest
from tests.catalog import COLUMNS

from lakehouse import config
from lakehouse.engine.cache import Cache
from lakehouse.engine.datasets import (
    DataFile,
    DatasetDamaged,
    Datasets,
    data_key,
    fingerprint,
)
from lakehouse.engine.holding import Held
from lakehouse.engine.sample import sample
from lakehouse.engine.shelf import Shelf
from lakehouse.engine.storage import Bucket, Storage
from lakehouse.errors import Upstream

pytestmark = pytest.mark.anyio


async def put_parquet(storage: Storage, path: Path, rows: int) -> DataFile:
    table = pyarrow.table({"id": list(range(rows)), "name": [f"n{i}" for i in range(rows)]})
    pyarrow.parquet.write_table(table, path)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    file = DataFile(data_key("t", fingerprint(COLUMNS), digest), digest, len(data), rows)
    await storage.bucket.put_file(file.key, path)
    return file


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["", "memory://"])
async def test_local_files_and_samples(home: Path, tmp_path: Path, url: str) -> None:
    """Files are read in place, or from a verified copy that is made once."""
    storage = Storage(home, config.Storage(url=url))
    datasets = Datasets(home, storage)
    files = [await put_parquet(storage, tmp_path / "p", rows) for rows in (15, 30)]
    manifest, _ = await datasets.commit("t", COLUMNS, files)
    paths = await datasets.local_files(manifest)
    assert paths == await datasets.local_files(manifest)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == [f.sha256 for f in files]
    assert all(path.stat().st_mode & 0o222 == 0 for path in paths)
    found, rows = await sample(datasets, "t", 20)
    assert found == manifest
    assert rows == [[i, f"n{i}"] for i in range(15)] + [[i, f"n{i}"] for i in range(5)]


async def test_a_file_that_is_gone_or_altered_is_reported(home: Path, tmp_path: Path) -> None:
    storage = Storage(home, config.Storage())
    datasets = Datasets(home, storage)
    manifest, _ = await datasets.commit("t", COLUMNS, [await put_parquet(storage, tmp_path / "p", 3)])
    (path,) = await datasets.local_files(manifest)
    path.chmod(0o644)
    path.write_bytes(b"PAR1" + bytes(manifest.objects[0].size_bytes - 4))
    with pytest.raises(DatasetDamaged, match="Parquet"):
        await sample(datasets, "t")
    path.write_bytes(b"short")
    with pytest.raises(DatasetDamaged, match="5 bytes"):
        await datasets.local_files(manifest)
    path.unlink()
    with pytest.raises(DatasetDamaged, match="is gone"):
        await sample(datasets, "t")


async def test_the_cache_believes_nothing_it_did_not_verify(home: Path, tmp_path: Path) -> None:
    """A remote object that is not what the manifest says is refused and not kept; a good one is fetched once."""
    storage = Storage(home, config.Storage(url="memory://"))
    datasets = Datasets(home, storage)
    file = await put_parquet(storage, tmp_path / "p", 3)
    good = await storage.bucket.get(file.key)
    manifest, _ = await datasets.commit("t", COLUMNS, [file])
    folder = home / "cache" / "objects"
    for bad in (good[:-1] + b"X", good + b"X", b""):
        await storage.bucket.put(file.key, bad)
        with pytest.raises(Upstream, match="not the file"):
            await datasets.local_files(manifest)
        assert kept(folder) == []
    await storage.bucket.put(file.key, good)
    await datasets.local_files(manifest)
    await storage.bucket.delete(file.key)
    assert [path.read_bytes() for path in await datasets.local_files(manifest)] == [good]
    (path,) = kept(folder)
    path.with_name("leftover#12").write_bytes(b"x")
    await anyio.to_thread.run_sync(Shelf(folder, 2**20).sweep)
    assert [path.name for path in kept(folder)] == [file.sha256]
    path.unlink()
    with pytest.raises(DatasetDamaged):
        await datasets.local_files(manifest)


async def test_many_ask_for_one_file_and_it_is_fetched_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(home, config.Storage(url="memory://"))
    datasets = Datasets(home, storage)
    manifest, _ = await datasets.commit("t", COLUMNS, [await put_parquet(storage, tmp_path / "p", 3)])
    fetched = []
    real = storage.bucket.get_to

    async def counted(key: str, path: Path) -> None:
        fetched.append(key)
        await real(key, path)

    monkeypatch.setattr(storage.bucket, "get_to", counted)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(datasets.local_files, manifest)
    assert len(fetched) == 1


async def test_the_cache_is_kept_within_its_bounds(tmp_path: Path) -> None:
    """At the start old copies go, then the least recently wanted; what was wanted since stays."""
    folder, bucket = tmp_path / "cache", Bucket("memory://")
    cache = Cache(Shelf(folder, 250), bucket)
    digests = []
    for place in range(4):
        data = bytes([place]) * 100
        digests.append(hashlib.sha256(data).hexdigest())
        await bucket.put(f"k{place}", data)
        path = await cache.fetch(f"k{place}", digests[-1], 100)
        os.utime(path, (time.time() - 1000 + place,) * 2)
    assert len(kept(folder)) == 4
    await anyio.to_thread.run_sync(cache.shelf.sweep)
    assert len(kept(folder)) == 4
    os.utime(folder / digests[0][:2] / digests[0])
    await anyio.to_thread.run_sync(Shelf(folder, 250).sweep)
    assert {path.name for path in kept(folder)} == {digests[0], digests[3]}
    os.utime(folder / digests[0][:2] / digests[0], (0, 0))
    await anyio.to_thread.run_sync(Shelf(folder, 250).sweep)
    assert [path.name for path in kept(folder)] == [digests[3]]


async def test_a_file_that_was_just_stored_is_not_fetched(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "home", config.Storage(url="memory://"))
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    digest = hashlib.sha256(b"contents").hexdigest()
    await storage.put_immutable("k", path, digest)
    await storage.bucket.delete("k")
    copy = await storage.cache.fetch("k", digest, 8)
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777, path.exists()) == (b"contents", 0o444, False)
    await storage.aclose()
    assert not copy.exists()


class Owner:
    """Something that has copies open."""


async def test_room_is_made_while_it_runs(tmp_path: Path) -> None:
    """The least recently used copies go as others come; not those that a process holds, an object pins, or somebody
    has just asked for, as long as that is so."""
    bucket, shelf = Bucket("memory://"), Shelf(tmp_path / "cache", 250, fresh_secs=0)
    cache = Cache(shelf, bucket)
    digests = []
    for place in range(8):
        data = bytes([place]) * 100
        digests.append(hashlib.sha256(data).hexdigest())
        await bucket.put(f"k{place}", data)

    async def fetch(place: int) -> Path:
        return await cache.fetch(f"k{place}", digests[place], 100)

    def here() -> list[int]:
        return sorted(digests.index(path.name) for path in kept(tmp_path / "cache"))

    for place in (0, 1):
        await fetch(place)
    shelf.used([digests[0]])
    await fetch(2)
    assert here() == [0, 2]
    held, owner = Held(), Owner()
    held.take(str(await fetch(0)))
    assert held.names == [digests[0]]
    shelf.pin([digests[2]], owner)
    for place in (3, 4):
        await fetch(place)
    assert here() == [0, 2]  # over its bytes for want of anything that may go; the newest comes and goes
    held.release()
    del owner
    await fetch(5)
    assert len(here()) == 2 and 5 in here()
    lasting = Shelf(tmp_path / "cache", 250)
    await anyio.to_thread.run_sync(lasting.sweep)
    lasting.max_bytes = 50
    await anyio.to_thread.run_sync(lasting.has, digests[5], 100)
    assert here() == [5]  # it was just asked for
    await anyio.to_thread.run_sync(held.take, str(lasting.path(digests[5])))
    gone = lasting.path(digests[6])
    with pytest.raises(FileNotFoundError):
        held.take(str(gone))
    held.release()
    held.take(str(tmp_path))  # no copy
    assert held.names == []
