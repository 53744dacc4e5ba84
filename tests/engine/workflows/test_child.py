"""Workflows within workflows."""

import json
from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, ran, scripted, started, workflow

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.workflows.problems import CannotRun

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
  - {id: value, depends_on: [given], mode: fixture.echo, with: {value: $given.output}}
"""
    state = await ran(lake, flow.replace("input:", "depends_on: [given], input:"))
    nodes = by_id(state)
    assert nodes["told"].failure is None
    assert nodes["given"].text == '{"text":"HELLO "}'
    assert nodes["value"].text == '{"value":{"text":"HELLO "}}'
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


async def test_a_workflow_does_not_start_itself(lake: Lakehouse, home: Path) -> None:
    saved(home, "a", "  - {id: it, workflow: b}")
    saved(home, "b", "  - {id: it, workflow: a}")
    state = await ran(lake, "  - {id: it, workflow: a}")
    assert "test -> a -> b -> a would start itself" in by_id(state)["it"].failure.detail


async def test_workflows_lie_at_most_three_deep(lake: Lakehouse, home: Path) -> None:
    """A fan-out that would lie deeper fails as a whole."""
    for name, below in (("one", "two"), ("two", "three")):
        saved(home, name, f"  - {{id: it, workflow: {below}}}")
    saved(home, "three", EACH.replace("CHILD", "four").replace("as: word, ", "").replace('"$ARGUMENTS"', "[1, 2, 3]"))
    saved(home, "four", "  - {id: it, bash: echo deep}")
    assert by_id(await ran(lake, "  - {id: it, workflow: two}"))["it"].text == '["deep","deep","deep"]'
    node = by_id(await ran(lake, "  - {id: it, workflow: one}"))["it"]
    assert "all: workflow 'four' would run 4 deep" in node.failure.detail


async def test_children_run_where_there_is_one_place(home: Path) -> None:
    """Neither a child's node nor a fan-out takes the place that the nodes below it need."""
    saved(home, "inner", "  - {id: it, bash: 'echo in $ARGUMENTS'}")
    saved(home, "outer", "  - {id: it, workflow: inner, input: $ARGUMENTS}")
    async with lakehouse.open(home, overrides={"workflows.at_once": 1}) as lake:
        each = EACH.replace("CHILD", "outer").replace("as: word, ", "")
        state = await ran(lake, each, message='["a", "b", "c"]')
    assert json.loads(by_id(state)["all"].text) == ["in a", "in b", "in c"]


async def test_all_success_fails_and_resumes_only_what_failed(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    """Each item runs, whatever becomes of the others; a resumed run tries again those that failed."""
    ran_it = f"echo $ARGUMENTS >> {tmp_path}/ran; [ $ARGUMENTS != b ] || [ -e {tmp_path}/go ]"
    saved(home, "picky", f"  - {{id: it, bash: '{ran_it}'}}")
    each = EACH.replace("CHILD", "picky").replace("as: word, ", "join: all_success, ")
    state = await ran(lake, each, message='["a", "b", "c"]')
    assert "1 of 3 failed; item 1: run" in by_id(state)["all"].failure.detail
    (tmp_path / "go").touch()
    await lake.workflows.resume(state.record.id)
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert state.record.status == "completed"
    assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b", "b", "c"]


async def test_gates_in_items_pause_the_node_until_all_have_answers(lake: Lakehouse, home: Path) -> None:
    saved(home, "asks", "  - {id: ask, approval: {message: $ARGUMENTS, capture_response: true}}")
    each = EACH.replace("CHILD", "asks").replace("as: word, ", "")
    state = await ran(lake, each, message='["a", "b"]')
    below = by_id(state)["all"].extra["below"]
    for run in below:
        assert (await lake.workflows.state(state.record.id)).record.status == "paused"
        await lake.workflows.answer(run, None, "approve", f"yes, {run}")
        state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert json.loads(by_id(state)["all"].text) == [f"yes, {run}" for run in below]


async def test_cancelling_a_run_cancels_those_below_it(lake: Lakehouse, home: Path, tmp_path: Path) -> None:
    saved(home, "long", f"  - {{id: it, bash: 'touch {tmp_path}/$ARGUMENTS; sleep 600'}}")
    run = await started(lake, EACH.replace("CHILD", "long").replace("as: word, ", ""), message='["a", "b"]')
    with anyio.fail_after(PATIENCE):
        while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
            await anyio.sleep(0.01)
    await lake.workflows.cancel(run, "enough")
    below = await lake.workflows.runs(parent=run)
    assert [status for _, status in below] == ["cancelled", "cancelled"]
    assert (await lake.workflows.state(run)).record.status == "cancelled"


async def test_a_cancelled_child_fails_its_node(lake: Lakehouse, home: Path) -> None:
    saved(home, "stops", "  - {id: it, cancel: 'not today'}")
    node = by_id(await ran(lake, "  - {id: it, workflow: stops, isolation: worktree}"))["it"]
    assert node.failure.detail.endswith("of stops was cancelled: not today")


async def test_a_child_has_the_time_its_node_has(lake: Lakehouse, home: Path) -> None:
    saved(home, "long", "  - {id: it, bash: sleep 600}")
    state = await ran(lake, "  - {id: it, workflow: long, timeout: 100}")
    assert by_id(state)["it"].failure.code == "timeout"
    assert [status for _, status in await lake.workflows.runs(parent=state.record.id)] == ["cancelled"]


@pytest.mark.slow
async def test_a_thousand_items(lake: Lakehouse, home: Path) -> None:
    saved(home, "up", "  - {id: up, mode: fixture.upper, with: {text: 'w$ARGUMENTS'}}")
    each = EACH.replace("CHILD", "up").replace("as: word, max_parallel: 2", "max_parallel: 50")
    state = await ran(lake, each, message=json.dumps(list(range(1000))))
    assert [one["text"] for one in json.loads(by_id(state)["all"].text)] == [f"W{n}" for n in range(1000)]


async def test_inputs_a_child_does_not_take_are_refused(lake: Lakehouse, home: Path) -> None:
    """By name, before anything runs; what only an item shows, in the place of the item."""
    saved(home, "up", "  - {id: it, bash: 'echo $ARGUMENTS'}", "inputs: {word: {required: true, type: integer}}")
    with pytest.raises(CannotRun, match=r"ward.*'up' has no such input. Did you mean word"):
        await ran(lake, "  - {id: it, workflow: up, with: {ward: x}}")
    state = await ran(lake, EACH.replace("CHILD", "up"), message='[1, "x", 2]')
    first, second, third = json.loads(by_id(state)["all"].text)
    assert (first, third) == ("1", "2")
    assert (second["archon_failed"], second["status"]) == (True, "failed")
    assert "word" in second["error"]


async def test_the_workflow_of_the_readme(lake: Lakehouse, home: Path) -> None:
    """A draft that is rewritten as somebody says, checked again, approved, and translated twice."""
    document = Path(__file__).parents[3] / "workflows" / "README.md"
    text = document.read_text(encoding="utf-8").partition("```yaml\nnodes:\n")[2].partition("```")[0]
    inputs = "inputs: {text: {required: true}, language: {required: true}}"
    saved(home, "translate", "  - {id: it, prompt: '$INPUTS.language: $INPUTS.text'}", inputs)
    model = [("Write", "dull"), ("They say: shorter", "short"), ("German: short", "kurz"), ("French: short", "court")]
    scripted(lake, *({"match": match, "content": content} for match, content in model))
    state = await ran(lake, text, message="v1")
    for decision, said, asked in (("reject", "shorter", "dull"), ("approve", "", "short")):
        assert by_id(state)["approve"].extra["message"] == f"Publish?\n\n{asked}"
        await lake.workflows.answer(state.record.id, None, decision, said)
        state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert by_id(state)["check"].text == '{"value":"short"}'
    assert by_id(state)["translated"].text == '["kurz","court"]'
