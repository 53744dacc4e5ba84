"""Calls made from the command line: on the data directory, what they answer printed, runs followed to their end."""

import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

import lakehouse
from lakehouse.faces.commands import Invocation

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse

_NOTICED_SECS = 1.0  # what takes longer is said
_POLL_SECS = 0.5  # between two looks at the events of a run
REPORTS = frozenset({"workflow.status", "workflow.cancel"})  # whose answers are runs that are not followed


def run(invocation: Invocation, name: str, arguments: dict[str, Any]) -> None:
    """Call one capability on the data directory and print what it answers; a run that it began is followed first."""
    import anyio
    import anyio.to_thread

    from lakehouse.faces import following, terminal, workflows
    from lakehouse.faces.drawing import show_run
    from lakehouse.stdout import spared

    _keep_logs(invocation)
    command = following.spelled(invocation.home, invocation.config)
    given = dict(arguments)
    # What ran by itself in this process ends with it; elsewhere it may go on when its caller wants that.
    leaves = {"background", "wait"} & given.keys()
    if name in following.STARTS and not leaves:
        given["wait"] = following.FIRST_SECS
    begun = followed = False  # a run that is left to go on by itself is begun, and not followed

    async def called() -> Any:
        nonlocal begun, followed
        async with _opened(invocation) as lake:
            with spared(), terminal.progress_bar() as progress:  # what a tool prints is no part of its answer
                try:
                    answer = await lake.call(name, given, via="cli", progress=progress)
                except anyio.get_cancelled_exc_class():
                    lake.grace = 0  # who interrupts does not wait for others' calls; these are made again
                    raise
            if following.begun(answer) and name not in REPORTS:
                begun = True
                if not lake.attached_to or not leaves:
                    followed = True
                    try:
                        answer = await following.follow(lake, answer, command, asks=not invocation.json)
                    except anyio.get_cancelled_exc_class():
                        lake.grace = 0
                        raise
            # Before the end: other processes' calls may still run here, and are waited for.
            if not invocation.json and following.begun(answer):
                show = functools.partial(show_run, answer, command, followed=followed)
            elif not invocation.json and name in workflows.SHOWN:
                show = functools.partial(workflows.show, name, answer)
            else:
                show = functools.partial(terminal.show, answer, as_json=invocation.json)
            await anyio.to_thread.run_sync(show)
            with anyio.move_on_after(_NOTICED_SECS) as quick:
                await lake.caught_up()
            if quick.cancelled_caught:
                click.echo("Corpora that follow the dataset are being refreshed…", err=True)
                await lake.caught_up()
        return answer

    answer = guarded(called)
    if begun:
        sys.exit(following.EXITS[answer["status"]])
    if isinstance(answer, dict) and answer.get("ok") is False:  # a report that something is wrong
        sys.exit(1)


def calls(invocation: Invocation, asked: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    """The answers of several calls, one after another on the same open data directory."""
    _keep_logs(invocation)

    async def called() -> list[Any]:
        async with _opened(invocation) as lake:
            return [await lake.call(name, arguments, via="cli") for name, arguments in asked]

    return list(guarded(called))


def show_logs(invocation: Invocation, given: dict[str, Any], follow: bool) -> None:
    """Print the events of a run; with `follow` also those to come, until it ends or waits for somebody."""
    import anyio

    from lakehouse.faces import terminal
    from lakehouse.faces.drawing import event

    _keep_logs(invocation)

    async def called() -> None:
        async with _opened(invocation) as lake:
            while True:
                found = await lake.call("workflow.logs", given, via="cli")
                if invocation.json and not follow:
                    terminal.show(found, as_json=True)
                    return
                for one in found["events"]:
                    terminal.show(one if invocation.json else event(one), as_json=invocation.json)
                for line in [] if invocation.json else found.get("output", ()):
                    click.echo(f"  {terminal.printed(line)}")
                given["after"] = found["next"]
                if len(found["events"]) < given["limit"]:
                    if not follow:
                        return
                    state = await lake.call("workflow.status", {"run": given["run"]}, via="cli")
                    if state["status"] != "running" and not found["events"]:
                        return
                    await anyio.sleep(_POLL_SECS)
                elif not follow:
                    return

    guarded(called)


@asynccontextmanager
async def _opened(invocation: Invocation) -> AsyncIterator["Lakehouse"]:
    home, config, profile = invocation.home, invocation.config, invocation.profile
    async with lakehouse.open(home, config_file=config, profile=profile) as lake:
        lake.brief = True
        yield lake


def _keep_logs(invocation: Invocation) -> None:
    from lakehouse.config import read
    from lakehouse.faces.logs import keep_logs

    keep_logs(read(invocation.home, invocation.config), brief=True)


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
