"""Workflows within workflows."""

import json
from pathlib import Path

import pytest
from tests.flows import PATIENCE, by_id, ran, workflow

from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio


def saved(home: Path, name: str, nodes: str, root: str = "") -> None:
    """A workflow among the user's own."""
    folder = home / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(workflow(nodes, root).replace("name: test", f"name: {name}", 1))


LOUD = "  - {id: loud, bash: 'echo $INPUTS.word, $ARGUMENTS'}"
EACH = """
  - {id: words, bash: 'echo "$ARGUMENTS"'}
  - {id: all, depends_on: [words], workflow: CHILD, fan_out: {items: $words.output, as: word, max_parallel: 2}}
"""


async def test_a_child_runs_with_inputs_or_a_message(lake: Lakehouse, home: Path) -> None:
    saved(
        home, "upper", "  - {id: up, mode: fixture.upper, with: {text: '$INPUTS.word $ARGUMENTS'}}", "inputs: {word: }"
    )
    flow = """
  - {id: given, workflow: upper, with: {word: hello}}
  - {id: told, workflow: upper, input: "dear $given.output.text"}
"""
    state = await ran(lake, flow.replace("input:", "depends_on: [given], input:"))
    nodes = by_id(state)
    assert nodes["told"].failure is None
    assert nodes["given"].text == '{"text":"HELLO "}'
    assert nodes["told"].text == '{"text":" DEAR HELLO "}'


async def test_a_failed_child_fails_its_node_and_names_the_run(lake: Lakehouse, home: Path) -> None:
    saved(home, "bad", "  - {id: bad, bash: exit 7}")
    state = await ran(lake, "  - {id: it, workflow: bad}")
    node = by_id(state)["it"]
    assert node.status == "failed"
    child = (await lake.workflows.store.runs(workflow="bad"))[0]
    assert (child.parent, child.depth) == (state.record.id, 1)
    assert f"run {child.id} of bad failed: bad: it exited with code 7" in node.failure.detail


async def test_a_gate_in_a_child_pauses_its_parent(lake: Lakehouse, home: Path) -> None:
    saved(home, "asks", "  - {id: ask, approval: {message: Well, capture_response: true}}")
    state = await ran(lake, "  - {id: it, workflow: asks}\n  - {id: then, depends_on: [it], bash: 'echo $it.output'}")
    assert by_id(state)["it"].failure is None
    assert (state.record.status, by_id(state)["it"].status) == ("paused", "paused")
    (below,) = by_id(state)["it"].extra["below"]
    await lake.workflows.answer(below, "ask", "approve", "yes")
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert (state.record.status, by_id(state)["then"].text) == ("completed", "yes")


async def test_fan_out_answers_in_the_order_of_the_items(lake: Lakehouse, home: Path) -> None:
    saved(home, "up", "  - {id: up, mode: fixture.upper, with: {text: '$INPUTS.word/$ARGUMENTS'}}", "inputs: {word: }")
    state = await ran(lake, EACH.replace("CHILD", "up"), message='["a", "b", 3]')
    assert json.loads(by_id(state)["all"].text) == [{"text": "A/A"}, {"text": "B/B"}, {"text": "3/3"}]


async def test_a_failed_slot_is_told_in_its_place(lake: Lakehouse, home: Path) -> None:
    saved(home, "picky", "  - {id: it, bash: '[ $ARGUMENTS != b ] && echo fine'}", "inputs: {word: }")
    state = await ran(lake, EACH.replace("CHILD", "picky"), message='["a", "b"]')
    first, second = json.loads(by_id(state)["all"].text)
    assert first == "fine"
    assert (second["archon_failed"], second["status"]) == (True, "failed")
    assert "of picky failed" in second["error"]


@pytest.mark.parametrize("items", ["{}", "no array", '"[1]"'])
async def test_items_that_are_no_array_fail_before_any_child(lake: Lakehouse, home: Path, items: str) -> None:
    saved(home, "up", LOUD, "inputs: {word: }")
    state = await ran(lake, EACH.replace("CHILD", "up"), message=items)
    assert "$words.output: it is no JSON array" in by_id(state)["all"].failure.detail
    assert not await lake.workflows.store.runs(workflow="up")


async def test_no_items_are_no_runs(lake: Lakehouse, home: Path) -> None:
    saved(home, "up", LOUD, "inputs: {word: }")
    assert by_id(await ran(lake, EACH.replace("CHILD", "up"), message="[]"))["all"].text == "[]"
