"""What bash, script and until_bash have in common: a step's program, where it runs and what it is given."""

import os
import shutil

import anyio.to_thread

from lakehouse.engine.workflows.processes import Finished, run
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Forbidden, Unavailable


async def run_shell(step: Step, template: str, timeout: float) -> Finished:
    """Run a template in bash, as `bash:` does, for at most so many seconds. Its exit code is not judged.

    Raises Forbidden where the shell is not open to the run, MissingReference, Unavailable without bash, TimedOut,
    TooLarge.
    """
    if not step.live.shell:
        raise Forbidden("bash is not open to this workflow.", fix="Run it with `lakehouse run`.")
    bash = await anyio.to_thread.run_sync(shutil.which, "bash")
    if bash is None:
        raise Unavailable("there is no bash on the PATH.", fix="Install it.")
    return await run(
        [bash, "-c", step.scope.shell(template)],
        cwd=step.live.record.starter.folder or ".",
        env={**os.environ, **step.scope.variables},
        timeout=timeout,
        max_bytes=step.live.settings.max_output_bytes,
    )
