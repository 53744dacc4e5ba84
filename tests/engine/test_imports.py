"""A folder of Parquet files, or an older catalog, imported in one go."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakehouse
from lakehouse import Forbidden, InvalidInput, Lakehouse, NotFound
from lakehouse.errors import Unprocessable

pytestmark = pytest.mark.anyio


def parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


async def imported(lake: Lakehouse, folder: Path, **options: Any) -> dict[str, Any]:
    answer = await lake.call("import_datasets", {"folder": str(folder), **options})
    return {one["name"]: one for one in answer["datasets"]}


async def test_a_pipe_among_the_files(lake: Lakehouse, tmp_path: Path) -> None:
    """What is no regular file is not waited for."""
    parquet(tmp_path / "in" / "people.parquet", id=[1])
    os.mkfifo(tmp_path / "in" / "people.json")
    (tmp_path / "in" / "endless.json").symlink_to("/dev/zero")
    assert list(await imported(lake, tmp_path / "in", plan=True)) == ["people"]


@pytest.mark.slow
async def test_a_folder(lake: Lakehouse, tmp_path: Path) -> None:
    """A-S46-1: a file, a folder of files; planned first, then queried, then there already."""
    root = tmp_path / "in"
    parquet(root / "people.parquet", id=[1, 2])
    parquet(root / "orders" / "2024" / "a.parquet", n=[1])
    parquet(root / "orders" / "b.parquet", n=[2, 3])
    parquet(root / ".old" / "c.parquet", n=[1])
    (root / "readme.txt").write_text("x", encoding="utf-8")
    plan = await imported(lake, root, plan=True)
    assert {name: one["files"] for name, one in plan.items()} == {"orders": 2, "people": 1}
    assert await lake.datasets.names() == []
    done = await imported(lake, root)
    assert {name: (one["row_count"], one["version"]) for name, one in done.items()} == {
        "orders": (3, 1),
        "people": (2, 1),
    }
    answer = await lake.call("sql.query", {"sql": "SELECT sum(n), (SELECT count(*) FROM people) FROM orders"})
    assert answer["rows"] == [[6, 2]]
    assert all(one["existing"] for one in (await imported(lake, root)).values())


async def test_problems_are_found_before_anything_is_written(lake: Lakehouse, tmp_path: Path) -> None:
    root = tmp_path / "in"
    parquet(root / "good.parquet", id=[1])
    parquet(root / "good" / "x.parquet", id=[1])
    parquet(root / "byday" / "day=1" / "x.parquet", id=[1])
    (root / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InvalidInput, match="nothing was imported") as raised:
        await imported(lake, root)
    told = raised.value.data["problems"]
    assert len(told) == 3 and any("bad.parquet" in one for one in told) and any("day=1" in one for one in told)
    assert await lake.datasets.names() == []
    with pytest.raises(NotFound):
        await imported(lake, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="no Parquet file"):
        await imported(lake, tmp_path / "empty")


@pytest.mark.slow
async def test_what_fails_is_said_and_the_rest_is_imported(lake: Lakehouse, tmp_path: Path) -> None:
    """Damage inside a file shows only when it is read."""
    root = tmp_path / "in"
    parquet(root / "a.parquet", id=[1])
    damaged = bytearray(parquet(root / "b.parquet", id=list(range(1000))).read_bytes())
    damaged[-40:-8] = b"\xff" * 32
    (root / "b.parquet").write_bytes(damaged)
    parquet(root / "c.parquet", id=[1])
    with pytest.raises(Unprocessable, match="1 of 3 datasets were not imported, the others were: b:") as raised:
        await imported(lake, root)
    assert raised.value.data["imported"] == ["a", "c"] and list(raised.value.data["failed"]) == ["b"]
    assert await lake.datasets.names() == ["a", "c"]


@pytest.mark.slow
async def test_catalogs(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """S46.1: another data directory's objects, and manifests of other makes that name files."""
    async with lakehouse.open(tmp_path / "old") as old:
        await old.call("ingest.file", {"name": "it's 50%", "content": "a\n1\n"})
        await old.call("ingest.file", {"name": "it's 50%", "content": "a\n1\n2\n"})
    done = await imported(lake, tmp_path / "old" / "objects")
    assert {name: one["row_count"] for name, one in done.items()} == {"it's 50%": 2}
    root = tmp_path / "other"
    data = parquet(root / "data" / "w.parquet", id=[1, 2, 3])
    entry = {
        "key": "data/w.parquet",
        "size_bytes": data.stat().st_size,
        "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
    }
    (root / "_catalog").mkdir()
    manifest = root / "_catalog" / "workers.json"
    manifest.write_text(json.dumps({"name": "workers", "objects": [entry]}), encoding="utf-8")
    done = await imported(lake, root)
    assert done["workers"]["row_count"] == 3
    manifest.write_text(json.dumps({"name": "w2", "objects": [{**entry, "sha256": "0" * 64}]}), encoding="utf-8")
    (root / "data").rename(root / "_data")
    for change, kind, words in (
        ({"key": "_data/w.parquet", "sha256": "0" * 64}, Unprocessable, "SHA-256"),
        ({"key": "_data/w.parquet", "size_bytes": 1}, InvalidInput, "size"),
        ({"key": "../../etc/passwd"}, InvalidInput, "below the folder"),
        ({"key": "_data/none.parquet"}, InvalidInput, "no file"),
        ({"key": "_data/w.parquet", "role": "delta"}, InvalidInput, "compact"),
    ):
        manifest.write_text(json.dumps({"name": "w2", "objects": [{**entry, **change}]}), encoding="utf-8")
        with pytest.raises(kind, match=words):
            await imported(lake, root)
    assert "w2" not in await lake.datasets.names()


async def test_roots_hold(home: Path, tmp_path: Path) -> None:
    parquet(tmp_path / "in" / "a.parquet", id=[1])
    (tmp_path / "in" / "b.parquet").symlink_to(parquet(tmp_path / "out" / "b.parquet", id=[1]))
    async with lakehouse.open(home, overrides={"ingest.roots": [str(tmp_path / "in")]}) as lake:
        with pytest.raises(Forbidden):
            await lake.call("imports.folder", {"folder": str(tmp_path / "out")}, via="mcp")
        with pytest.raises(InvalidInput, match=r"b\.parquet"):
            await lake.call("imports.folder", {"folder": str(tmp_path / "in")}, via="mcp")
