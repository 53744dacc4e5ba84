"""Several processes, each with a data directory of its own, on one bucket: nothing acknowledged is lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.catalog import COLUMNS
from tests.doubles.s3 import S3

from lakehouse import config
from lakehouse.engine.datasets import Datasets
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Vectors

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

START = """
import json, sys
from pathlib import Path
from typing import Any
import anyio
from lakehouse import config
from lakehouse.engine.datasets import DataFile, Datasets, Column
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Item, Vectors

home, who, count, values, columns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(json.loads, sys.argv[4:])
values["secrets"] = Path(values["secrets"])
storage = Storage(home, config.Storage(**values))
"""
COMMITS = """
async def main():
    datasets = Datasets(home, storage)
    columns_ = [Column(*column) for column in columns]
    for n in range(count):
        file = DataFile(f"datasets/t/{who}-{n}.parquet", "0" * 64, 1, 1)
        manifest, existing = await datasets.commit("t", columns_, [file])
        assert not existing
        print(json.dumps([manifest.name, manifest.version, file.key]), flush=True)

anyio.run(main)
"""
ADDS = """
async def main():
    vectors = Vectors(home, storage, config.Vectors(seal_rows=20))
    for n in range(count):
        await vectors.add("it", [Item(f"{who}-{n}", [1.0, n])])
        print(json.dumps(f"{who}-{n}"), flush=True)

anyio.run(main)
"""


def started(code: str, home: Path, who: str, count: int, settings: config.Storage) -> "subprocess.Popen[str]":
    columns = json.dumps([[column.name, column.type] for column in COLUMNS])
    arguments = [str(home), who, str(count), settings.model_dump_json(), columns]
    return subprocess.Popen(
        [sys.executable, "-c", START + code, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def finished(children: Sequence["subprocess.Popen[str]"]) -> list[list[Any]]:
    """What each child acknowledged, in order."""
    said = [[json.loads(line) for line in child.communicate(timeout=200)[0].splitlines()] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return said


@pytest.mark.parametrize("names", [1, 4])
@pytest.mark.parametrize("where", ["folder", "moto"])
async def test_four_processes_lose_no_commit(
    where: str, names: int, request: pytest.FixtureRequest, tmp_path: Path, seconds: Callable[[float], float]
) -> None:
    """Each of 4 x 200 commits to one dataset, and to four, is a version of its own, and stays what was acknowledged.

    The S3 server is slow: half a minute for each; but under stress, 4 x 40 are made there.
    """
    each = 200 if where == "folder" or seconds(1) > 1 else 40
    whole = 4 * each // names
    if where == "moto":
        settings = request.getfixturevalue("moto").settings()
    else:
        settings = config.Storage(url=(tmp_path / "bucket").as_uri())
    code = COMMITS.replace('"t"', f'f"t{{n % {names}}}"')
    said = finished([started(code, tmp_path / str(who), str(who), each, settings) for who in range(4)])
    acknowledged = {(name, version): key for lines in said for name, version, key in lines}
    assert sorted(acknowledged) == [(f"t{n}", v) for n in range(names) for v in range(1, whole + 1)]
    storage = Storage(tmp_path / "another", settings)
    datasets = Datasets(tmp_path / "another", storage)
    for (name, version), key in acknowledged.items():
        if version % 40 == 0 or where == "folder":
            assert [file.key for file in (await datasets.get(name, version)).objects] == [key]
    assert {manifest.version for manifest in await datasets.list()} == {whole}
    assert await datasets.refresh() == []


async def test_two_homes_lose_no_vector(moto: S3, tmp_path: Path) -> None:
    """Both add to one index, seal and merge meanwhile; a third home finds every item."""
    settings = moto.settings()
    await Vectors(tmp_path / "first", Storage(tmp_path / "first", settings), config.Vectors()).create("it", 2)
    said = finished([started(ADDS, tmp_path / who, who, 60, settings) for who in ("a", "b")])
    third = Vectors(tmp_path / "third", Storage(tmp_path / "third", settings), config.Vectors())
    assert await third.ids("it") == {id for lines in said for id in lines}
    assert await third.verify("it") == []
    assert (await third.get("it")).revision > 2


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
@pytest.mark.parametrize("server", ["moto", "rclone"])
async def test_what_was_acknowledged_before_kill_9_is_there(
    server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A killed writer of commits and vectors leaves every acknowledged one in the bucket, and no damage."""
    settings: config.Storage = request.getfixturevalue(server).settings()
    home = tmp_path / "home"
    await Vectors(home, Storage(home, settings), config.Vectors()).create("it", 2)
    acknowledged: list[list[Any]] = []
    for code in (COMMITS, ADDS):
        lines: list[Any] = []
        with started(code, home, "x", 10_000, settings) as child:
            assert child.stdout is not None
            for line in child.stdout:
                lines.append(json.loads(line))
                if len(lines) == 30:
                    child.kill()
        acknowledged.append(lines)
    storage = Storage(home, settings)
    datasets, vectors = Datasets(home, storage), Vectors(home, storage, config.Vectors())
    for _, version, key in acknowledged[0]:
        assert [file.key for file in (await datasets.get("t", version)).objects] == [key]
    assert set(acknowledged[1]) <= await vectors.ids("it")
    assert await vectors.verify("it") == [] and await datasets.refresh() == []
