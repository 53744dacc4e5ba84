"""Runs of workflows through the door: who sees which, what the journal says, and what a backup brings back."""

from pathlib import Path

import pytest
from tests.flows import PATIENCE

import lakehouse
from lakehouse import Conflict, Forbidden, Lakehouse, NotFound
from lakehouse.observe import Caller

pytestmark = pytest.mark.anyio

MINE, THEIRS = Caller(via="mcp", profile="mine"), Caller(via="mcp", profile="theirs")
ASKS = """
name: asks
description: It asks.
nodes:
  - {id: long, mode: fixture.echo, with: {value: LONG}}
  - {id: ok, depends_on: [long], approval: {message: 'Well?', capture_response: true}}
  - {id: said, depends_on: [ok], mode: fixture.upper, with: {text: $ok.output}}
"""
RUN_TOOLS = "status logs cancel resume approve reject rerun".split()


@pytest.fixture
def asks(home: Path) -> str:
    """A workflow that waits for an answer, behind an output that lies in a file."""
    (home / "workflows").mkdir(parents=True)
    (home / "workflows" / "asks.yaml").write_text(ASKS.replace("LONG", "x" * 70_000))
    return "asks"


async def test_a_profile_has_its_own_runs(lake: Lakehouse, asks: str) -> None:
    """Who is bound to a profile sees and touches no run of another; who is bound to none sees all."""
    for name in ("mine", "theirs"):
        await lake.call("set_profile", {"name": name, "bucket": "primary"})
    mine = (await lake.call("workflow_run", {"workflow": asks}, caller=MINE))["run_id"]
    everybodys = (await lake.call("workflow_run", {"workflow": asks}))["run_id"]
    for run in (mine, everybodys):
        for name in RUN_TOOLS:
            with pytest.raises(NotFound, match="there is no run"):
                await lake.call(f"workflow_{name}", {"run": run}, caller=THEIRS)
        with pytest.raises(NotFound, match="there is no run"):
            await lake.call("workflow_diff", {"a": run, "b": run}, caller=THEIRS)
    assert (await lake.call("workflow_runs", {}, caller=THEIRS))["count"] == 0
    assert [run["run_id"] for run in (await lake.call("workflow_runs", {}, caller=MINE))["runs"]] == [mine]
    assert (await lake.call("workflow_runs"))["count"] == 2
    answer = await lake.call("workflow_approve", {"run": mine, "text": "yes"}, caller=MINE)
    assert (answer["status"], answer["result"]) == ("completed", '{"text":"YES"}')


async def test_reading_and_writing_are_apart(lake: Lakehouse, asks: str) -> None:
    run = (await lake.call("workflow_run", {"workflow": asks}))["run_id"]
    reader = Caller(via="http", read_only=True)
    for name in ("status", "logs"):
        await lake.call(f"workflow_{name}", {"run": run}, caller=reader)
    for name in ("cancel", "resume", "approve", "reject", "rerun"):
        with pytest.raises(Forbidden):
            await lake.call(f"workflow_{name}", {"run": run}, caller=reader)
    answer = await lake.call("workflow_reject", {"run": run, "text": "no"}, caller=Caller(via="http", name="ann"))
    assert answer["status"] == "cancelled"
    again = await lake.call("workflow_reject", {"run": run, "text": "no"})
    assert again["status"] == "cancelled"  # it was said already
    with pytest.raises(Conflict, match="over"):
        await lake.call("workflow_approve", {"run": run})
    events = (await lake.call("journal_query", {"entity_type": "run"}))["events"]
    assert [(event["action"], event["entity_id"]) for event in events] == [("answer", run)] * 2
    assert events[-1]["after"]["decision"] == "reject" and events[-1]["actor"] == "ann"


async def test_pages(lake: Lakehouse) -> None:
    runs = [
        (await lake.call("workflow_run", {"workflow": "fixture-chain", "background": n == 2}))["run_id"]
        for n in range(3)
    ]
    await lake.workflows.wait(runs[2], PATIENCE)
    page = await lake.call("workflow_runs", {"limit": 2})
    assert [run["run_id"] for run in page["runs"]] == runs[:0:-1]
    page = await lake.call("workflow_runs", {"limit": 2, "before": page["next"]})
    assert [run["run_id"] for run in page["runs"]] == runs[:1] and "next" not in page
    shown = await lake.call("workflow_status", {"run": runs[0], "timeline": True})
    assert shown["nodes"][1]["mode"] == "fixture.upper"
    assert shown["timeline"]["critical_path"] == ["echo", "upper"]
    logs = await lake.call("workflow_logs", {"run": runs[0], "limit": 3})
    assert [event["event"] for event in logs["events"]] == ["run_started", "node_started", "node_completed"]
    rest = await lake.call("workflow_logs", {"run": runs[0], "after": logs["next"]})
    assert rest["events"][-1]["event"] == "run_completed"


async def test_a_backup_brings_paused_runs_back(lake: Lakehouse, asks: str, tmp_path: Path) -> None:
    run = (await lake.call("workflow_run", {"workflow": asks}))["run_id"]
    await lake.call("backup", {"path": str(tmp_path / "b.tar.zst")}, via="cli")
    await lake.call("workflow_approve", {"run": run, "text": "here"})
    new = tmp_path / "new"
    await lakehouse.restore(tmp_path / "b.tar.zst", new)
    async with lakehouse.open(new, overrides={"embed.provider": "hash"}) as other:
        shown = await other.call("workflow_status", {"run": run})
        assert shown["status"] == "paused" and len(shown["nodes"][0]["output"]["value"]) == 70_000
        assert (await other.call("workflow_approve", {"run": run, "text": "there"}))["result"] == '{"text":"THERE"}'
    assert (await lake.call("workflow_status", {"run": run}))["result"] == '{"text":"HERE"}'


async def test_fsck_names_damaged_outputs(lake: Lakehouse, home: Path, asks: str) -> None:
    assert (await lake.call("fsck"))["ok"] and not (home / "runs").exists()
    run = (await lake.call("workflow_run", {"workflow": asks}))["run_id"]
    assert (await lake.call("fsck"))["ok"]
    (file,) = (home / "runs" / run / "nodes").iterdir()
    file.write_text("other")
    done = await lake.call("fsck")
    assert not done["ok"]
    assert [damage["key"] for damage in done["damaged"]] == [f"runs/{run}/nodes/{file.name}"]
    assert (await lake.call("workflow_status", {"run": run}))["nodes"][0]["status"] == "failed"


async def test_gc_forgets_runs(home: Path) -> None:
    settings = {"embed.provider": "hash", "workflows.keep_runs": 1}
    async with lakehouse.open(home, overrides=settings) as lake:
        assert (await lake.call("gc"))["runs"] == 0
        for _ in range(3):
            await lake.call("workflow_run", {"workflow": "fixture-chain"})
        assert (await lake.call("gc", {"dry_run": True}))["runs"] == 2
        assert (await lake.call("gc"))["runs"] == 2
        assert (await lake.call("workflow_runs"))["count"] == 1


async def test_an_error_is_kept_without_credentials(
    lake: Lakehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "very-secret-value")
    vars(lake).pop("redactor", None)
    (home / "workflows").mkdir(parents=True)
    text = (
        "name: bad\ndescription: It fails.\nnodes:\n  - {id: a, bash: 'echo \"key very-secret-value\" >&2; exit 3'}\n"
    )
    (home / "workflows" / "bad.yaml").write_text(text)
    answer = await lake.call("workflow_run", {"workflow": "bad"})
    assert answer["status"] == "failed" and "key" in answer["error"]
    assert "very-secret-value" not in str(answer)
    (node,) = (await lake.workflows.store.nodes(answer["run_id"])).values()
    assert node.failure is not None and "very-secret-value" not in node.failure.detail
    assert "very-secret-value" not in str(await lake.call("workflow_logs", {"run": answer["run_id"], "node": "a"}))
