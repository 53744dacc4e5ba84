"""`lakehouse demo`: each step finds what it promises, and the command it shows gives the same."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lakehouse.demo import CORPUS, ROWS, Step, write_workers

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
TIMED = {"docs_per_s", "wall_s"}


@pytest.mark.slow
def test_the_demo(tmp_path: Path, command: list[str], home: Path) -> None:
    """None of the words asked for is in the rows that are found. A home keeps what was made."""
    kept = tmp_path / "kept"
    ran = subprocess.run([*command, "--home", str(kept), "demo", "--json"], capture_output=True, check=True)
    played = [Step(**step) for step in json.loads(ran.stdout)["steps"]]
    assert from_the_shell(command, kept, "lakehouse sql 'SELECT count(*) FROM workers'", tmp_path)["rows"] == [[400]]
    write_workers(tmp_path / "workers.csv", ROWS)
    shutil.copytree(kept / "cache", home / "cache")  # the vectors of its texts, so that they are not made twice
    ingested, asked, built, found, joined, noted, again, flow, refused = (step.result for step in played)
    assert ingested["row_count"] == built["count"] == 400
    assert len(asked["rows"]) == 5
    assert len(found["results"]) == 5
    assert all(hit["text"].startswith("Truck Driver") for hit in found["results"])
    ids = {hit["id"] for hit in found["results"]}
    assert joined["rows"] and {str(row[0]) for row in joined["rows"]} <= ids
    served = str(joined["rows"][0][0])
    assert [hit["id"] for hit in again["results"] if hit["boosted"]] == [again["results"][0]["id"]] == [served]
    assert again["results"][0]["distance"] > again["results"][1]["distance"]  # it is not that it was the nearest
    assert noted["playbook_id"] and refused["status"] == 400
    for step in played:
        said = from_the_shell(command, home, step.command, tmp_path)
        if "shortlist" in step.result:
            assert [node["output"]["markdown"] for node in said["nodes"] if node["id"] == "shortlist"] == [
                flow["shortlist"]
            ]
            assert f"| {served} |" in flow["shortlist"]
        elif "results" in step.result:
            assert [hit["id"] for hit in said["results"]] == [hit["id"] for hit in step.result["results"]]
            given = set(said["results"][0]["metadata"])
            assert set(CORPUS["metadata"]) <= given and "pay_rate" not in given
        else:
            assert {k: said[k] for k in step.result if k not in TIMED} == {
                k: v for k, v in step.result.items() if k not in TIMED
            }
    assert re.findall(r"^(\d+) +0\.\d{3} +Truck Driver", README, re.MULTILINE) == [
        hit["id"] for hit in found["results"][:3]
    ]
    on_disk = README.partition("## What is on disk")[2].partition("\n## ")[0]
    assert all(f"`{path.name}" in on_disk for path in home.iterdir())
    assert all(f"`objects/{path.name}/`" in on_disk for path in (home / "objects").iterdir() if any(path.iterdir()))


def from_the_shell(command: list[str], home: Path, line: str, folder: Path) -> dict[str, Any]:
    """What a line of the demo answers on another data directory."""
    program, *arguments = shlex.split(line)
    assert program == "lakehouse"
    ran = subprocess.run(
        [*command, "--home", str(home), *arguments, "--json"], cwd=folder, capture_output=True, text=True
    )
    said: dict[str, Any] = json.loads(ran.stdout or ran.stderr)
    return said
