"""Prompts that are asked again until they are done."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.flows import PATIENCE, by_id, ran, scripted

from lakehouse import Lakehouse
from lakehouse.engine.chat.scripted import Scripted
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.runs import Starter

pytestmark = pytest.mark.anyio

COUNT = """
  - id: count
    loop: {prompt: "After <$LOOP_PREV_OUTPUT>:", until: DONE, max_iterations: 3, fresh_context: FRESH}
"""
ASKING = """
  - id: talk
    loop:
      prompt: "Draft; they say <$LOOP_USER_INPUT>."
      until: DONE
      max_iterations: 3
      interactive: true
      gate_message: "What of [$LOOP_PREV_OUTPUT]?"
      signal_completes: COMPLETES
"""


def said(model: Scripted) -> list[str]:
    """The last message of each question."""
    return [asked.messages[-1].content for asked in model.asked]


async def resumed(lake: Lakehouse, state: RunState) -> RunState:
    await lake.workflows.resume(state.record.id)
    return await lake.workflows.wait(state.record.id, PATIENCE)


async def answered(lake: Lakehouse, state: RunState, decision: str, text: str = "") -> RunState:
    assert state.record.status == "paused"
    await lake.workflows.answer(state.record.id, None, decision, text, "me")
    return await lake.workflows.wait(state.record.id, PATIENCE)


@pytest.mark.parametrize(("fresh", "messages"), [("false", 3), ("true", 1)])
async def test_a_loop_ends_at_its_signal(lake: Lakehouse, fresh: str, messages: int) -> None:
    """What it put out before is in the text of the next; the conversation goes on, but with fresh_context."""
    model = scripted(lake, "one", "two <promise>DONE</promise>")
    state = await ran(lake, COUNT.replace("FRESH", fresh))
    node = by_id(state)["count"]
    assert (node.status, node.text) == ("completed", "two")
    assert said(model) == ["After <>:", "After <one>:"]
    assert len(model.asked[1].messages) == messages
    events = [event for _, event in await lake.workflows.store.events(state.record.id)]
    assert [event.data["n"] for event in events if event.kind == "iteration"] == [1, 2]


async def test_a_loop_that_is_never_done_fails(lake: Lakehouse) -> None:
    """A resumed one may go on for as many iterations again."""
    model = scripted(lake, "one", "two", "three", "four", "five DONE")
    state = await ran(lake, COUNT.replace("FRESH", "true"))
    node = by_id(state)["count"]
    assert (state.record.status, node.status) == ("failed", "failed")
    assert "max_iterations = 3" in node.failure.detail
    assert by_id(await resumed(lake, state))["count"].text == "five DONE"
    assert said(model)[3] == "After <three>:"


async def test_an_iteration_that_failed_is_the_one_that_runs_again(lake: Lakehouse) -> None:
    scripted(lake, "one")
    state = await ran(lake, COUNT.replace("FRESH", "true"))
    assert by_id(state)["count"].status == "failed"
    model = scripted(lake, "two DONE")
    assert by_id(await resumed(lake, state))["count"].text == "two DONE"
    assert said(model) == ["After <one>:"]


async def test_the_script_of_a_loop_is_run_unless_a_signal_was_given(lake: Lakehouse, tmp_path: Path) -> None:
    """It reads what the iteration put out."""
    nodes = f"""
  - id: count
    loop:
      prompt: Count.
      until: DONE
      until_bash: 'echo x >> {tmp_path}/ran; [ "$LOOP_PREV_OUTPUT" = two ]'
      max_iterations: 3
"""
    scripted(lake, "one", "two", "DONE")
    assert by_id(await ran(lake, nodes))["count"].text == "two"
    assert by_id(await ran(lake, nodes))["count"].text == "DONE"
    assert (tmp_path / "ran").read_text() == "x\n" * 2


@pytest.mark.parametrize(("input", "heard"), [("again", "again"), ("", "Approved")])
async def test_an_interactive_loop_waits_for_input_after_each_iteration(
    lake: Lakehouse, input: str, heard: str
) -> None:
    """An approval without a word confirms that it is done, where it says so; any other goes into one more iteration."""
    model = scripted(lake, "one", "two DONE", "three DONE")
    state = await ran(lake, ASKING.replace("COMPLETES", "false"))
    assert by_id(state)["talk"].extra["message"] == "What of [one]?"
    state = await answered(lake, state, "approve", input)
    assert by_id(state)["talk"].extra["message"] == "What of [two DONE]?"
    state = await answered(lake, state, "approve", "better")
    assert by_id(state)["talk"].extra["message"] == "What of [three DONE]?"
    state = await answered(lake, state, "approve")
    assert (state.record.status, by_id(state)["talk"].text) == ("completed", "three DONE")
    assert said(model) == ["Draft; they say <>.", f"Draft; they say <{heard}>.", "Draft; they say <better>."]
    assert [one["by"] for one in by_id(state)["talk"].extra["answers"]] == ["me", "me", "me"]


async def test_more_input_than_iterations(lake: Lakehouse) -> None:
    """It fails; resumed, the input is heard."""
    model = scripted(lake, "one", "two", "three DONE", "four DONE")
    state = await ran(lake, ASKING.replace("COMPLETES", "false"))
    for text in ("a", "b", "c"):
        state = await answered(lake, state, "approve", text)
    assert (state.record.status, len(model.asked)) == ("failed", 3)
    state = await answered(lake, await resumed(lake, state), "approve")
    assert (state.record.status, said(model)[3]) == ("completed", "Draft; they say <c>.")


async def test_a_signal_may_end_an_interactive_loop_at_once(lake: Lakehouse) -> None:
    scripted(lake, "one DONE")
    assert (await ran(lake, ASKING.replace("COMPLETES", "true"))).record.status == "completed"


async def test_a_rejected_loop_ends_the_run(lake: Lakehouse) -> None:
    scripted(lake, "one")
    state = await answered(lake, await ran(lake, ASKING.replace("COMPLETES", "true")), "reject", "nonsense")
    assert state.record.status == "cancelled"


async def test_an_interactive_loop_asks_nothing_after_its_last_iteration(lake: Lakehouse) -> None:
    scripted(lake, "one", "two", "three")
    state = await ran(lake, ASKING.replace("COMPLETES", "true"))
    for _ in range(2):
        state = await answered(lake, state, "approve")
    assert state.record.status == "failed"


async def test_a_field_that_is_exactly_true_ends_a_loop(lake: Lakehouse) -> None:
    """The output is the JSON of the last answer."""
    nodes = """
  - id: judge
    output_format:
      {type: object, properties: {done: {type: boolean}, n: {type: integer}}, required: [done, n]}
    loop: {prompt: Judge., until_field: done, max_iterations: 3}
  - {id: after, depends_on: [judge], mode: fixture.echo, with: {value: $judge.output.n}}
"""
    scripted(lake, '{"done": false, "n": 1}', '{"done": true, "n": 2}')
    nodes_ran = by_id(await ran(lake, nodes))
    assert nodes_ran["judge"].text == '{"done":true,"n":2}'
    assert nodes_ran["after"].text == '{"value":2}'


async def test_a_loop_ends_when_its_time_is_up(lake: Lakehouse) -> None:
    scripted(lake, "one")
    loop = 'loop: {prompt: Go., until: DONE, until_bash: "sleep 600", max_iterations: 3}'
    state = await ran(lake, f"  - {{id: count, timeout: 200, {loop}}}")
    assert by_id(state)["count"].failure.code == "timeout"


async def test_a_loop_of_another_project_runs_as_it_is(
    lake: Lakehouse, data: Callable[[str], Path], tmp_path: Path
) -> None:
    """archon-test-loop-dag.yaml, which counts in a file of the folder it runs in."""
    text = data("archon_examples/archon-test-loop-dag.yaml").read_text()
    (tmp_path / ".archon").mkdir()
    model = scripted(lake, "1", "2", "3 <promise>COMPLETE</promise>", "It is 3.")
    starter = Starter(folder=str(tmp_path))
    record = await lake.workflows.start("loop", starter, definition=text, message="count")
    state = await lake.workflows.wait(record.id, PATIENCE)
    assert (state.record.status, state.record.result) == ("completed", "It is 3.")
    assert by_id(state)["loop-counter"].text == "3"
    assert (tmp_path / ".archon" / "test-loop-dag-counter.txt").read_text() == "0\n"
    assert "## User Intent\n\ncount\n" in model.asked[0].messages[-1].content
