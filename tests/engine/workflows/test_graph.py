"""When nodes start, in which order, and what becomes of those behind a failure."""

from typing import Any

import anyio
import pytest
from tests.probes import fail, lived, probe, probing, statuses, told

from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import Mode, Node
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.runs import NodeRecord

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("probing")]
__all__ = ["probing"]


async def test_the_middle_of_a_diamond_overlaps_and_its_order_is_the_files(lake: Lakehouse) -> None:
    """A-S20-8: each middle node waits for the other, and the later of the file ends first."""
    here, there = anyio.Event(), anyio.Event()

    async def left(step: Step) -> str:
        here.set()
        await there.wait()
        return "left"

    async def right(step: Step) -> str:
        await here.wait()
        there.set()
        return "right"

    live = await lived(
        lake, probe("top"), probe("left", left, "top"), probe("right", right, "top"), probe("end", "", "left", "right")
    )
    assert list(statuses(live).items()) == [(id, "completed") for id in ("top", "left", "right", "end")]


async def test_a_node_waits_for_its_own_dependencies_only(lake: Lakehouse) -> None:
    """`b` needs `a` alone, so that it runs while the slow node, which began with `a`, waits for it."""
    reached = anyio.Event()

    async def slow(step: Step) -> str:
        await reached.wait()
        return ""

    async def reach(step: Step) -> str:
        reached.set()
        return ""

    live = await lived(lake, probe("slow", slow), probe("a"), probe("b", reach, "a"))
    assert set(statuses(live).values()) == {"completed"}


async def test_ready_nodes_start_in_file_order_and_so_many_at_once(lake: Lakehouse) -> None:
    running, most, order = 0, 0, []

    async def work(step: Step) -> str:
        nonlocal running, most
        order.append(step.node.id)
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return ""

    live = await lived(lake, *(probe(f"n{number}", work) for number in range(50)), at_once=3)
    assert (live.record.status, most, order) == ("completed", 3, [f"n{number}" for number in range(50)])


async def test_a_failure_skips_its_descendants_and_nothing_else(lake: Lakehouse) -> None:
    """A-S20-9."""
    live = await lived(
        lake,
        probe("bad", fail),
        probe("after", "", "bad"),
        probe("later", "", "after"),
        probe("other"),
        probe("beside", "", "other"),
        probe("anyway", "", "bad", trigger_rule="all_done"),
    )
    assert statuses(live) == {
        "bad": "failed",
        "after": "skipped",
        "later": "skipped",
        "other": "completed",
        "beside": "completed",
        "anyway": "completed",
    }
    assert {record.reason for record in live.records() if record.status == "skipped"} == {"trigger_rule"}
    assert live.record.status == "failed"
    assert live.record.error is not None
    assert live.record.error.detail == "bad: ValueError: it broke"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("all_success", "skipped"),
        ("one_success", "completed"),
        ("none_failed_min_one_success", "skipped"),
        ("all_done", "completed"),
    ],
)
async def test_a_rule_decides_over_a_failure_and_a_success(lake: Lakehouse, rule: Any, wanted: str) -> None:
    live = await lived(lake, probe("good"), probe("bad", fail), probe("join", "", "good", "bad", trigger_rule=rule))
    assert statuses(live)["join"] == wanted


async def test_a_run_of_which_all_is_skipped_failed(lake: Lakehouse) -> None:
    live = await lived(lake, probe("a", when="$INPUTS.word == 'other'"), probe("b", "", "a"), inputs={"word": "x"})
    assert (live.record.status, statuses(live)) == ("failed", {"a": "skipped", "b": "skipped"})
    assert live.record.error is not None and live.record.error.detail == "no node completed: all were skipped."


async def test_a_condition_that_is_none_skips_with_a_warning_and_one_that_cannot_be_told_fails(lake: Lakehouse) -> None:
    nodes = probe("a", when="$INPUTS.word = 'x'"), probe("b", when="$INPUTS.words == 'x'"), probe("c")
    live = await lived(lake, *nodes, inputs={"word": "x"})
    first, second, _ = live.records()
    assert (first.status, first.reason) == ("skipped", "when_condition_parse_error")
    assert second.failure is not None and second.failure.detail.startswith("$INPUTS.words: ")
    assert [path for path, _ in await told(live, "warned")] == ["a"]


async def test_a_skipped_node_says_why_and_its_op_is_an_error(lake: Lakehouse) -> None:
    """A-S20-2: skipped nodes give an op, too."""
    live = await lived(lake, probe("a"), probe("b", "", "a", when="$a.output == 'other'"), probe("c", "", "b"))
    assert [record.reason for record in live.records()] == ["", "when_condition", "trigger_rule"]
    ops = {op.id: op for op in lake.observer.recent(100)}
    for record in live.records():
        (op,) = (ops[id] for id in record.ops)
        wanted = (None, True) if record.status == "completed" else ("skipped", False)
        assert (op.error, op.success, op.source, op.node_id, op.parent) == (*wanted, "workflow", record.path, "run")
    assert lake.observer.stats().by_source["workflow"] == 3
    assert await told(live, "node_skipped") == [("b", {"reason": "when_condition"}), ("c", {"reason": "trigger_rule"})]


async def test_a_mode_that_fails_has_one_op(lake: Lakehouse) -> None:
    """Whether its call failed at the door or its arguments could not be told."""
    asked, unasked = Node("a", Mode("fixture.upper")), Node("b", Mode("fixture.upper"), given={"text": "$INPUTS.none"})
    live = await lived(lake, asked, unasked)
    ops = {op.id: op for op in lake.observer.recent(100)}
    for record in live.records():
        assert [(ops[id].op, ops[id].success) for id in record.ops] == [("fixture.upper", False)]


async def test_nothing_starts_before_what_it_needs_is_durable(lake: Lakehouse) -> None:
    seen = {}

    async def look(step: Step) -> str:
        (needed,) = step.node.depends_on
        seen[needed] = (await step.live.store.nodes("run"))[needed].status
        return ""

    done, broken = probe("a"), probe("b", fail)
    await lived(lake, done, probe("c", look, "a"), broken, probe("d", look, "b", trigger_rule="all_done"))
    assert seen == {"a": "completed", "b": "failed"}


async def test_a_long_chain_of_skips_is_one_commit(lake: Lakehouse) -> None:
    """Two thousand nodes are skipped by one failure: no recursion, and one write."""
    writes: list[int] = []
    keep = lake.workflows.store.put_nodes

    async def counted(run: str, paths: Any, nodes: Any) -> None:
        writes.append(len(paths))
        await keep(run, paths, nodes)

    lake.workflows.store.put_nodes = counted  # type: ignore[method-assign]
    chain = [probe("n0", fail), *(probe(f"n{number}", "", f"n{number - 1}") for number in range(1, 2000))]
    live = await lived(lake, *chain)
    assert writes == [2000]
    assert (len(live.settled), live.doing()) == (2000, "")


async def test_a_resumed_run_keeps_what_completed(lake: Lakehouse) -> None:
    ran: list[str] = []

    async def work(step: Step) -> str:
        ran.append(step.node.id)
        return "anew"

    nodes = [
        probe("a", work),
        probe("always", work, always_run=True),
        probe("b", work, "a"),
        probe("c", work, "b"),
        probe("d", work, "a"),
    ]
    earlier = {
        "a": NodeRecord("a", "probe", "completed", text="before"),
        "always": NodeRecord("always", "probe", "completed", text="before"),
        "b": NodeRecord("b", "probe", "failed", reason="cancelled", attempts=1),
        "c": NodeRecord("c", "probe", "skipped", reason="trigger_rule"),
        "d": NodeRecord("d", "probe", "completed", text="before"),
    }
    live = await lived(lake, *nodes, earlier=earlier)
    assert ran == ["always", "b", "c"]
    assert [(record.text, record.attempts) for record in live.records()] == [
        ("before", 0),
        ("anew", 1),
        ("anew", 2),
        ("anew", 1),
        ("before", 0),
    ]
    assert live.record.status == "completed"
