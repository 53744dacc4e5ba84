"""What a run leaves behind: its result, its verdict, files beside its artifacts, and evidence."""

import json
from pathlib import Path

import anyio
import pytest
from tests.probes import lived, probe, probing

from lakehouse import Lakehouse
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.files import file_name
from lakehouse.engine.workflows.running.step import Step

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("probing")]
__all__ = ["probing"]


async def verdict(step: Step) -> Output:
    return Output.of({"passed": step.node.id == "good", "why": "because"})


async def test_the_result_is_the_named_node_s_or_the_first_end_that_says_something(lake: Lakehouse) -> None:
    nodes = probe("a", "first"), probe("b", " ", "a"), probe("c", "third", "a"), probe("d", "fourth", "a")
    assert (await lived(lake, *nodes)).record.result == "third"
    assert (await lived(lake, *nodes, returns="a")).record.result == "first"


async def test_the_outcome_is_the_authors_own_verdict(lake: Lakehouse) -> None:
    for id, wanted in (("good", True), ("bad", False)):
        live = await lived(lake, probe(id, verdict), returns=id, outcome_field="passed")
        assert (live.record.status, live.record.outcome) == ("completed", wanted)
    assert (await lived(lake, probe("good", verdict), returns="good", outcome_field="why")).record.outcome is None
    assert (await lived(lake, probe("good", verdict), returns="good")).record.outcome is None


async def test_an_output_type_leaves_files_beside_the_artifacts(lake: Lakehouse) -> None:
    live = await lived(lake, probe("good", verdict, output_type="report"), probe("../up", "x", output_type="note"))
    folder = live.folder / "artifacts" / "nodes"
    assert json.loads((folder / "good.md").read_text()) == {"passed": True, "why": "because"}
    about = json.loads((folder / "good.meta.json").read_text())
    assert {name: about[name] for name in ("run", "node", "output_type", "json")} == {
        "run": "run",
        "node": "good",
        "output_type": "report",
        "json": True,
    }
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 4


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "ü" * 200, "a" * 300, "nul\0"])
def test_any_text_has_a_file_name(name: str) -> None:
    found = file_name(name)
    assert found == Path(found).name
    assert 0 < len(found.encode()) < 200


async def test_the_folders_are_there(lake: Lakehouse) -> None:
    async def look(step: Step) -> str:
        found = [Path(step.scope.variables[name]) for name in ("ARTIFACTS_DIR", "STATE_DIR")]
        return str([await anyio.Path(folder).is_dir() for folder in found])

    live = await lived(lake, probe("a", look))
    assert live.nodes["a"].text == "[True, True]"
    assert (live.folder.parent / "state" / "test").is_dir()


async def test_a_run_that_has_to_show_evidence_fails_without(lake: Lakehouse) -> None:
    async def write(step: Step) -> str:
        await anyio.Path(step.live.folder / "artifacts" / "evidence.json").write_text("{}")
        return "done"

    live = await lived(lake, probe("a", "done"), evidence_required=True)
    assert live.record.error is not None
    assert (live.record.status, "evidence.json" in live.record.error.detail) == ("failed", True)
    assert live.nodes["a"].status == "completed"
    assert (await lived(lake, probe("a", write), evidence_required=True)).record.status == "completed"
