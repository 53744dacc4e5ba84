"""A node that ends the whole run."""

from lakehouse.engine.workflows.model import Cancel
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.step import Step, Stop


async def run_cancel(step: Step) -> Output:
    """End the run, for the reason it gives. Raises Stop."""
    body = step.node.body
    assert isinstance(body, Cancel)
    raise Stop(step.scope.text(body.reason))
