"""Data files as local files: in place, or as verified copies; samples of them."""

import hashlib
from pathlib import Path

import anyio
import pyarrow
import pyarrow.parquet
import pytest
from tests.catalog import COLUMNS

from lakehouse import config
from lakehouse.engine.datasets import (
    DataFile,
    DatasetDamaged,
    Datasets,
    data_key,
    fingerprint,
)
from lakehouse.engine.sample import sample
from lakehouse.engine.storage import Storage
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
        assert list(folder.iterdir()) == []
    await storage.bucket.put(file.key, good)
    await datasets.local_files(manifest)
    await storage.bucket.delete(file.key)
    assert [path.read_bytes() for path in await datasets.local_files(manifest)] == [good]
    (folder / "leftover.parquet#12").write_bytes(b"x")
    await Datasets(home, storage).local_files(manifest)
    assert [path.name for path in folder.iterdir()] == [f"{file.sha256}.parquet"]
    (folder / f"{file.sha256}.parquet").unlink()
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
