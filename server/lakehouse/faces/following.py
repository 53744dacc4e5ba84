"""A run of a workflow, followed from the command line until it ends or waits for somebody."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import click

from lakehouse.errors import LakehouseError, NotFound
from lakehouse.faces.drawing import Drawn, lines, told, whole
from lakehouse.lake import Lakehouse

# What a command that ran a workflow ends with; what could not be run at all ends as its error says.
EXITS: Mapping[str, int] = {"completed": 0, "running": 0, "failed": 1, "cancelled": 3, "paused": 4, "interrupted": 130}
STARTS = frozenset(
    {"workflow.run", "workflow.resume", "workflow.rerun", "workflow.approve", "workflow.reject"}
    | {"workflow_run", "workflow_resume", "workflow_rerun", "workflow_approve", "workflow_reject"}
)
FIRST_SECS = 1.0  # that another process is waited for before its run is looked at again and again: each look is a call
_POLL_SECS = 0.5  # between two looks at a run of another process
_LOOK_SECS = 0.12  # between two drawings
_TAIL = 3  # last lines of a program that are shown while it runs

Report = dict[str, Any]


def begun(answer: Any) -> bool:
    """Whether a call answered with a run."""
    return isinstance(answer, dict) and {"run_id", "workflow", "status", "nodes"} <= answer.keys()


async def follow(lake: Lakehouse, report: Report, command: str, *, asks: bool) -> Report:
    """Show the run on stderr until it ends, pauses, or is interrupted; `command` is how people spell `lakehouse` here.

    On a terminal it is a tree, and a gate is answered right there when `asks`; elsewhere it is a line for each event.
    """
    run = report["run_id"]
    try:
        while True:
            report = await _until_it_rests(lake, report, command)
            if report["status"] != "paused" or not asks:
                return report
            answer = await _answered(report)
            if answer is None:
                return report
            name, given = answer
            try:
                report = await lake.call(name, {"run": run, "wait": FIRST_SECS, **given}, via="cli")
            except LakehouseError as error:
                click.echo(f"{error.detail} {error.fix}", err=True)
    except anyio.get_cancelled_exc_class():
        if lake.attached_to:
            said = f"It goes on in {lake.attached_to}. See it with:  {command} workflow status {run}"
        else:
            said = f"Go on with:  {command} workflow resume {run}"
        click.echo(f"\n{said}", err=True)
        raise


async def _until_it_rests(lake: Lakehouse, report: Report, command: str) -> Report:
    watch = _Watch(lake, report["run_id"])
    if report["status"] == "running":
        report = await watch.report()
    if not sys.stderr.isatty():
        seen: dict[str, str] = {}
        while True:
            for line in lines(report, seen):
                click.echo(line, err=True)
            if report["status"] != "running":
                return report
            await watch.changed()
            report = await watch.report()
    plan = await watch.plan() if report["status"] == "running" else {}
    with Drawn() as drawn:
        while True:
            drawn.show(report, plan, await watch.tails(report), await watch.below(report))
            if report["status"] != "running":
                return report
            await watch.changed()
            report = await watch.report()


class _Watch:
    """What is known of a run: of one of this process without calls, which would be recorded; of another's by calls."""

    def __init__(self, lake: Lakehouse, run: str) -> None:
        self._lake = lake
        self._run = run
        self._here = not lake.attached_to

    async def changed(self) -> None:
        """Wait a moment; longer for what other processes tell."""
        await anyio.sleep(_LOOK_SECS if self._here else _POLL_SECS)

    async def report(self, *, timeline: bool = False, run: str = "") -> Report:
        """How it stands."""
        run = run or self._run
        if not self._here:
            given = {"run": run, "timeline": timeline}
            return dict(await self._lake.call("workflow.status", given, via="cli"))
        flows = self._lake.workflows
        report = await flows.report(await flows.state(run), timeline=timeline)
        return report.model_dump(mode="json", exclude_none=True)

    async def plan(self) -> dict[str, list[str]]:
        """For each node what it waits for."""
        try:
            timeline = (await self.report(timeline=True)).get("timeline", {})
        except NotFound:  # of a dry run nothing is kept
            return {}
        return {node["id"]: node["depends_on"] for node in timeline.get("nodes", ())}

    async def tails(self, report: Report) -> dict[str, list[str]]:
        """The last lines of programs that run."""
        found = {}
        for node in report["nodes"]:
            if node["status"] == "running" and node["kind"] in ("bash", "script"):
                if self._here:
                    output = (await self._lake.workflows.logs(self._run, node["id"], limit=_TAIL)).output
                else:
                    given = {"run": self._run, "node": node["id"], "limit": _TAIL}
                    output = (await self._lake.call("workflow.logs", given, via="cli")).get("output")
                found[node["id"]] = [line.split(" ", 2)[-1] for line in output or ()]
        return found

    async def below(self, report: Report) -> list[Report]:
        """The runs that its nodes started."""
        if not any(node["kind"] == "workflow" and node["status"] != "pending" for node in report["nodes"]):
            return []
        if self._here:
            runs = await self._lake.workflows.runs(_TAIL * 10, parent=self._run)
            return [{"run_id": one.id, "workflow": one.workflow, "status": status} for one, status in runs]
        page = await self._lake.call("workflow.runs", {"parent": self._run, "limit": _TAIL * 10}, via="cli")
        return list(page["runs"])


async def _answered(report: Report) -> tuple[str, dict[str, Any]] | None:
    """What somebody at the terminal says at the gate: a call and its arguments; None: later."""
    gate = report["waits"][0] if report.get("waits") else None
    if gate is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    ask = functools.partial(_asked, gate)
    return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)


def _asked(gate: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    choices = [*gate["decisions"], "later"]
    click.echo(f"\n{whole(gate['message'])}", err=True)
    for decision, label in gate.get("labels", {}).items():
        click.echo(f"  {decision}: {told(label)}", err=True)
    try:
        decision = click.prompt(gate["node"], type=click.Choice(choices), default="later", err=True)
        if decision == "later":
            return None
        text = click.prompt("What is said with it", default="", show_default=False, err=True)
    except click.Abort:
        return None
    given = {"node": gate["node"], "text": text} | ({"run": gate["run"]} if "run" in gate else {})
    return ("workflow.reject", given) if decision == "reject" else ("workflow.approve", given | {"decision": decision})


def spelled(home: str | None, config: str | None) -> str:
    """How `lakehouse` is spelled here, with the options that name the same data directory again."""
    import shlex

    words = ["lakehouse"]
    words += ["--home", home] if home else []
    words += ["--config", str(Path(config))] if config else []
    return shlex.join(words)
