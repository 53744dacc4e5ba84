"""Gates."""

import pytest
from tests.flows import PATIENCE, by_id, ran, scripted

from lakehouse import Lakehouse
from lakehouse.engine.workflows.part import RunState
from lakehouse.errors import Conflict, InvalidInput

pytestmark = pytest.mark.anyio

GATE = """
  - {id: build, bash: echo v1}
  - {id: ask, depends_on: [build], approval: {message: "Ship $build.output?", capture_response: true}}
  - {id: ship, depends_on: [ask], bash: "echo shipped: $ask.output"}
"""


async def answered(lake: Lakehouse, state: RunState, decision: str, text: str = "") -> RunState:
    assert state.record.status == "paused"
    await lake.workflows.answer(state.record.id, None, decision, text, "me")
    return await lake.workflows.wait(state.record.id, PATIENCE)


async def test_an_approval_waits_and_goes_on(lake: Lakehouse) -> None:
    state = await ran(lake, GATE)
    nodes = by_id(state)
    assert (nodes["ask"].status, nodes["ask"].extra["message"]) == ("paused", "Ship v1?")
    assert nodes["ship"].status == "pending"
    state = await answered(lake, state, "approve", "gladly")
    nodes = by_id(state)
    assert (state.record.status, nodes["ship"].text) == ("completed", "shipped: gladly")
    said = nodes["ask"].extra["answers"][0]
    assert (said["decision"], said["text"], said["by"]) == ("approve", "gladly", "me")
    assert nodes["build"].attempts == 1


async def test_a_rejection_cancels_the_run(lake: Lakehouse) -> None:
    state = await answered(lake, await ran(lake, GATE), "reject", "not on a Friday")
    assert state.record.status == "cancelled"
    assert by_id(state)["ship"].status == "skipped"


async def test_decisions_are_typed_and_others_refused(lake: Lakehouse) -> None:
    gate = """
  - id: ask
    approval:
      message: Which way?
      decisions: [{id: approve}, {id: send-back, label: Back}]
  - {id: way, depends_on: [ask], bash: "echo $ask.output.decision"}
"""
    state = await ran(lake, gate)
    with pytest.raises(InvalidInput, match="'reject'") as refused:
        await lake.workflows.answer(state.record.id, "ask", "reject")
    assert "approve" in refused.value.fix
    state = await answered(lake, state, "send-back", "again")
    assert by_id(state)["ask"].text == '{"decision":"send-back","text":"again"}'
    assert by_id(state)["way"].text == "send-back"
    with pytest.raises(Conflict):
        await lake.workflows.answer(state.record.id, "ask", "approve")


async def test_a_rework_is_checked_again_before_the_gate_asks_again(lake: Lakehouse) -> None:
    """What checks the model's work runs again after a rework; what the model made first does not."""
    model = scripted(lake, "a draft", {"match": "Mend it: too long", "content": "I mended it."})
    gate = """
  - {id: draft, prompt: Write.}
  - {id: check, depends_on: [draft], mode: fixture.echo, with: {value: "$draft.output"}}
  - id: ask
    depends_on: [check]
    approval:
      message: "Checked: $check.output.value"
      on_reject: {prompt: "Mend it: $REJECTION_REASON", max_attempts: 2}
"""
    state = await answered(lake, await ran(lake, gate), "reject", "too long")
    nodes = by_id(state)
    assert len(model.asked) == 2
    assert (nodes["draft"].attempts, nodes["check"].attempts) == (1, 2)
    assert nodes["ask"].extra["message"] == "Checked: a draft\n\nI mended it."
    assert (await answered(lake, state, "reject")).record.status == "cancelled"
