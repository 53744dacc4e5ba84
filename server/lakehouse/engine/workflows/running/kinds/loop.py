"""A node that asks a chat model again and again, until it is done."""

import json
from typing import Any

from lakehouse.engine.workflows.model import Loop
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.kinds.prompt import ask
from lakehouse.engine.workflows.running.kinds.until import succeeds
from lakehouse.engine.workflows.running.rounds import repeat
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.signals import signalled, without_promise


async def run_loop(step: Step) -> Output:
    """Ask until a channel says that it is done; the last answer, without its `<promise>`. See rounds.repeat."""
    body = step.node.body
    assert isinstance(body, Loop)
    control, agent = body.control, body.prompt.agent

    async def once(number: int, scope: Scope) -> tuple[Output, bool]:
        answer = await ask(step, scope.prompt(body.prompt.text), agent)
        output = answer if answer.typed else Output(without_promise(answer.text))
        done = bool(
            (control.until and signalled(answer.text, control.until))
            or (control.until_field and _field(output, control.until_field) is True)
            or (control.until_bash and await succeeds(step, control.until_bash, scope))
        )
        return output, done

    return await repeat(step, control, once)


def _field(output: Output, name: str) -> Any:
    try:
        return json.loads(output.text)[name]
    except (ValueError, KeyError, TypeError):
        return None
