"""A node that runs a script in bash."""

from lakehouse.engine.workflows.model import Bash
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.shell import output_of, run_shell
from lakehouse.engine.workflows.running.step import Step


async def run_bash(step: Step) -> Output:
    """Run it; what it prints, less one newline at the end, is the output. Raises as run_shell does, and Exited."""
    body = step.node.body
    assert isinstance(body, Bash)
    return output_of(step, await run_shell(step, body.script, body.timeout))
