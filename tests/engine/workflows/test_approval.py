"""Gates."""

from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, ran, scripted, started

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.chat import Chat, ChatReply, ChatRequest
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.problems import CannotRun
from lakehouse.engine.workflows.runs import Failure
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


DECIDE = """
  - id: ask
    approval:
      message: Which way?
      decisions: [{id: approve}, {id: send-back, label: Back}]
  - {id: way, depends_on: [ask], bash: "echo $ask.output.decision"}
"""


async def test_decisions_are_typed_and_others_refused(lake: Lakehouse) -> None:
    state = await ran(lake, DECIDE)
    gate = (await lake.workflows.report(state)).waits[0]
    assert (gate.decisions, gate.labels) == (["approve", "send-back", "reject"], {"send-back": "Back"})
    with pytest.raises(InvalidInput, match="'sendback'") as refused:
        await lake.workflows.answer(state.record.id, "ask", "sendback")
    assert "send-back" in refused.value.fix
    state = await answered(lake, state, "send-back", "again")
    assert by_id(state)["ask"].text == '{"decision":"send-back","text":"again"}'
    assert by_id(state)["way"].text == "send-back"
    with pytest.raises(Conflict):
        await lake.workflows.answer(state.record.id, "ask", "approve")


async def test_a_rejection_is_a_decision_only_where_it_is_one(lake: Lakehouse) -> None:
    """Elsewhere it ends the run, so that there is always a way to say no."""
    assert (await answered(lake, await ran(lake, DECIDE), "reject", "no")).record.status == "cancelled"
    state = await answered(lake, await ran(lake, DECIDE.replace("send-back", "reject")), "reject", "no")
    assert by_id(state)["way"].text == "reject"


@pytest.mark.parametrize(("capture", "text", "output"), [("true", "", "Approved"), ("false", "gladly", "")])
async def test_what_an_approval_puts_out(lake: Lakehouse, capture: str, text: str, output: str) -> None:
    state = await answered(
        lake, await ran(lake, GATE.replace("response: true", f"response: {capture}")), "approve", text
    )
    assert by_id(state)["ask"].text == output


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


REWORKED = """
  - {id: draft, prompt: Write.}
  - {id: check, depends_on: [draft], mode: fixture.upper, with: {text: "$draft.output"}}
  - id: ask
    depends_on: [check]
    approval:
      message: "$draft.output, checked: $check.output.text"
      on_reject: {prompt: "Rewrite $draft.output: $REJECTION_REASON", reworks: draft}
  - {id: after, depends_on: [ask], mode: fixture.echo, with: {value: "$draft.output"}}
"""


async def test_a_rework_may_take_the_place_of_what_it_reworks(lake: Lakehouse) -> None:
    """With `reworks` the gate, what is between and what comes after see the new output."""
    scripted(lake, "a draft", {"match": "Rewrite a draft: dull", "content": "a poem"})
    state = await answered(lake, await ran(lake, REWORKED), "reject", "dull")
    nodes = by_id(state)
    assert nodes["ask"].extra["message"] == "a poem, checked: A POEM"
    state = await answered(lake, state, "approve")
    assert by_id(state)["after"].text == '{"value":"a poem"}'
    assert [by_id(state)[id].attempts for id in ("draft", "check")] == [1, 2]


async def test_a_gate_reworks_only_what_it_depends_on(lake: Lakehouse) -> None:
    with pytest.raises(CannotRun, match=r"reworks: after is no prompt"):
        await ran(lake, REWORKED.replace("reworks: draft", "reworks: after"))
    with pytest.raises(CannotRun, match="reworks: there is no node daft") as refused:
        await ran(lake, REWORKED.replace("reworks: draft", "reworks: daft"))
    assert "draft" in str(refused.value)


async def test_a_rework_whose_check_fails_is_gone_on_with(lake: Lakehouse, tmp_path: Path) -> None:
    """Resumed, the check runs again and the gate asks; the rework is not done twice."""
    model = scripted(lake, "a draft", "mended")
    check = f"touch {tmp_path}/n; [ $(wc -l < {tmp_path}/n) != 1 ]; code=$?; echo >> {tmp_path}/n; exit $code"
    gate = f"""
  - {{id: draft, prompt: Write.}}
  - {{id: check, depends_on: [draft], bash: "{check}"}}
  - {{id: ask, depends_on: [check], approval: {{message: Ship, on_reject: {{prompt: "Mend: $REJECTION_REASON"}}}}}}
"""
    state = await answered(lake, await ran(lake, gate), "reject", "no")
    assert state.record.status == "failed"
    assert by_id(state)["ask"].failure.detail.startswith("after the rework, check failed: it exited with code 1")
    await lake.workflows.resume(state.record.id)
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert (state.record.status, by_id(state)["ask"].extra["message"]) == ("paused", "Ship\n\nmended")
    assert (await answered(lake, state, "approve")).record.status == "completed"
    assert len(model.asked) == 2


async def test_gates_and_answers_survive_a_restart(home: Path) -> None:
    async with lakehouse.open(home) as lake:
        state = await ran(lake, GATE)
    async with lakehouse.open(home) as lake:
        assert (await lake.workflows.state(state.record.id)).record.status == "paused"
        state = await answered(lake, state, "approve", "gladly")
        with pytest.raises(Conflict):
            await lake.workflows.answer(state.record.id, "ask", "approve")
    async with lakehouse.open(home) as lake:
        nodes = by_id(await lake.workflows.state(state.record.id))
    assert nodes["ship"].text == "shipped: gladly"
    assert nodes["build"].attempts == 1
    assert nodes["ask"].extra["answers"][0]["by"] == "me"


async def test_two_gates_are_answered_by_name(lake: Lakehouse) -> None:
    """Other branches go on while a gate waits; what one gate waits for does not hold the other."""
    gates = """
  - {id: a, approval: {message: A}}
  - {id: b, approval: {message: B}}
  - {id: after-a, depends_on: [a], bash: echo after a}
  - {id: other, bash: echo other}
"""
    state = await ran(lake, gates)
    assert by_id(state)["other"].status == "completed"
    with pytest.raises(Conflict):
        await lake.workflows.answer(state.record.id, None, "approve")
    await lake.workflows.answer(state.record.id, "a", "approve")
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert (state.record.status, by_id(state)["after-a"].text) == ("paused", "after a")
    assert (await answered(lake, state, "approve")).record.status == "completed"


class Slow:
    """A model that takes for ever until it is let go."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.free = anyio.Event()

    async def ask(self, request: ChatRequest, model: str) -> ChatReply:
        self.asked.set()
        await self.free.wait()
        return ChatReply("mended", model, "slow")

    async def aclose(self) -> None:
        return None


async def test_a_rework_that_was_cancelled_is_done_when_the_run_goes_on(lake: Lakehouse) -> None:
    gate = "  - {id: ask, approval: {message: Ship, on_reject: {prompt: 'Mend: $REJECTION_REASON'}}}"
    state = await ran(lake, gate)
    model = Slow()
    vars(lake)["chat"] = Chat(lake.config.chat, model)
    await lake.workflows.answer(state.record.id, None, "reject", "no")
    with anyio.fail_after(PATIENCE):
        await model.asked.wait()
    await lake.workflows.cancel(state.record.id, "too slow")
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert (state.record.status, state.record.error) == ("cancelled", Failure("cancelled", "too slow"))
    model.free.set()
    await lake.workflows.resume(state.record.id)
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert by_id(state)["ask"].extra["message"] == "Ship\n\nmended"
    assert (await answered(lake, state, "approve")).record.status == "completed"


async def test_an_answer_while_others_still_run_is_taken_when_they_have_ended(lake: Lakehouse, tmp_path: Path) -> None:
    gate = f"""
  - {{id: ask, approval: {{message: Ship, capture_response: true}}}}
  - {{id: other, bash: "until [ -e {tmp_path}/go ]; do sleep 0.02; done"}}
"""
    run = await started(lake, gate)
    with anyio.fail_after(PATIENCE):
        while (by_id(await lake.workflows.state(run)))["ask"].status != "paused":
            await anyio.sleep(0.01)
    await lake.workflows.answer(run, "ask", "approve", "yes")
    with pytest.raises(Conflict, match="approve, by"):
        await lake.workflows.answer(run, "ask", "reject")
    (tmp_path / "go").touch()
    with anyio.fail_after(PATIENCE):
        while (state := await lake.workflows.wait(run, PATIENCE)).record.status != "completed":
            await anyio.sleep(0.01)
    assert by_id(state)["ask"].text == "yes"
