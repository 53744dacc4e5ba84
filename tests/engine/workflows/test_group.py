"""Graphs that run again until they are done."""

import pytest
from tests.flows import PATIENCE, by_id, ran, scripted

from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio

COUNT = """
  - id: outer
    bash: echo from outside
  - id: count
    depends_on: [outer]
    loop_group:
      max_iterations: 5
      until_bash: '[ $add.output -ge 3 ]'
      nodes:
        - id: add
          bash: echo $(( ${LOOP_PREV_OUTPUT:-0} + 1 ))
        - id: tell
          depends_on: [add]
          bash: echo $add.output
"""


async def test_a_group_repeats_until_its_script_succeeds(lake: Lakehouse) -> None:
    """Each iteration's nodes have records of their own; the script reads their outputs."""
    nodes = by_id(await ran(lake, COUNT))
    assert nodes["count"].text == "3"
    inner = {path: node.text for path, node in nodes.items() if "/" in path}
    assert inner == {f"count#{n}/{id}": str(n) for n in (1, 2, 3) for id in ("add", "tell")}


async def test_a_group_reads_what_is_around_it_and_its_last_iteration(lake: Lakehouse) -> None:
    model = scripted(lake, "first", "second <promise>DONE</promise>")
    group = """
  - id: seed
    bash: echo a seed
  - id: grow
    depends_on: [seed]
    loop_group:
      max_iterations: 3
      until: DONE
      nodes:
        - {id: say, prompt: "$seed.output, before: [$LOOP_PREV.say.output]"}
"""
    assert by_id(await ran(lake, group))["grow"].text == "second"
    assert [one.messages[-1].content for one in model.asked] == ["a seed, before: []", "a seed, before: [first]"]


async def test_a_failing_node_fails_its_group(lake: Lakehouse) -> None:
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until: DONE
      nodes:
        - {id: bad, bash: "echo oh no >&2; exit 3"}
        - {id: after, bash: echo DONE, depends_on: [bad], trigger_rule: all_done}
"""
    node = by_id(await ran(lake, group))["grow"]
    assert node.status == "failed"
    assert "grow#1/bad: it exited with code 3" in node.failure.detail


async def test_a_gate_within_a_group_pauses_its_iteration(lake: Lakehouse) -> None:
    """Answered, the run goes on in the middle of the iteration: what had run in it does not run again."""
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until_bash: '[ $go.output = enough ]'
      nodes:
        - {id: before, mode: fixture.echo, with: {value: x}}
        - {id: go, approval: {message: "Enough?", capture_response: true}, depends_on: [before]}
"""
    state = await ran(lake, group)
    for n, said in ((1, "more"), (2, "enough")):
        assert state.record.status == "paused"
        assert by_id(state)[f"grow#{n}/go"].extra["message"] == "Enough?"
        run = await lake.workflows.answer(state.record.id, None, "approve", said, "me")
        state = await lake.workflows.wait(run.id, PATIENCE)
    nodes = by_id(state)
    assert (state.record.status, nodes["grow"].text) == ("completed", "enough")
    assert [nodes[f"grow#{n}/before"].attempts for n in (1, 2)] == [1, 1]
