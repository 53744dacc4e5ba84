"""Calls made from the command line: one on the data directory, what it answers printed."""

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click

import lakehouse
from lakehouse.faces.commands import Invocation

_NOTICED_SECS = 1.0  # what takes longer is said


def run(invocation: Invocation, name: str, arguments: dict[str, Any]) -> None:
    """Call one capability on the data directory and print what it answers."""
    import anyio
    import anyio.to_thread

    from lakehouse.config import read
    from lakehouse.faces import terminal
    from lakehouse.faces.logs import keep_logs
    from lakehouse.stdout import spared

    keep_logs(read(invocation.home, invocation.config), brief=True)

    async def called() -> Any:
        home, config, profile = invocation.home, invocation.config, invocation.profile
        async with lakehouse.open(home, config_file=config, profile=profile) as lake:
            lake.brief = True
            with spared(), terminal.progress_bar() as progress:  # what a tool prints is no part of its answer
                try:
                    answer = await lake.call(name, arguments, via="cli", progress=progress)
                except anyio.get_cancelled_exc_class():
                    lake.grace = 0  # who interrupts does not wait for others' calls; these are made again
                    raise
            # Before the end: other processes' calls may still run here, and are waited for.
            await anyio.to_thread.run_sync(functools.partial(terminal.show, answer, as_json=invocation.json))
            with anyio.move_on_after(_NOTICED_SECS) as quick:
                await lake.caught_up()
            if quick.cancelled_caught:
                click.echo("Corpora that follow the dataset are being refreshed…", err=True)
                await lake.caught_up()
        return answer

    answer = guarded(called)
    if isinstance(answer, dict) and answer.get("ok") is False:  # a report that something is wrong
        sys.exit(1)


def guarded(work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """What it returns. Errors leave it as they are; only a group that holds a single one is opened."""
    import anyio

    from lakehouse.faces.ending import INTERRUPTED, interruptible

    try:
        return anyio.run(interruptible, work, *arguments)
    except KeyboardInterrupt:
        click.echo("\nInterrupted.", err=True)
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        raise inner from None
