"""The staffing drivers: a table, its corpus and three questions; both worker corpora from one; failures told."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import lakehouse
from lakehouse import staffing
from lakehouse.engine.corpora import PartialFailure
from lakehouse.engine.embed import Embedder
from lakehouse.errors import InvalidInput, Unavailable
from lakehouse.sources import shipped

NAMED = {path.stem for path in shipped("corpora").glob("*.yaml")}
# They read folders of the user's, which may be there.
FOLDERS = {"lakehouse_arch_v1", "lakehouse_symbols_v1"}
pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_one_driver_makes_both_corpora_of_workers(tmp_path: Path) -> None:
    """A-S12-4: both prefixes from one driver; ids disjoint. A-S12-5: again is the same."""
    told: list[str] = []
    first = await staffing.drive("workers", tmp_path, rows=40, say=told.append)
    second = await staffing.drive("workers", tmp_path, index_name="ethereal_workers", id_prefix="e-", rows=50, limit=30)
    assert first["corpus"] == "workers" and not first["partial"] and first["built"]["count"] >= 40
    assert second["dataset"] == "ethereal_workers" and second["built"]["scanned"] == 30
    again = await staffing.drive("workers", tmp_path, rows=40)
    assert again["built"]["count"] == first["built"]["count"] and again["built"]["embedded"] == 0
    for answer, prefix in ((first, "w-"), (second, "e-")):
        assert [probe["query"] for probe in answer["probes"]] == list(staffing.PROBES)
        assert all(hit["id"].startswith(prefix) for probe in answer["probes"] for hit in probe["hits"])
        assert all(len(probe["hits"]) == staffing.SHOWN and probe["seconds"] >= 0 for probe in answer["probes"])
    assert sum(line.split(":")[0] in staffing.PROBES and line.endswith(" ms") for line in told) == 3
    async with lakehouse.open(tmp_path) as lake:
        ids = [await lake.vectors.ids(name) for name in ("workers", "ethereal_workers")]
    assert ids[0] and ids[1] and not ids[0] & ids[1]


async def test_other_names_and_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails is a warning and `partial`; `strict` raises it. The estimate comes before the work."""
    whole, calls = Embedder.embed, 0

    async def failing(self: Embedder, texts: Sequence[str], *given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Unavailable("the model is away.", fix="Wait.")
        return await whole(self, texts, *given, **named)

    monkeypatch.setattr(Embedder, "embed", failing)
    monkeypatch.setattr(staffing, "LONG", 100)
    told: list[str] = []
    answer = await staffing.drive("candidates", tmp_path, index_name="night", rows=120, say=told.append)
    assert answer["corpus"] == "night" and answer["partial"] and answer["built"]["failed_batches"] == 1
    assert 0 < answer["built"]["count"] < 120 and len(answer["probes"]) == 3
    assert any("embedding 120 rows takes about" in line for line in told)
    assert any(line.startswith("warning: ") for line in told)
    calls = 0
    with pytest.raises(PartialFailure):
        await staffing.drive("candidates", tmp_path, index_name="strict", rows=120, strict=True)


async def test_what_cannot_be_driven(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="driver"):
        await staffing.drive("nobody", tmp_path)
    with pytest.raises(InvalidInput, match="below 1"):
        await staffing.drive("workers", tmp_path, limit=0)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S12.5, S12.7: the 500K driver, shortened, prints its hits with timings."""
    assert staffing.main(["staffing_500k", "--home", str(tmp_path), "--rows", "30", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["corpus"] == "workers_500k" and "welder Chicago: " in said.err
    assert staffing.main(["workers", "--home", str(tmp_path), "--rows", "-1"]) == InvalidInput.exit
    assert "below 1" in capsys.readouterr().err


async def test_named_corpora_are_shown_once_their_data_is_there(tmp_path: Path) -> None:
    """S12.4: every named corpus is defined; a definition for data that is not there says so when it is meant."""
    assert NAMED == set(
        "candidates ethereal_workers kb_team_runs_v1 lakehouse_answers_v1 lakehouse_arch_v1 lakehouse_symbols_v1 "
        "scrum_findings_v1 successful_playbooks_live workers workers_500k".split()
    )
    table = tmp_path / "runs.csv"
    table.write_text("run_id,task,summary\n1,Count pallets,All were counted\n", encoding="utf-8")
    async with lakehouse.open(tmp_path / "home") as lake:
        shown = await lake.call("corpora.list", {})
        assert not {each["name"] for each in shown["defined"]} & NAMED - FOLDERS
        assert not shown["problems"] and not (await lake.call("corpora.check", {}))["problems"]
        checked = await lake.call("corpora.check", {"name": "kb_team_runs_v1"})
        assert "kb_team_runs" in checked["definitions"][0]["problem"]
        with pytest.raises(lakehouse.NotFound, match="scrum_findings"):
            await lake.call("corpora.build", {"name": "scrum_findings_v1"})
        await lake.call("ingest.file", {"path": str(table), "name": "kb_team_runs"})
        shown = await lake.call("corpora.list", {})
        assert {each["name"] for each in shown["defined"]} & NAMED - FOLDERS == {"kb_team_runs_v1"}
        built = await lake.call("corpora.build", {"name": "kb_team_runs_v1"})
        assert built["count"] == 1
        docs = tmp_path / "docs"
        docs.mkdir()
        (docs / "a.md").write_text("# One\n\n" + "words " * 60 + "\n\n# Two\n\n" + "words " * 60, encoding="utf-8")
        built = await lake.call("corpora.build", {"name": "lakehouse_arch_v1", "folder": str(docs)}, via="cli")
        assert built["count"] == 2
