"""Many files as one dataset: which files a path stands for, and one schema for all."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.ingesting import Bench

from lakehouse import config
from lakehouse.engine.ingest.matches import files_of
from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, NotFound, TooLarge

SETTINGS = config.Ingest()


def called(path: Path, roots: list[Path] | None = None, **settings: Any) -> list[str]:
    found = files_of(path, roots, None, config.Ingest(**settings))
    assert found is not None
    return [match.called for match in found.files]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in (
        "b.csv",
        "a.csv",
        "c.json",
        "x/d.csv",
        "x/y/e.csv",
        ".hidden.csv",
        "_SUCCESS",
        "notes.txt",
        "x[1].csv",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a\n1\n", encoding="utf-8")
    (root / ".cache").mkdir()
    (root / ".cache" / "f.csv").write_text("a\n1\n", encoding="utf-8")
    (root / "x" / "loop").symlink_to(root)
    return root


def test_what_a_path_stands_for(tree: Path) -> None:
    """In the order of names; hidden files and what is no data are left out, links are not walked twice."""
    assert files_of(tree / "a.csv", None, None, SETTINGS) is None
    assert files_of(tree / "none.csv", None, None, SETTINGS) is None
    assert files_of(tree / "x[1].csv", None, None, SETTINGS) is None
    folder = files_of(tree, None, None, SETTINGS)
    assert folder is not None and [m.called for m in folder.files] == ["a.csv", "b.csv", "c.json", "x[1].csv"]
    assert set(folder.left_out) == {"_SUCCESS", "notes.txt", "x"} and "3 entries" in folder.warnings[0]
    assert called(tree / "*.csv") == ["a.csv", "b.csv", "x[1].csv"]
    assert called(tree / "[ab].csv") == ["a.csv", "b.csv"] and called(tree / "?.json") == ["c.json"]
    assert called(tree / "**" / "*.csv") == ["a.csv", "b.csv", "x/d.csv", "x/y/e.csv", "x[1].csv"]
    assert called(tree / "*" / "*.csv") == ["x/d.csv"]
    for missing in ("*.parquet", "z/*.csv", "**/*.xlsx"):
        with pytest.raises(NotFound, match="no data file"):
            called(tree / missing)
    with pytest.raises(InvalidInput, match="end like a format"):
        called(tree / "*.txt")


def test_every_match_is_judged(tree: Path, tmp_path: Path) -> None:
    """A link out of the roots refuses the whole; so do too many files, and too many bytes."""
    assert called(tree / "*.csv", [tree]) == ["a.csv", "b.csv", "x[1].csv"]
    (tmp_path / "out.csv").write_text("a\n1\n", encoding="utf-8")
    (tree / "linked.csv").symlink_to(tmp_path / "out.csv")
    for path in (tree, tree / "*.csv", tree / "**" / "linked*"):
        with pytest.raises(Forbidden, match=r"linked\.csv"):
            called(path, [tree])
    for path in (tmp_path / "*.csv", tmp_path, tree / "x" / ".." / ".." / "*.csv"):
        with pytest.raises(Forbidden):
            called(path, [tree])
    with pytest.raises(TooLarge, match="max_files"):
        called(tree / "*.csv", max_files=2)
    with pytest.raises(TooLarge, match="max_path_bytes"):
        called(tree / "*.csv", max_path_bytes=9)
    os.mkfifo(tree / "pipe.csv")
    with pytest.raises(InvalidInput, match="regular"):
        called(tree / "*.csv")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def take(bench: Bench, files: dict[str, str | bytes], name: str = "t", **options: Any) -> Any:
    """Ingest a folder of these files."""
    folder = bench.folder / f"in-{name}"
    for called, data in files.items():
        (folder / called).parent.mkdir(parents=True, exist_ok=True)
        (folder / called).write_bytes(data if isinstance(data, bytes) else data.encode())
    return await bench.ingester.ingest_path(folder, name, **options)


@pytest.mark.slow
@pytest.mark.anyio
async def test_one_dataset_of_many_files(bench: Bench) -> None:
    """As one long file would be read: a late 007 makes text of all, and an empty column has the others' type."""
    files: dict[str, str | bytes] = {
        "1.csv": "id,zip,n,d,e\n1,12,,2024-01-01,\n2,1.50,,2024-01-02,\n",
        "2.csv": "zip,id,n,d,e\n007,3,1.5,2024-01-01 10:00:00,\n",
        "3.tsv": "id\tzip\tn\td\te\n4\t5\t2\t2024-01-01\t\n",
        "4.jsonl": '{"id": 5, "zip": "x", "n": null, "d": "2024-01-01", "e": null}\n',
    }
    made = await take(bench, files, source_column="file")
    table = bench.table(made)
    assert table.to_pydict() == {
        "id": [1, 2, 3, 4, 5],
        "zip": ["12", "1.50", "007", "5", "x"],
        "n": [None, None, 1.5, 2.0, None],
        "d": ["2024-01-01", "2024-01-02", "2024-01-01 10:00:00", "2024-01-01", "2024-01-01"],
        "e": [None] * 5,
        "file": ["1.csv", "1.csv", "2.csv", "3.tsv", "4.jsonl"],
    }
    assert str(table.schema.field("n").type) == "double"
    provenance = (await bench.datasets.get("t")).provenance
    assert [(f["file"], f["rows"]) for f in provenance["files"]] == [
        *(("1.csv", 2), ("2.csv", 1), ("3.tsv", 1), ("4.jsonl", 1))
    ]
    assert provenance["bytes"] == sum(len(data) for data in files.values()) and len(provenance["sha256"]) == 64
    assert (await take(bench, files, source_column="file")).existing and bench.scratch() == []


@pytest.mark.slow
@pytest.mark.anyio
async def test_all_or_nothing(bench: Bench) -> None:
    """Other columns, bad rows and damaged files are named by their file; evolve fills what is missing."""
    good = "a,b\n1,2\n"
    for number, (bad, words) in enumerate(
        (
            ("a\n1\n", r"2\.csv has other columns than 1\.csv: no 'b'"),
            ("a,b,c\n1,2,3\n", r"2\.csv has other columns than 1\.csv: 'c' beside"),
            ("a,b\n1,2,3\n", r"2\.csv: line 2"),
        )
    ):
        with pytest.raises(InvalidInput, match=words):
            await take(bench, {"1.csv": good, "2.csv": bad}, f"bad{number}")
    assert bench.objects() == {} and bench.scratch() == []
    made = await take(bench, {"1.csv": good, "2.csv": "a,c\n3,x\n"}, evolve=True)
    assert bench.table(made).to_pydict() == {"a": [1, 3], "b": [2, None], "c": [None, "x"]}
    with pytest.raises(InvalidInput, match="source_column"):
        await bench.take(b"a\n1\n", "u", source_column="x")
    with pytest.raises(InvalidInput, match="columns 1, 3"):
        await take(bench, {"1.csv": good, "2.csv": good}, "clash", source_column="A")


@pytest.mark.slow
@pytest.mark.anyio
async def test_parquet_of_different_types(bench: Bench) -> None:
    def parquet(values: Any) -> bytes:
        out = pa.BufferOutputStream()
        pq.write_table(pa.table({"v": values}), out)
        return bytes(out.getvalue())

    small, wide = pa.array([1], pa.int32()), pa.array([2**40], pa.int64())
    made = await take(bench, {"1.parquet": parquet(small), "2.parquet": parquet(wide)})
    assert bench.table(made).to_pydict() == {"v": [1, 2**40]}
    with pytest.raises(LakehouseError, match=r"2\.parquet: column 'v' is string"):
        await take(bench, {"1.parquet": parquet(small), "2.parquet": parquet(pa.array(["x"]))}, "u")


@pytest.mark.anyio
@pytest.mark.slow
async def test_folders_named_after_columns(bench: Bench) -> None:
    """What folders say of a table's rows becomes columns; a column that the files have themselves is theirs."""
    hive = {"day=2024-01-02/n=1/x=a%20b": "5,7", "day=2024-01-03/n=2/x=__HIVE_DEFAULT_PARTITION__": "6,8"}
    for folder, row in hive.items():
        path = bench.folder / "lake" / folder
        path.mkdir(parents=True)
        (path / "part.csv").write_text(f"id,N\n{row}\n")
    stored = await bench.ingester.ingest_path(bench.folder / "lake" / "**" / "*.csv", "t")
    assert [(c.name, c.type) for c in stored.columns] == [
        ("id", "int64"),
        ("N", "int64"),
        ("day", "date32[day]"),
        ("x", "string"),
    ]
    rows = bench.table(stored).to_pylist()
    assert [(row["id"], row["N"], str(row["day"]), row["x"]) for row in rows] == [
        (5, 7, "2024-01-02", "a b"),
        (6, 8, "2024-01-03", None),
    ]
