"""A node that asks a chat model: a `prompt`, or a `command` whose text is one."""

from lakehouse.engine.workflows.model import Prompt
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.kinds.asking import ask
from lakehouse.engine.workflows.running.kinds.sessions import inherited, leave, remembered
from lakehouse.engine.workflows.running.step import Step


async def run_prompt(step: Step) -> Output:
    """Ask; the output is what was answered, and with an output_format the JSON of that. Raises as `ask` does."""
    body = step.node.body
    assert isinstance(body, Prompt)
    step.scope = step.scope.bound(step.node.given)  # what `with:` gives a command
    session = await remembered(step) or inherited(step)
    answer = await ask(step, step.scope.prompt(body.text), body.agent, session)
    leave(step, answer.session)
    return Output(answer.text) if body.agent.output_format is None else Output.of(answer.value)
