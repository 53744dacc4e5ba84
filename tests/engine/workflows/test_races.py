"""Runs whose ground moves: answers and cancels at odd moments, a clock set back, a file of runs that goes away."""

import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskGroup
from tests.flows import PATIENCE, by_id, ran, started, workflow

from lakehouse import Conflict, Lakehouse, Unavailable, Upstream
from lakehouse.engine.backup import contents
from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.running.graph import Graph
from lakehouse.engine.workflows.runs import NodeRecord, RunRecord, Store

pytestmark = pytest.mark.anyio

GATE = "  - {id: ok, approval: {message: 'Go on?', capture_response: true}}\n"
GATES = """
  - {id: one, always_run: true, approval: {message: One?}}
  - {id: two, depends_on: [one], approval: {message: Two?}}
"""
SLOW = "  - {id: slow, bash: 'until test -e FLAG; do sleep 0.01; done'}\n"


async def test_an_answer_that_is_not_heard_yet_starts_nothing_over_and_over(lake: Lakehouse) -> None:
    """A gate that asks at each part of the run stands before one that was answered: the run waits for the first."""
    run = (await ran(lake, GATES)).record.id
    await lake.workflows.answer(run, "one", "approve")
    await lake.workflows.wait(run, PATIENCE)
    await lake.workflows.answer(run, "two", "approve")
    state = await lake.workflows.wait(run, PATIENCE)
    assert state.status == "paused"
    with anyio.fail_after(PATIENCE):
        while lake._aside:
            await anyio.lowlevel.checkpoint()
    assert by_id(await lake.workflows.state(run))["one"].attempts == 3
    await lake.workflows.answer(run, "one", "approve")
    assert (await lake.workflows.wait(run, PATIENCE)).status == "completed"


async def test_a_cancel_beside_an_answer_stands(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is cancelled after the answer was taken, and before it went on with it."""
    run = (await ran(lake, GATE)).record.id
    present = lake.workflows._present
    goes_on = present.go_on

    async def late(record: RunRecord, *, answered: bool = False) -> RunRecord:
        await lake.workflows.cancel(run, "no more")
        return await goes_on(record, answered=answered)

    monkeypatch.setattr(present, "go_on", late)
    assert (await lake.workflows.answer(run, None, "approve")).status == "cancelled"
    assert (await lake.workflows.state(run)).status == "cancelled"


async def test_an_answer_in_a_run_that_is_skipped_starts_nothing_over_and_over(
    lake: Lakehouse, home: Path, tmp_path: Path
) -> None:
    (home / "workflows").mkdir(parents=True)
    (home / "workflows" / "part.yaml").write_text(workflow(GATE).replace("name: test", "name: part"))
    traces = tmp_path / "traces"
    nodes = f"""
  - {{id: first, always_run: true, bash: 'echo >> {traces}; test $(wc -l < {traces}) = 1'}}
  - {{id: sub, workflow: part, depends_on: [first]}}
"""
    run = (await ran(lake, nodes + GATE)).record.id
    (below,) = await lake.workflows.store.below(run)
    await lake.workflows.answer(below.id, "ok", "approve")
    assert (await lake.workflows.wait(run, PATIENCE)).status == "paused"
    with anyio.fail_after(PATIENCE):
        while lake._aside:
            assert traces.read_text() == "\n" * 2
            await anyio.lowlevel.checkpoint()
    state = await lake.workflows.wait(run, PATIENCE)
    assert (state.status, by_id(state)["sub"].status, traces.read_text()) == ("paused", "skipped", "\n" * 2)


async def test_an_answer_while_the_run_is_about_to_go_on(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the nodes were read that the run goes on with: it is neither lost nor refused."""
    run = (await ran(lake, GATE + GATE.replace("ok", "other"))).record.id
    flows = lake.workflows
    reopen = Store.reopen

    async def answered_meanwhile(store: Store, record: RunRecord, nodes: list[NodeRecord]) -> None:
        monkeypatch.setattr(Store, "reopen", reopen)
        group.start_soon(answer)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        await reopen(store, record, nodes)

    async def answer() -> None:
        assert (await flows.answer(run, "ok", "approve", "one")).id == run

    monkeypatch.setattr(Store, "reopen", answered_meanwhile)
    async with anyio.create_task_group() as group:
        await flows.answer(run, "ok", "approve", "one")
    await flows.wait(run, PATIENCE)
    await flows.answer(run, "other", "approve", "two")
    nodes = by_id(await flows.wait(run, PATIENCE))
    assert [nodes[id].text for id in ("ok", "other")] == ["one", "two"]


async def test_an_answer_to_a_gate_that_has_only_just_asked(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes between the moment from which the gate is seen to wait and the write that says so, which keeps it."""
    conclude = Graph._conclude

    def answered_at_once(graph: Graph, tasks: TaskGroup, node: Node, record: NodeRecord, again: float | None) -> None:
        if record.status == "paused":
            group.start_soon(lake.workflows.answer, graph.live.record.id, "ok", "approve", "yes")
        conclude(graph, tasks, node, record, again)

    monkeypatch.setattr(Graph, "_conclude", answered_at_once)
    async with anyio.create_task_group() as group:
        run = await started(lake, GATE)
        with anyio.fail_after(PATIENCE):
            while lake._aside:
                await anyio.lowlevel.checkpoint()
    state = await lake.workflows.state(run)
    assert (state.status, state.record.result) == ("completed", "yes")
    assert [one["text"] for one in (await lake.workflows.store.nodes(run))["ok"].extra["answers"]] == ["yes"]


async def test_what_ended_as_its_run_was_cancelled_is_told(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record says that it completed, and what happened says so, too; once."""
    conclude = Graph._conclude

    def cancelled_first(graph: Graph, tasks: TaskGroup, node: Node, record: NodeRecord, again: float | None) -> None:
        graph.live.cancel("enough")
        conclude(graph, tasks, node, record, again)

    monkeypatch.setattr(Graph, "_conclude", cancelled_first)
    state = await ran(
        lake, "  - {id: a, mode: fixture.echo, with: {value: 1}}\n" + GATE.replace("ok,", "ok, depends_on: [a],")
    )
    assert (state.status, by_id(state)["a"].status) == ("cancelled", "completed")
    told = [event.kind for _, event in await lake.workflows.store.events(state.record.id, path="a")]
    assert told == ["node_started", "node_completed"]


async def test_a_run_that_pauses_while_it_is_cancelled_is_cancelled(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put_run

    async def cancelled_meanwhile(store: Store, record: RunRecord) -> None:
        if record.status == "paused":
            monkeypatch.setattr(Store, "put_run", put)
            group.start_soon(lake.workflows.cancel, record.id, "enough")
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        await put(store, record)

    monkeypatch.setattr(Store, "put_run", cancelled_meanwhile)
    async with anyio.create_task_group() as group:
        run = await started(lake, GATE)
        await lake.workflows.wait(run, PATIENCE)
    assert (await lake.workflows.state(run)).status == "cancelled"


async def test_a_cancel_that_cannot_be_kept_is_not_told_as_done(lake: Lakehouse) -> None:
    run = await started(lake, SLOW)
    while by_id(await lake.workflows.state(run))["slow"].status != "running":
        await lake.workflows.wait(run, 0.01)
    file = lake.workflows.store._connection
    assert file is not None
    file.execute("PRAGMA query_only = 1")  # as of a folder that became read-only
    with pytest.raises((Unavailable, Upstream)):
        await lake.workflows.cancel(run)
    file.execute("PRAGMA query_only = 0")
    state = await lake.workflows.state(run)
    assert (state.status, state.record.error is not None) == ("interrupted", True)
    assert (await lake.workflows.cancel(run)).status == "cancelled"


async def test_a_run_that_is_being_forgotten_does_not_go_on(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what it does would be written nowhere."""
    run = (await ran(lake, "  - {id: a, bash: 'false'}\n")).record.id
    flows, below = lake.workflows, Store.below
    flows.settings = flows.settings.model_copy(update={"keep_days": 1e-9})

    async def resumed_meanwhile(store: Store, above: str) -> list[RunRecord]:
        with pytest.raises(Conflict):
            await flows.resume(run)
        return await below(store, above)

    monkeypatch.setattr(Store, "below", resumed_meanwhile)
    assert (await flows.collect()).runs == (run,)
    assert await flows.runs() == []


async def test_a_clock_that_is_set_back(lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing takes less than no time, and what came later is not told as earlier."""
    clock = time.time
    run = await started(
        lake, SLOW.replace("FLAG", str(tmp_path / "go")) + "  - {id: b, depends_on: [slow], bash: 'true'}\n" + GATE
    )
    while by_id(await lake.workflows.state(run))["ok"].status != "paused":
        await lake.workflows.wait(run, 0.01)
    monkeypatch.setattr(time, "time", lambda: clock() - 3600)
    (tmp_path / "go").touch()
    await lake.workflows.wait(run, PATIENCE)
    await lake.workflows.answer(run, "ok", "approve")
    state = await lake.workflows.wait(run, PATIENCE)
    report = await lake.workflows.report(state, timeline=True)
    assert all(node.duration_ms is not None and node.duration_ms >= 0 for node in report.nodes)
    times = [event.at for _, event in await lake.workflows.store.events(run)]
    assert times == sorted(times) and state.record.ended_at == max(times)
    ((line, _),) = await lake.workflows.runs()
    assert line.ended_at is not None and line.ended_at >= line.started_at


async def test_a_file_of_runs_that_goes_away_is_not_written_to(lake: Lakehouse, home: Path) -> None:
    """What would be acknowledged and be gone with the next start is refused; put back, all goes on."""
    run = (await ran(lake, GATE)).record.id
    file = home / "runs" / "runs.db"
    file.rename(home / "away")
    for _ in range(2):
        with pytest.raises(Unavailable, match="removed or replaced"):
            await started(lake, GATE)
        with pytest.raises(Unavailable, match="removed or replaced"):
            await lake.workflows.answer(run, None, "approve")
        assert not file.exists()
        file.write_bytes(b"")  # another in its place
        (home / "runs" / "other").touch()
        file.unlink()
    (home / "away").rename(file)
    await lake.workflows.answer(run, None, "approve", "yes")
    assert (await lake.workflows.wait(run, PATIENCE)).record.result == "yes"


async def test_an_item_of_half_a_character_is_not_run_twice(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """It is stored as a question mark, and is the same item all the same when the run goes on."""
    (home / "workflows").mkdir(parents=True)
    part = f"  - {{id: a, bash: 'echo >> {tmp_path}/traces; test \"$ARGUMENTS\" != no'}}\n"
    (home / "workflows" / "part.yaml").write_text(workflow(part).replace("name: test", "name: part"))
    nodes = r"""
  - {id: items, bash: 'printf "%s" "[\"\\ud83d\", \"no\"]"'}
  - {id: each, workflow: part, depends_on: [items], fan_out: {items: $items.output, join: all_success}}
"""
    run = (await ran(lake, nodes)).record.id
    await lake.workflows.resume(run)
    assert (await lake.workflows.wait(run, PATIENCE)).status == "failed"
    assert (tmp_path / "traces").read_text() == "\n" * 3  # the first once, the second twice


async def test_who_waits_for_a_run_is_told_when_the_server_stops(lake: Lakehouse) -> None:
    """The run is not cancelled with the call: it can be resumed."""
    lake.config = lake.config.model_copy(update={"server": lake.config.server.model_copy(update={"drain_secs": 0.0})})
    answers: list[str] = []

    async def call() -> None:
        text = workflow(SLOW)
        with pytest.raises(Unavailable, match=r"run \w+ is under way.*workflow_resume"):
            await lake.call("workflow_run", {"definition": text}, via="python")
        answers.append("told")

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        while not await lake.workflows.runs(status="running"):
            await anyio.sleep(0.001)
        lake.stopping.set()
    assert answers == ["told"] and [status for _, status in await lake.workflows.runs()] == ["running"]


async def test_a_backup_has_the_outputs_of_a_run_that_begins_while_it_is_made(
    lake: Lakehouse, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the copy of the file of runs names is there."""
    await ran(lake, "  - {id: a, bash: 'true'}\n")
    folder, copied = home / "runs" / f"{'0' * 22}", contents.snapshot

    def begun_meanwhile(path: Path, scratch: Path) -> Path:
        if path.name == "runs.db":
            folder.mkdir()
            (folder / "output.txt").touch()
        return copied(path, scratch)

    monkeypatch.setattr(contents, "snapshot", begun_meanwhile)
    found = await anyio.to_thread.run_sync(contents.files_of, lake.settings, [], tmp_path)
    assert f"home/runs/{folder.name}/output.txt" in [entry.name for entry in found]
