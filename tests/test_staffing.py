"""The staffing table: the same bytes everywhere, real shapes, and its schema all the way through."""

import csv
import hashlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.engine.ingesting import Bench

from lakehouse.catalogue import load
from lakehouse.sources import shipped

TYPES = {
    "worker_id": "int64",
    "years_experience": "int64",
    "reliability_score": "double",
    "pay_rate": "double",
    "last_assignment": "date32[day]",
}


@pytest.fixture(scope="module")
def staffing() -> ModuleType:
    return load(shipped("corpora") / "staffing.py", "lakehouse.corpora.staffing")


def test_the_same_rows_and_seed_are_the_same_bytes(staffing: ModuleType, tmp_path: Path) -> None:
    staffing.write_csv(tmp_path / "a.csv", 1000, 1)
    written = (tmp_path / "a.csv").read_bytes()
    assert hashlib.sha256(written).hexdigest() == "d8c2d605c7c3dfacae59b12357906af870e370dc2ecbd826944affc1337a6c14"
    script = shipped("corpora") / "staffing.py"
    subprocess.run([sys.executable, script, tmp_path / "b.csv", "--rows", "1000", "--seed", "1"], check=True)
    assert (tmp_path / "b.csv").read_bytes() == written
    staffing.write_csv(tmp_path / "c.csv", 1000, 2)
    assert (tmp_path / "c.csv").read_bytes() != written


def test_its_shape(staffing: ModuleType, tmp_path: Path) -> None:
    staffing.write_csv(tmp_path / "a.csv", 5000)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert tuple(header) == staffing.COLUMNS and len(header) == 18 and len(rows) == 5000
    assert {len(row) for row in rows} == {18}
    broken = sum("\n" in row[-1] for row in rows)
    assert 0.4 < broken / len(rows) < 0.6
    assert any("," in row[-1] for row in rows) and any('"' in row[-1] for row in rows)
    assert any(row[7].startswith("0") for row in rows) and {len(row[7]) for row in rows} == {5}
    assert 600 < (tmp_path / "a.csv").stat().st_size / len(rows) < 800


@pytest.mark.anyio
async def test_its_schema_through_ingest(staffing: ModuleType, tmp_path: Path) -> None:
    """A-S8-8: 18 columns, by name and type, on reduced rows; zip codes stay text."""
    staffing.write_csv(tmp_path / "staffing.csv", 3000)
    bench = Bench(tmp_path)
    stored = await bench.ingester.ingest_path(tmp_path / "staffing.csv", "workers_500k")
    assert {c.name: c.type for c in stored.columns} == {name: TYPES.get(name, "string") for name in staffing.COLUMNS}
    table = bench.table(stored)
    with (tmp_path / "staffing.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["resume_text"] for row in csv.DictReader(file)]
    assert table["resume_text"].to_pylist() == texts
