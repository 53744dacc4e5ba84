"""A node that asks a chat model again and again, until it is done."""

from collections.abc import Mapping
from typing import Any

from lakehouse.engine.workflows.model import Loop
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.gates import kept
from lakehouse.engine.workflows.running.kinds.asking import ask
from lakehouse.engine.workflows.running.kinds.sessions import inherited
from lakehouse.engine.workflows.running.kinds.until import succeeds
from lakehouse.engine.workflows.running.rounds import Round, repeat
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.signals import signalled, without_promise


async def run_loop(step: Step) -> Output:
    """Ask until a channel says that it is done; the last answer, without its `<promise>`. See rounds.repeat."""
    body = step.node.body
    assert isinstance(body, Loop)
    control, agent = body.control, body.prompt.agent

    async def once(number: int, scope: Scope) -> Round:
        session = [] if control.fresh_context else kept(step).get("session") or inherited(step)
        step.scope = scope  # its system prompt and its script are of this iteration, too
        answer = await ask(step, scope.prompt(body.prompt.text), agent, session)
        if agent.output_format is None:
            output = Output(without_promise(answer.text))
        else:
            output = Output.of(answer.value)
        done = bool(
            (control.until and signalled(answer.text, control.until))
            or (control.until_field and _field(answer.value, control.until_field) is True)
            or (control.until_bash and await succeeds(step, control.until_bash, scope, output))
        )
        return Round(done, {"output": output.text, "session": answer.session})

    return await repeat(step, control, once, lambda _: Output(kept(step)["output"], agent.output_format is not None))


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
