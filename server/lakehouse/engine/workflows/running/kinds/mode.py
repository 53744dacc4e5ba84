"""A node that calls one of our own capabilities."""

from lakehouse.engine.workflows.model import Mode
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.step import Step


async def run_mode(step: Step) -> Output:
    """Call it with what `with:` stands for; its answer is the output."""
    body = step.node.body
    assert isinstance(body, Mode)
    return Output.of(await step.call(body.name, {name: step.scope.given(v) for name, v in step.node.given.items()}))
