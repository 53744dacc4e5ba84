"""A node that runs Python, or JavaScript where bun is installed."""

import sys

from lakehouse.engine.workflows.model import Script
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.references.quoting import Script as Ready
from lakehouse.engine.workflows.references.quoting import Spill
from lakehouse.engine.workflows.running.shell import Stored, found, output_of, run_program
from lakehouse.engine.workflows.running.step import Step


async def run_script(step: Step) -> Output:
    """Run it; what it prints, less one newline at the end, is the output. Raises as run_shell does, and Exited.

    `uv` is the Python that Lakehouse runs in, with the packages installed beside it; nothing is downloaded. A file of
    scripts/ runs as it is, references are put into inline sources only.
    """
    body = step.node.body
    assert isinstance(body, Script)

    def source(scope: Scope, _: Spill) -> Ready:
        return Ready(body.source if body.name else scope.source(body.source), {})

    def command(_: str, stored: Stored) -> list[str]:
        if body.runtime == "bun":
            return [found("bun"), "--no-install", stored(".ts")]
        # -P: no module is taken from beside the script; -u: what it prints comes as it prints it. Not -I: the packages
        # of the user's own site and PYTHONPATH are among those its author counts on.
        return [sys.executable, "-P", "-u", stored(".py")]

    return output_of(step, await run_program(step, source, command, body.timeout))
