"""The script of `until_bash`: a loop is done when it succeeds."""

from dataclasses import replace

from lakehouse.engine.workflows.model import BASH_SECS
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.shell import run_shell
from lakehouse.engine.workflows.running.step import Step


async def succeeds(step: Step, script: str, scope: Scope, output: Output) -> bool:
    """Whether it exits with code 0. `$LOOP_PREV_OUTPUT` is there what the iteration that has just ended put out.

    Raises as shell.run_shell does.
    """
    done = await run_shell(replace(step, scope=scope.along(LOOP_PREV_OUTPUT=output.text)), script, BASH_SECS)
    return done.code == 0
