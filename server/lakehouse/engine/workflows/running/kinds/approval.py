"""A node that waits for somebody to say yes, or which way."""

from lakehouse.engine.workflows.model import Approval
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.gates import answers, asked, kept
from lakehouse.engine.workflows.running.rework import Rework
from lakehouse.engine.workflows.running.step import Step, Stop

DECISIONS = ("approve", "reject")


async def run_approval(step: Step) -> Output:
    """Wait for an answer. Approved: nothing, or with `capture_response` what was said, `Approved` where nothing was.

    With `decisions` the output is `{"decision", "text"}`. A rejection that is none of them ends the run, or with
    `on_reject` has the work done again (see rework.Rework), after which the gate asks anew. Raises Pause and Stop.
    """
    body = step.node.body
    assert isinstance(body, Approval)
    rework = Rework(step, body.on_reject) if body.on_reject else None
    decisions = [one.id for one in body.decisions]
    labels = {one.id: one.label for one in body.decisions if one.label}
    offered = dict.fromkeys([*decisions, *DECISIONS])  # there is always a way to say no
    while True:
        number = kept(step).get("heard", 0)
        message = step.scope.text(body.message)
        question = f"{message}\n\n{rework.told}" if rework and rework.told else message
        answer = asked(step, number, question, [*offered], labels)
        if answer.decision in decisions:
            return Output.of({"decision": answer.decision, "text": answer.text})
        if answer.decision == "approve":
            return Output((answer.text or "Approved") if body.capture_response else "")
        rejections = sum(one.decision == "reject" for one in answers(kept(step))[: number + 1])
        if rework is None or rejections >= rework.most:
            raise Stop(f"{step.path} was rejected{f': {answer.text}' if answer.text else '.'}")
        await rework.do(number, answer.text or "Rejected")
        await step.keep(heard=number + 1)
