"""Runs that go on, are answered, cancelled, run again, compared, listed and forgotten."""

import json
import time
from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, ran, started, workflow

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse, NotFound, TooLarge
from lakehouse.engine.workflows.runs import NodeRecord, Planned, RunRecord, Starter
from lakehouse.engine.workflows.runs.timeline import timeline_of

pytestmark = pytest.mark.anyio

FLAKY = """
  - {id: a, bash: 'echo a >> $ARTIFACTS_DIR/traces; echo "$INPUTS_WORD"'}
  - {id: side, bash: 'echo side >> $ARTIFACTS_DIR/traces'}
  - {id: b, depends_on: [a], bash: 'echo b >> $ARTIFACTS_DIR/traces; cat FLAG'}
  - {id: c, depends_on: [b], bash: 'echo c >> $ARTIFACTS_DIR/traces; echo got $b.output from $a.output'}
"""
ROOT = "inputs: {word: {default: one}}"
GATE = """
  - {id: a, bash: 'echo a >> $ARTIFACTS_DIR/traces; echo out'}
  - {id: ok, depends_on: [a], approval: {message: "Use $a.output?", capture_response: true}}
  - {id: b, depends_on: [ok], bash: 'echo said $ok.output'}
"""
TWO = """
  - {id: one, approval: {message: 'One?', capture_response: true}}
  - {id: two, approval: {message: 'Two?', capture_response: true}}
"""
SLOW = "  - {id: slow, bash: 'sleep 60'}\n"


def saved(home: Path, name: str, nodes: str) -> None:
    """A workflow among the user's own."""
    (home / "workflows").mkdir(parents=True, exist_ok=True)
    (home / "workflows" / f"{name}.yaml").write_text(workflow(nodes).replace("name: test", f"name: {name}", 1))


def traces(home: Path, run: str) -> list[str]:
    return (home / "runs" / run / "artifacts" / "traces").read_text().split()


async def test_resuming_runs_what_did_not_complete(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    state = await ran(lake, FLAKY.replace("FLAG", str(tmp_path / "flag")), root=ROOT)
    run = state.record.id
    assert [node.status for node in state.nodes] == ["completed", "completed", "failed", "skipped"]
    (tmp_path / "flag").write_text("it")
    with anyio.fail_after(PATIENCE):
        await lake.workflows.resume(run)
        state = await lake.workflows.wait(run)
    assert state.status == "completed" and state.record.error is None
    assert state.record.result == "got it from one"
    assert sorted(traces(home, run)) == ["a", "b", "b", "c", "side"]
    with pytest.raises(Conflict, match="has completed"):
        await lake.workflows.resume(run)


async def test_a_closed_lake_interrupts_and_another_resumes(home: Path) -> None:
    """What is stored is resumed, whatever the file says by now; a paused run waits through it all."""
    nodes = "  - {id: a, bash: 'echo a >> $ARTIFACTS_DIR/traces'}\n" + SLOW.replace("slow,", "slow, depends_on: [a],")
    saved(home, "it", nodes.replace("sleep 60", "test -e $ARTIFACTS_DIR/go || sleep 60; echo was"))
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        await lake.start()
        paused = (await ran(lake, GATE)).record.id
        run = (await lake.workflows.start("it", Starter())).id
        while by_id(await lake.workflows.state(run))["a"].status != "completed":
            await lake.workflows.wait(run, 0.01)
    saved(home, "it", "  - {id: other, bash: 'echo is'}\n")
    (home / "runs" / run / "artifacts" / "go").touch()
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        await lake.start()
        state = await lake.workflows.state(run)
        assert (state.status, state.live) == ("interrupted", False)
        assert [(node.path, node.status) for node in state.nodes] == [("a", "completed"), ("slow", "pending")]
        assert [status for _, status in await lake.workflows.runs(status="interrupted")] == ["interrupted"]
        assert await lake.workflows.runs(status="running") == []
        await lake.workflows.resume(run)
        assert [record.id for record, _ in await lake.workflows.runs(status="running")] == [run]
        state = await lake.workflows.wait(run, PATIENCE)
        assert (state.status, state.record.result) == ("completed", "was")
        assert traces(home, run) == ["a"]
        await lake.workflows.answer(paused, None, "approve", "yes", "me")
        assert (await lake.workflows.wait(paused, PATIENCE)).record.result == "said yes"


async def test_one_of_two_goes_on(lake: Lakehouse, tmp_path: Path) -> None:
    """Of several that resume or answer a run at once, one proceeds and the others are told."""
    run = (await ran(lake, FLAKY.replace("FLAG", str(tmp_path / "none")), root=ROOT)).record.id
    gate = (await ran(lake, GATE)).record.id
    refused: list[str] = []

    async def resume() -> None:
        try:
            await lake.workflows.resume(run)
        except Conflict:
            refused.append("resume")

    async def answer(text: str) -> None:
        try:
            await lake.workflows.answer(gate, "ok", "approve", text)
        except Conflict:
            refused.append("answer")

    async with anyio.create_task_group() as group:
        for n in range(5):
            group.start_soon(resume)
            group.start_soon(answer, f"{n}")
    assert sorted(refused) == ["answer"] * 4 + ["resume"] * 4
    state = await lake.workflows.wait(gate, PATIENCE)
    assert len(by_id(state)["ok"].extra["answers"]) == 1
    assert (await lake.workflows.wait(run, PATIENCE)).status == "failed"


async def test_an_answer(lake: Lakehouse, home: Path) -> None:
    state = await ran(lake, GATE)
    run = state.record.id
    report = await lake.workflows.report(state)
    assert [(gate.node, gate.message, list(gate.decisions)) for gate in report.waits] == [
        ("ok", "Use out?", ["approve", "reject"])
    ]
    with pytest.raises(Conflict, match="waits for an answer at ok"):
        await lake.workflows.resume(run)
    with pytest.raises(InvalidInput, match="does not offer 'aprove'"):
        await lake.workflows.answer(run, None, "aprove")
    with pytest.raises(NotFound, match="no node 'okk'"):
        await lake.workflows.answer(run, "okk", "approve")
    with pytest.raises(NotFound):
        await lake.workflows.answer("0" * 22, None, "approve")
    await lake.workflows.answer(run, None, "approve", "yes", "me")
    state = await lake.workflows.wait(run, PATIENCE)
    assert state.record.result == "said yes" and traces(home, run) == ["a"]
    assert (await lake.workflows.answer(run, None, "approve", "yes", "another")).status == "completed"  # again
    with pytest.raises(Conflict, match="over"):
        await lake.workflows.answer(run, "ok", "reject", "yes")


async def test_gates_that_wait_together(lake: Lakehouse) -> None:
    run = (await ran(lake, TWO)).record.id
    with pytest.raises(Conflict, match=r"several places: one of run .*, two of run"):
        await lake.workflows.answer(run, None, "approve")
    await lake.workflows.answer(run, "two", "approve", "2")
    state = await lake.workflows.wait(run, PATIENCE)
    assert state.status == "paused"
    assert [node.status for node in state.nodes] == ["paused", "completed"]
    await lake.workflows.answer(run, None, "approve", "1")
    assert (await lake.workflows.wait(run, PATIENCE)).status == "completed"


async def test_an_answer_while_other_branches_run(lake: Lakehouse, tmp_path: Path) -> None:
    """It is kept, and heard when they have ended."""
    wait = f"  - {{id: slow, bash: 'until test -e {tmp_path}/go; do sleep 0.01; done'}}\n"
    run = await started(lake, GATE + wait)
    while by_id(await lake.workflows.state(run))["ok"].status != "paused":
        await lake.workflows.wait(run, 0.01)
    assert (await lake.workflows.answer(run, None, "approve", "early")).id == run
    (tmp_path / "go").touch()
    with anyio.fail_after(PATIENCE):
        while (state := await lake.workflows.wait(run, 1)).status != "completed":
            await anyio.lowlevel.checkpoint()
    assert state.record.result == "said early"


async def test_a_gate_of_a_run_below_is_answered_from_above(lake: Lakehouse, home: Path) -> None:
    saved(home, "asks", GATE)
    state = await ran(lake, "  - {id: sub, workflow: asks}\n  - {id: z, depends_on: [sub], bash: 'echo $sub.output'}\n")
    run = state.record.id
    assert state.status == "paused"
    assert [gate.node for gate in (await lake.workflows.report(state)).waits] == ["ok"]
    ((below, _),) = await lake.workflows.runs(parent=run)
    assert [record.id for record, _ in await lake.workflows.runs()] == [run]
    assert (await lake.workflows.answer(run, None, "approve", "yes")).id == run
    state = await lake.workflows.wait(run, PATIENCE)
    assert (state.status, state.record.result) == ("completed", "said yes")
    assert traces(home, below.id) == ["a"]
    again = await ran(lake, "  - {id: sub, workflow: asks}\n")
    ((below, _),) = await lake.workflows.runs(parent=again.record.id)
    await lake.workflows.cancel(again.record.id, "no more")
    assert (await lake.workflows.state(below.id)).status == "cancelled"
    with pytest.raises(Conflict, match="was cancelled"):
        await lake.workflows.answer(below.id, None, "approve")


async def test_cancelling(lake: Lakehouse, home: Path) -> None:
    run = await started(lake, SLOW)
    record = await lake.workflows.cancel(run, "enough")
    assert record.status == "cancelled"
    assert (await lake.workflows.cancel(run, "again")).status == "cancelled"
    paused = (await ran(lake, GATE)).record.id
    record = await lake.workflows.cancel(paused, "never mind")
    assert record.error is not None and record.error.detail == "never mind"
    await lake.workflows.resume(paused)  # it asks again
    assert (await lake.workflows.wait(paused, PATIENCE)).status == "paused"
    done = (await ran(lake, "  - {id: a, bash: 'true'}")).record.id
    with pytest.raises(Conflict, match="it completed"):
        await lake.workflows.cancel(done)


async def test_running_again(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.write_text("it")
    old = (await ran(lake, FLAKY.replace("FLAG", str(flag)), root=ROOT)).record.id
    flag.write_text("that")
    new = await lake.workflows.rerun(old, Starter(), from_node="b", inputs={"word": "two"})
    state = await lake.workflows.wait(new.id, PATIENCE)
    assert (state.record.rerun_of, state.record.result) == (old, "got that from one")
    assert [node.reason for node in state.nodes] == ["copied", "copied", "", ""]
    assert sorted(traces(home, new.id)) == ["a", "b", "b", "c", "c", "side"]  # the files were taken over
    assert sorted(traces(home, old)) == ["a", "b", "c", "side"]
    whole = await lake.workflows.rerun(old, Starter(), inputs={"word": "two"})
    assert (await lake.workflows.wait(whole.id, PATIENCE)).record.result == "got that from two"
    diff = await lake.workflows.diff(old, whole.id)
    assert diff.same_workflow
    assert [(one.path, one.a, one.b) for one in diff.inputs] == [("$.inputs.word", "one", "two")]
    assert [node.id for node in diff.nodes if not node.same] == ["a", "b", "c"]
    assert diff.nodes[0].text == "--- a\n+++ b\n@@ -1 +1 @@\n-one\n+two"
    for wrong, told in (("x", "no node 'x'"), ("b#1/c", "Begin at b")):
        with pytest.raises(InvalidInput) as error:
            await lake.workflows.rerun(old, Starter(), from_node=wrong)
        assert told in str(error.value)
    with pytest.raises(InvalidInput, match="is no file"):
        await lake.workflows.rerun(old, Starter(), current=True)
    with pytest.raises(InvalidInput, match="no input 'wrd'"):
        await lake.workflows.rerun(old, Starter(), inputs={"wrd": "two"})


async def test_running_the_file_as_it_is_now(lake: Lakehouse, home: Path) -> None:
    first = "  - {id: a, bash: 'echo one'}\n"
    saved(home, "it", first + "  - {id: b, depends_on: [a], bash: 'exit 3'}\n")
    old = (await lake.workflows.start("it", Starter())).id
    assert (await lake.workflows.wait(old, PATIENCE)).status == "failed"
    saved(home, "it", first.replace("one", "two") + "  - {id: b, depends_on: [a], bash: 'echo $a.output'}\n")
    new = await lake.workflows.rerun(old, Starter(), from_node="b", current=True)
    assert (await lake.workflows.wait(new.id, PATIENCE)).record.result == "one"
    assert not (await lake.workflows.diff(old, new.id)).same_workflow


def test_the_timeline() -> None:
    """Layers are longest paths; the critical path is what each waited for last, back from what ended last."""
    times = {"a": (0, 5), "quick": (1, 2), "mid": (2, 3), "ok": (5, 6), "end": (6.5, 8)}
    after = {"mid": ("quick",), "ok": ("a", "mid"), "end": ("ok", "quick")}
    plan = tuple(Planned(id, "loop" if id == "a" else "bash", after.get(id, ())) for id in [*times, "never"])
    record = RunRecord("r", "w", {}, {}, "", Starter(), "completed", 100.0, 108.0, plan=plan)
    nodes = {
        id: NodeRecord(id, "bash", "completed", started_at=100.0 + begin, ended_at=100.0 + end, attempts=1)
        for id, (begin, end) in times.items()
    }
    nodes["a"] = nodes["a"].changed(kind="loop", extra={"iteration": 3})
    drawn = timeline_of(record, nodes, [])
    spans = {span.id: span for span in drawn.nodes}
    layers = {"a": 0, "quick": 0, "mid": 1, "ok": 2, "end": 3, "never": 0}
    assert {id: span.layer for id, span in spans.items()} == layers
    assert drawn.critical_path == ["a", "ok", "end"] == [span.id for span in drawn.nodes if span.critical]
    assert (spans["end"].start_ms, spans["end"].end_ms, spans["end"].queued_ms) == (6500, 8000, 500)
    assert (spans["quick"].queued_ms, spans["a"].iterations, spans["mid"].iterations) == (1000, 3, None)
    assert (spans["never"].status, spans["never"].start_ms, drawn.duration_ms) == ("pending", None, 8000)


async def test_the_timeline_says_when_gates_waited(lake: Lakehouse) -> None:
    run = (await ran(lake, GATE)).record.id
    assert [(wait.node, wait.to_ms) for wait in (await lake.workflows.timeline(run)).waits] == [("ok", None)]
    await lake.workflows.answer(run, None, "approve")
    await lake.workflows.wait(run, PATIENCE)
    drawn = await lake.workflows.timeline(run)
    spans = {span.id: span for span in drawn.nodes}
    (wait,) = drawn.waits
    times = [0, wait.from_ms, wait.to_ms, spans["ok"].start_ms, spans["b"].start_ms, drawn.duration_ms]
    assert times == sorted(time for time in times if time is not None)
    assert json.loads(drawn.model_dump_json())["nodes"][2]["depends_on"] == ["ok"]


async def test_what_a_run_is_given_is_bounded(lake: Lakehouse) -> None:
    with pytest.raises(TooLarge, match=r"workflows\.max_output_bytes"):
        await started(lake, "  - {id: a, bash: 'true'}", message="x" * (16 * 2**20 + 1))
    with pytest.raises(InvalidInput, match="no JSON"):
        await started(lake, "  - {id: a, bash: 'true'}", root="inputs: {n: {type: number}}", n=float("nan"))
    assert await lake.workflows.runs() == []


async def test_old_runs_are_forgotten(lake: Lakehouse, home: Path) -> None:
    """Those that are over, the oldest, with what is below them and their folders; paused ones stay."""
    saved(home, "part", GATE.partition("  - {id: ok")[0])
    paused = (await ran(lake, GATE)).record.id
    runs = [(await ran(lake, "  - {id: sub, workflow: part}\n")).record.id for _ in range(3)]
    store, settings = lake.workflows.store, lake.workflows.settings
    assert (await lake.workflows.collect()).runs == ()
    lake.workflows.settings = settings.model_copy(update={"keep_runs": 2})
    below = [record.id for record in await store.below(runs[0])]
    plan = await lake.workflows.collect(dry_run=True)
    assert plan.runs == (runs[0], *below) and plan.bytes > 0
    assert await lake.workflows.collect() == plan
    assert [record.id for record, _ in await lake.workflows.runs()] == [runs[2], runs[1], paused]
    assert not (home / "runs" / below[0]).exists() and not await store.nodes(below[0])
    lake.workflows.settings = settings.model_copy(update={"keep_days": 1e-9})
    await anyio.to_thread.run_sync(time.sleep, 0.001)
    await lake.workflows.collect()
    assert [record.id for record, _ in await lake.workflows.runs()] == [paused]


async def test_a_process_that_ends_with_its_call_runs_nothing_in_the_background(lake: Lakehouse) -> None:
    run = (await ran(lake, GATE)).record.id
    lake.brief = True
    with pytest.raises(Conflict, match="nothing serves"):
        await lake.workflows.start("x", Starter(), definition=workflow(GATE), background=True)
    with pytest.raises(Conflict, match="nothing serves"):
        await lake.workflows.answer(run, None, "approve", background=True)
    lake.brief = False
    with pytest.raises(Conflict, match="is interactive"):
        text = workflow(GATE, "interactive: true")
        await lake.workflows.start("x", Starter(), definition=text, background=True)
    await lake.workflows.answer(run, None, "approve", background=True)
    assert (await lake.workflows.wait(run, PATIENCE)).status == "completed"
