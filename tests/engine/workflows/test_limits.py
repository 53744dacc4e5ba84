"""What ends a node or a run before it is done: times, budgets, failures that pass, somebody, and a full disk."""

import math
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest
from tests.flows import PATIENCE, ran, workflow
from tests.probes import begun, fail, lived, made, probe, probing, statuses, told

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import Agent, Cancel, Node, Prompt, Retry
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.kinds import EXECUTORS
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.run import execute
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import Busy, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("probing")]
__all__ = ["probing"]
SOON = 0.01


async def forever(step: Step) -> str:
    await anyio.sleep_forever()
    return ""


def failing(times: int, error: Exception) -> Any:
    """Work that fails so often."""
    left = times

    async def work(step: Step) -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return f"attempt {step.attempt}"

    return work


def costing(usd: float) -> Any:
    async def work(step: Step) -> str:
        step.spend(usd, 10)
        return "answer"

    return work


async def test_a_failure_that_passes_is_tried_again(lake: Lakehouse) -> None:
    retry = Retry(2, SOON)
    live = await lived(lake, probe("a", failing(2, Upstream("HTTP 503")), retry=retry), probe("b", "", "a"))
    node = live.nodes["a"]
    assert (live.record.status, node.text, node.attempts, node.failure) == ("completed", "attempt 3", 3, None)
    wanted = [{"attempt": n, "delay_secs": SOON * n, "error": "HTTP 503"} for n in (1, 2)]
    assert await told(live, "node_retried") == [("a", one) for one in wanted]
    # Each attempt is an op of its own.
    ops = {op.id: op.success for op in lake.observer.recent(100)}
    assert [ops[id] for id in node.ops] == [False, False, True]


async def test_a_node_that_waits_for_another_attempt_leaves_its_place(lake: Lakehouse) -> None:
    """Its wait ends when the other node, which needs the only place, has run."""
    ran = anyio.Event()

    async def once(step: Step) -> str:
        if not ran.is_set():
            raise Busy("no room", retry_after=0)
        return ""

    async def other(step: Step) -> str:
        ran.set()
        return ""

    live = await lived(lake, probe("a", once, retry=Retry(5, SOON)), probe("b", other), at_once=1)
    assert live.record.status == "completed"


async def test_attempts_run_out(lake: Lakehouse) -> None:
    live = await lived(lake, probe("a", failing(9, Upstream("HTTP 503")), retry=Retry(1, SOON)))
    assert (live.nodes["a"].status, live.nodes["a"].attempts) == ("failed", 2)


async def test_a_node_has_so_long_for_all_of_its_attempts(lake: Lakehouse) -> None:
    live = await lived(
        lake,
        probe("slow", forever, timeout=SOON),
        probe("again", failing(9, Upstream("HTTP 503")), timeout=1.0, retry=Retry(5, 60.0)),
    )
    slow, again = live.records()
    assert slow.failure is not None
    assert (slow.failure.code, slow.failure.detail) == ("timeout", "it took over 0.01 seconds.")
    assert (again.status, again.attempts) == ("failed", 1)


async def test_a_run_is_cancelled_while_a_node_waits_to_be_tried_again(lake: Lakehouse) -> None:
    live = made(lake, probe("a", failing(9, Upstream("HTTP 503")), retry=Retry(5, 3600.0)))
    await begun(lake, live)
    async with anyio.create_task_group() as group:
        group.start_soon(execute, live)
        while not await told(live, "node_retried"):
            await anyio.sleep(0)
        live.cancel("not needed")
    kept = await live.store.nodes("run")
    assert (live.record.status, kept["a"].status) == ("cancelled", "failed")
    assert kept["a"].failure is not None and kept["a"].failure.detail == "HTTP 503"


async def test_silence_ends_a_node(lake: Lakehouse) -> None:
    async def speak(step: Step) -> str:
        step.partial = "so far"
        await anyio.sleep_forever()
        return ""

    live = await lived(
        lake,
        probe("dumb", forever, idle_timeout=SOON),
        probe("stuck", speak, idle_timeout=SOON),
        probe("c", "", "stuck"),
    )
    dumb, ended, _ = live.records()
    assert dumb.failure is not None
    assert (dumb.failure.code, dumb.failure.detail) == ("timeout", "nothing came for 0.01 seconds.")
    assert (ended.status, ended.reason, ended.text) == ("completed", "idle", "so far")
    assert statuses(live)["c"] == "completed"


async def test_a_beat_begins_the_idle_time_anew(lake: Lakehouse) -> None:
    deadlines = []

    async def work(step: Step) -> str:
        for _ in range(2):
            deadlines.append(step.live.running["a"].deadline)
            await anyio.sleep(SOON)
            step.beat()
        deadlines.append(step.live.running["a"].deadline)
        return ""

    await lived(lake, probe("a", work, idle_timeout=60.0, timeout=3600.0))
    first, second, third = deadlines
    assert first < second < third


async def test_a_script_may_be_silent_unless_its_file_says_otherwise(lake: Lakehouse) -> None:
    async def deadline(step: Step) -> str:
        return str(step.live.running[step.path].deadline)

    live = await lived(lake, probe("a", deadline), probe("b", deadline, idle_timeout=5.0))
    assert [math.isinf(float(record.text)) for record in live.records()] == [True, False]


async def test_a_run_has_so_long(lake: Lakehouse) -> None:
    live = await lived(lake, probe("a"), probe("b", forever, "a"), probe("c", "", "b"), timeout=SOON * 10)
    assert live.record.error is not None
    assert (live.record.status, live.record.error.code) == ("failed", "timeout")
    kept = await lake.workflows.store.nodes("run")
    found = {path: (node.status, node.reason) for path, node in kept.items()}
    assert found == {"a": ("completed", ""), "b": ("failed", "timeout"), "c": ("skipped", "timeout")}


async def test_a_run_over_its_budget_starts_nothing_more(lake: Lakehouse) -> None:
    live = await lived(
        lake, probe("a", costing(0.3)), probe("b", costing(0.3), "a"), probe("c", "", "b"), max_cost_usd=0.5
    )
    assert live.record.error is not None
    assert (live.record.status, live.record.error.code) == ("failed", "too_large")
    assert "its max_cost_usd of 0.5" in live.record.error.detail
    # What was paid for is kept; only then does it end.
    assert statuses(live) == {"a": "completed", "b": "completed", "c": "skipped"}
    assert live.nodes["c"].reason == "budget"
    assert (live.nodes["a"].cost_usd, live.nodes["a"].tokens) == (0.3, 10)
    # Resumed, it is still over: what it cost before counts.
    again = await lived(lake, probe("a", costing(0.3)), probe("c"), max_cost_usd=0.2, earlier={"a": live.nodes["a"]})
    assert (again.record.status, statuses(again)["c"]) == ("failed", "skipped")


async def test_a_node_asks_no_model_it_cannot_pay(lake: Lakehouse) -> None:
    """Its own budget counts over all of its attempts, and its run's while it is under way."""

    async def work(step: Step) -> str:
        step.cost_usd += 0.3
        step.afford()
        step.cost_usd += 0.3
        step.afford()
        return "answer"

    async def twice(step: Step) -> str:
        if step.attempt > 1:
            step.afford()
        step.cost_usd += 0.3
        raise Upstream("HTTP 503")

    async def run(step: Step) -> Output:
        return Output(await twice(step))

    agent = Agent(max_cost_usd=0.2)
    with mock.patch.dict(EXECUTORS, {Prompt: run}):
        live = await lived(lake, Node("a", Prompt("x", agent), retry=Retry(3, SOON)))
    node = live.nodes["a"]
    assert node.failure is not None
    assert (node.failure.detail, node.attempts) == ("it cost $0.3000, more than its maxBudgetUsd of $0.2.", 2)
    node = (await lived(lake, probe("a", work), max_cost_usd=0.5)).nodes["a"]
    assert node.failure is not None
    assert (node.failure.code, node.cost_usd) == ("too_large", 0.6)


async def test_a_child_spends_what_its_parent_may(lake: Lakehouse) -> None:
    """The child's own budget is not passed, the parent's is; and only so many nodes run at once in both together."""
    children: list[Live] = []

    async def child(step: Step) -> str:
        below = made(lake, probe("x", costing(0.3)), probe("y", "", "x"), run="child", above=(step.live, step.path))
        assert below.places is step.live.places
        children.append(below)
        await begun(lake, below)
        with anyio.CancelScope():
            step.live.places.release()  # as a container, it takes none
            await execute(below)
            await step.live.places.acquire()
        return ""

    live = await lived(lake, probe("a", child), probe("b", "", "a"), max_cost_usd=0.2)
    assert (live.record.status, live.cost_usd, live.nodes["a"].cost_usd) == ("failed", 0.3, 0.3)
    assert statuses(children[0])["y"] == "skipped"
    assert statuses(live)["b"] == "skipped"


async def test_a_cancel_node_ends_the_run(lake: Lakehouse) -> None:
    stop = Node("stop", Cancel("enough"), depends_on=("a",))
    live = await lived(lake, probe("slow", forever), probe("a"), stop, probe("never", "", "slow"))
    assert live.record.status == "cancelled"
    kept = await lake.workflows.store.nodes("run")
    assert {path: (node.status, node.reason) for path, node in kept.items()} == {
        "a": ("completed", ""),
        "stop": ("completed", ""),
        "slow": ("failed", "cancelled"),
        "never": ("skipped", "cancelled"),
    }
    assert kept["stop"].text == "enough"
    assert await told(live, "run_cancelled") == [("", {"reason": "enough"})]
    # Resumed, it ends there again: what it decided is not passed by.
    again = await lived(lake, probe("slow"), probe("a"), stop, probe("never", "", "stop"), earlier=kept)
    assert again.record.status == "cancelled"


async def test_a_run_is_cancelled_from_outside_with_those_below_it(lake: Lakehouse) -> None:
    below: list[Live] = []
    started = anyio.Event()

    async def child(step: Step) -> str:
        inner = made(lake, probe("x", wait), run="child", above=(step.live, step.path))
        await begun(lake, inner)
        below.append(inner)
        step.live.below.append(inner)
        try:
            await execute(inner)
        finally:
            step.live.below.remove(inner)
        return ""

    async def wait(step: Step) -> str:
        started.set()
        await anyio.sleep_forever()
        return ""

    live = made(lake, probe("a", child), probe("b", "", "a"))
    await begun(lake, live)
    async with anyio.create_task_group() as group:
        group.start_soon(execute, live)
        await started.wait()
        live.cancel("not needed")
    store = lake.workflows.store
    assert [(await store.run(id)).status for id in ("run", "child")] == ["cancelled", "cancelled"]
    assert (await store.nodes("child"))["x"].reason == "cancelled"
    assert (await store.nodes("run"))["b"].status == "skipped"


async def test_a_run_that_is_cancelled_before_it_began_starts_nothing(lake: Lakehouse) -> None:
    live = made(lake, probe("a"), probe("b", "", "a"))
    await begun(lake, live)
    live.cancel("never mind")
    await execute(live)
    assert (live.record.status, set(statuses(live).values())) == ("cancelled", {"skipped"})


async def test_a_node_out_of_time_ends_the_run_below_it(lake: Lakehouse) -> None:
    async def child(step: Step) -> str:
        inner = made(lake, probe("x", forever), run="child", above=(step.live, step.path))
        await begun(lake, inner)
        await execute(inner)
        return ""

    live = await lived(lake, probe("a", child, timeout=SOON * 5))
    assert live.nodes["a"].status == "failed"
    assert (await lake.workflows.store.run("child")).status == "cancelled"


async def test_a_lake_that_closes_leaves_a_run_that_can_be_resumed(lake: Lakehouse) -> None:
    started = anyio.Event()

    async def wait(step: Step) -> str:
        started.set()
        await anyio.sleep_forever()
        return ""

    nodes = probe("a"), probe("b", wait, "a"), probe("c", "", "b")
    live = made(lake, *nodes)
    await begun(lake, live)
    async with anyio.create_task_group() as group:
        group.start_soon(execute, live)
        await started.wait()
        group.cancel_scope.cancel()
    store = lake.workflows.store
    assert (await store.run("run")).status == "running"
    kept = await store.nodes("run")
    assert {path: node.status for path, node in kept.items()} == {"a": "completed"}
    again = await lived(lake, probe("a", fail), probe("b", "", "a"), earlier=kept)
    assert again.record.status == "completed"


async def test_a_closed_lake_opened_again_goes_on_with_its_run(home: Path) -> None:
    """What completed is not repeated; nothing resumes by itself."""
    wait = "  - {id: done, bash: echo once >> ran; echo kept}\n"
    wait += "  - {id: slow, bash: 'echo started; [ -e ready ] || sleep 600; echo $done.output', depends_on: [done]}"
    folder = home.parent
    starter = Starter(folder=str(folder))
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        run = (await lake.workflows.start("test", starter, definition=workflow(wait))).id
        while (found := (await lake.workflows.state(run)).nodes[0]).status != "completed":
            assert found.status != "failed", found
            await anyio.sleep(SOON)
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        state = await lake.workflows.state(run)
        assert (state.status, [node.status for node in state.nodes]) == ("interrupted", ["completed", "pending"])
        await anyio.Path(folder / "ready").touch()
        await lake.workflows.resume(run)
        state = await lake.workflows.wait(run, PATIENCE)
        assert (state.record.status, state.nodes[1].text) == ("completed", "started\nkept")
    assert await anyio.Path(folder / "ran").read_text() == "once\n"


async def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(lake: Lakehouse) -> None:
    """Nothing is built on what could not be kept: the node after it does not start."""
    ran: list[str] = []
    store = lake.workflows.store

    async def big(step: Step) -> str:
        ran.append(step.node.id)
        return step.node.id * 30_000

    async def limit(step: Step) -> str:
        pages = await store._read(lambda file: file.execute("PRAGMA page_count").fetchone()[0])
        await store._read(lambda file: file.execute(f"PRAGMA max_page_count = {pages + 1}"))
        return ""

    nodes = probe("a", limit), probe("b", big, "a"), probe("c", big, "b")
    live = made(lake, *nodes)
    await begun(lake, live)
    with pytest.raises(Upstream, match="the data directory's disk failed: database or disk is full"):
        await execute(live)
    assert ran == ["b"]
    await store._read(lambda file: file.execute("PRAGMA max_page_count = 1000000"))
    kept = await store.nodes("run")
    assert {path: node.status for path, node in kept.items()} == {"a": "completed"}
    again = await lived(lake, *nodes[1:], probe("a", fail), earlier=kept)
    assert (again.record.status, ran) == ("completed", ["b", "b", "c"])


async def test_an_output_over_the_limit_fails_its_node(lake: Lakehouse) -> None:
    lake.workflows.store.outputs._limit = 2048
    live = await lived(lake, probe("a", "x" * 3000), probe("b"))
    failure = live.nodes["a"].failure
    assert failure is not None
    assert (failure.code, "workflows.max_output_bytes" in failure.fix) == ("too_large", True)
    assert statuses(live) == {"a": "failed", "b": "completed"}


async def test_what_ran_in_a_group_that_is_out_of_time_does_not_run_any_more(lake: Lakehouse) -> None:
    nodes = """
  - id: g
    timeout: 300
    loop_group: {max_iterations: 2, until: DONE, nodes: [{id: slow, bash: sleep 60}]}
"""
    state = await ran(lake, nodes)
    assert {node.path: (node.status, node.reason) for node in state.nodes} == {
        "g": ("failed", ""),
        "g#1/slow": ("failed", "cancelled"),
    }
