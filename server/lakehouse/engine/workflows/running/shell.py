"""What bash, script and until_bash have in common: a step's program, where it runs and what it is given."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread

from lakehouse.engine.files import make_folder
from lakehouse.engine.workflows.processes import Finished, run
from lakehouse.engine.workflows.processes.environment import MAX_STRING, fitted, inherited
from lakehouse.engine.workflows.processes.log import Log
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.references.quoting import Script, Spill
from lakehouse.engine.workflows.running.files import artifacts, file_name, log_of
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Forbidden, LakehouseError, NotFound, Unavailable, Unprocessable, disk_failed

Stored = Callable[[str], str]  # puts the source into a file of this ending; the path
Source = Callable[[Scope, Spill], Script]  # what is run
Command = Callable[[str, Stored], list[str]]  # what is started to run it


async def run_shell(step: Step, template: str, timeout: float) -> Finished:
    """Run a template in bash, as `bash:` does, for at most so many seconds. Its exit code is not judged.

    Raises Forbidden where the shell is not open to the run, MissingReference, Unavailable without bash, NotFound when
    the folder it would stand in is gone, TimedOut, TooLarge. What they quote is without credentials.
    """

    def command(script: str, stored: Stored) -> list[str]:
        bash = found("bash")
        return [bash, "-c", script] if len(script.encode("utf-8", "replace")) < MAX_STRING else [bash, stored(".sh")]

    def source(scope: Scope, spill: Spill) -> Script:
        return scope.shell(template, spill)

    return await run_program(step, source, command, timeout)


async def run_program(step: Step, source: Source, command: Command, timeout: float) -> Finished:
    """Run a program on behalf of a step; see run_shell."""
    live = step.live
    if not live.shell:
        raise Forbidden("programs of this machine are not open to this workflow.", fix="Run it with `lakehouse run`.")
    try:
        place = await anyio.to_thread.run_sync(_prepared, step, source, command)
    except OSError as error:
        raise disk_failed(error) from error
    log = Log(log_of(live.folder, step.path), live.door.clean, time.time)

    async def heard(stream: str, chunk: bytes) -> None:
        step.beat()
        await log.write(stream, chunk)

    try:
        done = await run(
            place.argv,
            cwd=place.cwd,
            env=place.env,
            timeout=timeout,
            max_bytes=live.settings.max_output_bytes,
            on_output=heard,
            clean=live.door.clean,
        )
    except OSError as error:
        raise _not_started(error, place) from error
    finally:
        with anyio.CancelScope(shield=True):
            await log.close()
    if done.left:
        step.warn(f"{done.left} processes outlived the program that started them and were ended.")
    if done.replaced:
        step.warn("its output is not UTF-8: what is not was replaced by U+FFFD.")
    return done


def output_of(step: Step, done: Finished) -> Output:
    """What it printed, less one newline at the end. Raises Exited, without credentials, where it failed."""
    done.check(step.live.door.clean)
    return Output(done.stdout.removesuffix("\n"))


def found(program: str) -> str:
    """The path of a program; blocking. Raises Unavailable."""
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"there is no {program} on the PATH.", fix="Install it.")
    return path


@dataclass(frozen=True)
class _Place:
    argv: list[str]
    cwd: str
    env: dict[str, str]


def _prepared(step: Step, source: Source, command: Command) -> _Place:
    live = step.live
    starter = live.record.starter
    own = live.folder / "programs" / file_name(step.path)
    spilled = 0

    def written(name: str, text: str) -> str:
        # A folder of its own: Python looks for modules beside a script.
        make_folder(own)
        path = own / name
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        return str(path)

    def spill(text: str) -> str:
        nonlocal spilled
        spilled += 1
        return written(f"output-{spilled}", text)

    scope = step.scope.bound(step.node.given)
    values = scope.exported() | {"LAKEHOUSE_IDEMPOTENCY_KEY": step.asked.key}
    cwd = starter.folder if starter.shell and starter.folder else str(artifacts(live))
    if not os.path.isdir(cwd):  # unlike Path.is_dir it never raises
        raise NotFound(f"the folder {cwd}, in which it would run, is gone.", fix="Make it, or start from another.")
    if not os.access(cwd, os.X_OK):
        raise Forbidden(f"the folder {cwd}, in which it would run, is closed to this user.", fix="Open it.")
    script = source(scope, spill)
    text = script.text.encode("utf-8", "replace").decode()
    if "\0" in text:
        raise Unprocessable("its text holds a NUL, which no program can be given.", fix="Take it out.")
    env = inherited(os.environ, live.door.hidden(), local=starter.shell) | fitted(values | script.variables, text, own)
    return _Place(command(text, lambda suffix: written(f"main{suffix}", text)), cwd, env)


def _not_started(error: OSError, place: _Place) -> LakehouseError:
    if error.errno == errno.E2BIG:
        sizes = sorted(((len(value), name) for name, value in place.env.items()), reverse=True)[:3]
        largest = ", ".join(f"{name} ({size:,})" for size, name in sizes)
        return Unprocessable(
            f"its text and variables together are more than this system hands to a program; the largest: {largest}.",
            fix="Give less, or hand it over in files.",
        )
    return Unavailable(f"{place.argv[0]} cannot be started: {error.strerror}.", fix="Mend it.")
