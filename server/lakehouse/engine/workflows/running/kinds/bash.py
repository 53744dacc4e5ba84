"""A node that runs a script in bash."""

from lakehouse.engine.workflows.model import Bash
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.shell import run_shell
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Unprocessable


async def run_bash(step: Step) -> Output:
    """Run it; what it prints, less one newline at the end, is the output. Raises Unprocessable when it fails."""
    body = step.node.body
    assert isinstance(body, Bash)
    done = await run_shell(step, body.script, body.timeout)
    if done.code:
        raise Unprocessable(f"it exited with code {done.code}: {done.stderr[-500:]}")
    return Output(done.stdout.removesuffix("\n"))
