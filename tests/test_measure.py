"""`lakehouse bench`: every row of the reference table beside ours, and what makes it fail."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lakehouse import measure
from lakehouse.faces import cli

ROWS = (
    "ingest 500,000 x 18",
    "SQL GROUP BY",
    "SQL count",
    "SQL AVG",
    "SQL schema",
    "batch add, 768-d, 16",
    "batch add, 768-d, 128",
    "batch add, 768-d, 1024",
    "one object under _vectors/",
    "G3.2.A",
    "G3.2.B",
    "embed one text",
    "embed one text, cached",
    "chat judge",
    "verify",
)


def bench(*options: str) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(cli.root, ["--json", "bench", *options])
    assert ran.stdout, ran.exception
    return ran.exit_code, json.loads(ran.stdout)


@pytest.mark.slow
def test_quick_prints_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S43-1, A-S9-15: 10K x 64, offline; a gate that is missed on a slice fails nothing."""
    monkeypatch.setattr(measure, "BUILD_LIMIT_S", 0.0)
    status, report = bench("--quick")
    assert (status, report["passed"]) == (0, True)
    assert len(report["rows"]) == len(ROWS)
    for row, what in zip(report["rows"], ROWS, strict=True):
        assert row["what"].startswith(what) and row["reference"] and row["ours"]
    assert {row["what"] for row in report["rows"] if row["gate"]} == {
        "G3.2.A vectors built and published, 10,000 x 64",
        "G3.2.B search k=10 p50, 10,000 x 64",
    }
    assert set(report["machine"]) == {"cores", "system", "python", "lakehouse"}


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "status"), [("BUILD_LIMIT_S", 1), ("SEARCH_LIMIT_MS", 1), ("", 0)])
def test_a_gate_that_fails_at_full_size(limit: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S43-1: that alone is a failure. The size stands in for the full one here."""
    monkeypatch.setattr(measure, "FULL", measure.Sizes(rows=200, vectors=200, dimension=8, repeats=2))
    if limit:
        monkeypatch.setattr(measure, limit, 0.0)
    ended, report = bench()
    assert ended == status
    assert [row["gate"] for row in report["rows"]].count("GATE FAILS") == status


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when measuring fails."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(measure, "_ingest", fail)
    assert CliRunner().invoke(cli.root, ["bench", "--quick"]).exception is not None
    assert not list(tmp_path.glob("lakehouse-bench-*"))
