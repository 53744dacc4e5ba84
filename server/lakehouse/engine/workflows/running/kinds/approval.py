"""A node that waits for somebody to say yes, or which way."""

from lakehouse.engine.workflows.model import Approval, OnReject
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.gates import Answer, answers, asked, kept
from lakehouse.engine.workflows.running.kinds.asking import ask
from lakehouse.engine.workflows.running.rework import siblings, verified
from lakehouse.engine.workflows.running.step import Step, Stop

DECISIONS = ("approve", "reject")


async def run_approval(step: Step) -> Output:
    """Wait for an answer. Approved: nothing, or what was said with `capture_response`.

    With `decisions` the answer is `{"decision", "text"}`. A rejection ends the run, or with `on_reject` has a prompt
    answered and what checks its effect done again; then the gate asks anew. Raises Pause and Stop.
    """
    body = step.node.body
    assert isinstance(body, Approval)
    offered = [one.id for one in body.decisions] or DECISIONS
    while True:
        number = kept(step).get("heard", 0)
        answer = asked(step, number, _message(step, body), offered)
        if body.decisions:
            return Output.of({"decision": answer.decision, "text": answer.text})
        if answer.decision == "approve":
            return Output(answer.text if body.capture_response else "")
        rejections = sum(one.decision == "reject" for one in answers(kept(step))[: number + 1])
        if body.on_reject is None or rejections >= body.on_reject.max_attempts:
            raise Stop(_reason(step, answer))
        await _rework(step, body.on_reject, answer, number)
        await step.keep(heard=number + 1)


def _message(step: Step, body: Approval) -> str:
    message = step.scope.text(body.message)
    reworked = kept(step).get("rework", "")
    return f"{message}\n\n{reworked}" if reworked else message


def _reason(step: Step, answer: Answer) -> str:
    return f"{step.path} was rejected{f': {answer.text}' if answer.text else '.'}"


async def _rework(step: Step, on_reject: OnReject, answer: Answer, number: int) -> None:
    """Have the prompt answered, then do again what stands between what it mends and the gate. Each is done once."""
    if kept(step).get("reworked", 0) <= number:
        scope = step.scope.along(REJECTION_REASON=answer.text)
        async with step.live.places:
            done = await ask(step, scope.prompt(on_reject.prompt), on_reject.agent)
        step.tell("rework", n=number + 1)
        await step.keep(reworked=number + 1, rework=done.text)
    await verified(step, siblings(step), number)
