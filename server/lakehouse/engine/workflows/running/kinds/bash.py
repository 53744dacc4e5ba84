"""A node that runs a script in bash."""

import os
import subprocess

import anyio

from lakehouse.engine.workflows.model import Bash
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Forbidden, Unprocessable


async def run_bash(step: Step) -> Output:
    """Run it; what it prints, less one newline at the end, is the output. Raises Unprocessable when it fails."""
    body = step.node.body
    assert isinstance(body, Bash)
    if not step.live.shell:
        raise Forbidden("bash is not open to this workflow.", fix="Run it with `lakehouse run`.")
    done = await anyio.run_process(
        ["bash", "-c", step.scope.shell(body.script)],
        cwd=step.live.record.starter.folder,
        env={**os.environ, **step.scope.environment(body.script)},
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise Unprocessable(f"it exited with code {done.returncode}: {done.stderr[-500:].decode('utf-8', 'replace')}")
    return Output(done.stdout.decode("utf-8", "replace").removesuffix("\n"))
