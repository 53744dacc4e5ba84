"""The local copy of manifests: used where the bucket has the very same object, and no loss when it is lost."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.catalog import COLUMNS, a_file, again

from lakehouse.engine.bucket import Bucket
from lakehouse.engine.datasets import DatasetDamaged, Datasets, Manifest
from lakehouse.engine.datasets.history import history
from lakehouse.errors import LakehouseError

pytestmark = pytest.mark.anyio


class Reads:
    """Counts what is read from buckets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        real, each = Bucket.get, Bucket.get_each

        async def get(bucket: Bucket, key: str) -> bytes:
            self.keys.append(key)
            return await real(bucket, key)

        async def get_each(bucket: Bucket, keys: Sequence[str]) -> Sequence[bytes | LakehouseError]:
            self.keys += keys
            return await each(bucket, keys)

        monkeypatch.setattr(Bucket, "get", get)
        monkeypatch.setattr(Bucket, "get_each", get_each)

    def taken(self) -> int:
        """How many since the last time."""
        count, self.keys = len(self.keys), []
        return count


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def filled(home: Path) -> Datasets:
    """Five datasets of three versions."""
    datasets = again(home)
    for name in "abcde":
        for n in range(3):
            await datasets.commit(name, COLUMNS, [a_file(f"{n}")])
    return datasets


async def listed(home: Path) -> list[Manifest]:
    """What a process that opens the data directory, and ends, sees."""
    datasets = again(home)
    found = await datasets.list()
    await datasets.aclose()
    return found


async def test_an_opening_reads_only_what_is_new(home: Path, reads: Reads) -> None:
    datasets = await filled(home)
    before = await datasets.list()
    reads.taken()
    assert await listed(home) == before
    assert reads.taken() == 5
    assert await listed(home) == before
    assert reads.taken() == 0
    await datasets.commit("b", COLUMNS, [a_file("new")])
    reads.taken()
    assert [m.version for m in await listed(home)] == [3, 4, 3, 3, 3]
    assert reads.taken() == 1
    assert len((await history(again(home), "c")).versions) == 3
    assert reads.taken() == 2
    assert len((await history(again(home), "c")).versions) == 3
    assert reads.taken() == 0


@pytest.mark.parametrize("damage", ["gone", "garbage", "cut", "another table", "a changed byte", "a folder"])
async def test_a_damaged_copy_is_made_anew(home: Path, reads: Reads, damage: str) -> None:
    """Silently: the bucket is the truth."""
    datasets = await filled(home)
    before = await datasets.list()
    await datasets.aclose()
    await listed(home)
    path = home / "catalog.db"
    assert not list(home.glob("catalog.db-*"))
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(os.urandom(4096))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        with sqlite3.connect(path) as file:
            if damage == "another table":
                file.execute("DROP TABLE manifests")
                file.execute("CREATE TABLE manifests (x)")
            else:
                file.execute(
                    "UPDATE manifests SET body = CAST(replace(CAST(body AS TEXT), 'ingest', 'insert') AS BLOB)"
                )
        file.close()
    reads.taken()
    assert await listed(home) == before
    assert reads.taken() == 5
    assert await listed(home) == before
    assert reads.taken() == (5 if damage == "a folder" else 0)


async def test_an_object_that_changed_is_read_again(home: Path) -> None:
    """What the bucket has now counts, not what it had: a manifest that was damaged, another lake at the same place."""
    await (await filled(home)).list()
    await listed(home)
    path = home / "objects/_catalog/b/00000000000000000003.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"row_count": 1', b'"row_count": 2'))
    with pytest.raises(DatasetDamaged):
        await again(home).get("b")
    path.write_bytes(good)
    assert (await again(home).get("b")).version == 3


async def test_versions_that_are_gone_leave_it(home: Path) -> None:
    await (await filled(home)).list()
    for name in "abcde":
        await history(again(home), name)
    for path in (home / "objects/_catalog").glob("*/00000000000000000002.json"):
        path.unlink()
    await listed(home)
    with sqlite3.connect(home / "catalog.db") as file:
        assert {row[0] for row in file.execute("SELECT version FROM manifests")} == {1, 3}
    file.close()
