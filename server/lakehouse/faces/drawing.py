"""Runs of workflows as people see them: a tree that is drawn anew while they go on, and lines."""

import functools
import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from lakehouse.faces.terminal import printed

if TYPE_CHECKING:
    from rich.text import Text

SIGNS: Mapping[str, tuple[str, str]] = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "paused": ("?", "yellow"),
    "cancelled": ("✗", "red"),
    "interrupted": ("!", "yellow"),
}
_WIDE = 160  # characters of an output or an error in a tree
_MARGIN = 8  # lines of the terminal that the tree leaves free
_READ = 8000  # characters of what somebody is to read whole
_WARNED = 8  # warnings that are shown; `workflow status` has all
REASONS: Mapping[str, str] = {
    "trigger_rule": "what it depends on did not end as its trigger_rule wants",
    "when_condition": "its when does not hold",
    "when_condition_parse_error": "its when cannot be read",
}

Report = Mapping[str, Any]


class Drawn:
    """The tree of a run on stderr, for as long as the block lasts. What it showed last stays."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> "Drawn":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(
        self,
        report: Report,
        plan: Mapping[str, Sequence[str]],
        tails: Mapping[str, Sequence[str]],
        below: Sequence[Report],
    ) -> None:
        """Draw it as it is now."""
        over = report["status"] != "running"
        room = None if over else max(4, self._console.size.height - _MARGIN)
        self._live.update(tree(report, plan, tails, below, room), refresh=True)


def tree(
    report: Report,
    plan: Mapping[str, Sequence[str]] | None = None,
    tails: Mapping[str, Sequence[str]] | None = None,
    below: Sequence[Report] = (),
    room: int | None = None,
) -> "Text":
    """A run with its nodes, those of loop groups below them."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(report["workflow"], "bold").append(f"  {_dry(report)}{report['run_id']}  ", "dim")
    sign, style = SIGNS[report["status"]]
    text.append(f"{sign} {report['status']}", style)
    cost = report.get("cost_usd")
    text.append(f"  ${cost:.4f}" if cost else "", "dim")
    status = {node["id"]: node["status"] for node in report["nodes"]}
    nodes = list(report["nodes"])
    if room is not None and len(nodes) > room:
        moving = [node for node in nodes if node["status"] in ("running", "paused", "failed")][:room]
        kept = {node["id"] for node in moving}
        ended = sum(node["status"] in ("completed", "skipped") for node in nodes)
        text.append(f"\n  … {ended} of {len(nodes)} nodes ended", "dim")
        nodes = [node for node in nodes if node["id"] in kept]
    for node in nodes:
        depth = 1 + node["id"].count("/")
        waits = [id for id in (plan or {}).get(node["id"], ()) if status.get(id) not in _SETTLED]
        _node(text, node, "  " * depth, waits)
        for line in (tails or {}).get(node["id"], ()):
            text.append(f"\n{'  ' * (depth + 2)}{told(line)}", "dim")
    for one in below:
        sign, style = SIGNS[one["status"]]
        text.append("\n      ↳ ").append(sign, style).append(f" {one['workflow']}  ").append(one["run_id"], "dim")
    return text


_SETTLED = frozenset({"completed", "failed", "skipped"})


def _node(text: "Text", node: Report, indent: str, waits: Sequence[str]) -> None:
    sign, style = SIGNS[node["status"]]
    text.append(f"\n{indent}").append(sign, style).append(f" {node['id'].rpartition('/')[2]}")
    text.append(f"  {node.get('mode') or node['kind']}", "dim")
    seconds = _seconds(node)
    text.append(f"  {seconds}" if seconds else "", "dim")
    if node.get("attempts", 0) > 1 and node["kind"] != "approval":
        text.append(f"  attempt {node['attempts']}", "yellow")
    if node["status"] == "pending" and waits:
        text.append(f"  waits for {', '.join(waits)}", "dim")
    if node.get("error"):
        text.append(f"  {told(spoken(node['error']))}", "red")
    elif node.get("reason"):
        text.append(f"  {REASONS.get(node['reason'], node['reason'])}", "dim")


def advice(report: Report, command: str, *, failures: bool = True) -> Iterator[str]:
    """What is strange about a run, and what somebody can do about one that waits or did not complete.

    `command` is how people spell `lakehouse` here; without `failures`, those of nodes were told already.
    """
    run = report["run_id"]
    yield from warnings(report)
    for gate in report.get("waits", ()):
        several = f" --node {shlex.quote(gate['node'])}" if len(report["waits"]) > 1 else ""
        asked = f"{gate.get('run') or run}{several}"
        yield f"{gate['node']} asks: {whole(gate['message'])}"
        for decision in () if report.get("dry_run") else gate["decisions"]:
            label = gate.get("labels", {}).get(decision)
            named = f"  # {told(label)}" if label else ""
            if decision in ("approve", "reject"):
                yield f"  {command} workflow {decision} {asked}{named}"
            else:
                yield f"  {command} workflow approve {asked} --decision {decision}{named}"
    if report["status"] in ("failed", "interrupted"):
        failed = next((node["id"].partition("#")[0] for node in report["nodes"] if node["status"] == "failed"), None)
        if report.get("error") and (failures or failed is None):
            yield f"error: {whole(spoken(report['error']))}"
        if not report.get("dry_run"):
            yield f"Once the cause is gone:     {command} workflow resume {run}"
        if failed is not None and not report.get("dry_run"):
            again = f"{command} workflow rerun {run} --from-node {shlex.quote(failed)} --current"
            yield f"After a change of the file: {again}"


def warnings(report: Report) -> Iterator[str]:
    """What is strange about it, in lines."""
    found = report.get("warnings") or ()
    for one in found[:_WARNED]:
        yield f"warning: {whole(one)}"
    if len(found) > _WARNED:
        yield f"… and {len(found) - _WARNED} warnings more"


@functools.lru_cache(256)
def spoken(text: str) -> str:
    """What was said to a program, for a person: commands in place of tools."""
    from lakehouse.faces.wording import for_people
    from lakehouse.rendered import rendered

    return for_people(text, rendered()["tools"])


def whole(text: str) -> str:
    """A text of several lines that a terminal can be given."""
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in str(text)[:_READ])
    return shown if len(str(text)) <= _READ else f"{shown}… (`workflow status` has all of it)"


def lines(report: Report, seen: dict[str, str]) -> Iterator[str]:
    """A line for whatever changed since the last time; `seen` keeps what was told."""
    if "" not in seen:
        seen[""] = ""
        yield f"{report['workflow']} {_dry(report)}{report['run_id']}"
    for node in report["nodes"]:
        state = node["status"] + (
            f", attempt {node['attempts']}" if node.get("attempts", 0) > 1 and node["kind"] != "approval" else ""
        )
        if state != seen.get(node["id"], "pending"):
            seen[node["id"]] = state
            more = (
                f": {told(spoken(node['error']), _READ)}"
                if node.get("error")
                else f": {REASONS.get(node['reason'], node['reason'])}"
                if node.get("reason")
                else ""
            )
            seconds = _seconds(node) if node["status"] in _SETTLED else ""
            yield f"{SIGNS[node['status']][0]} {node['id']} {state}{f' {seconds}' if seconds else ''}{more}"
    if report["status"] != "running" and seen[""] != report["status"]:
        seen[""] = report["status"]
        yield f"{report['workflow']} {report['status']}"


def _dry(report: Report) -> str:
    return "dry run, nothing is kept: " if report.get("dry_run") else ""


def told(text: str, wide: int = _WIDE) -> str:
    """A text as one line that a terminal can be given."""
    line = " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in str(text)[: 4 * wide]).split())
    return line if len(line) <= wide else line[: wide - 1] + "…"


def _seconds(node: Report) -> str:
    if node["status"] == "skipped":
        return ""
    took = node.get("duration_ms")
    if took is None:
        began = node.get("started_at")
        if began is None or node["status"] != "running":
            return ""
        from datetime import datetime

        took = max(0.0, time.time() - datetime.fromisoformat(began).timestamp()) * 1000
    return f"{took / 1000:.1f} s" if took >= 100 else f"{took:.0f} ms"


def show_run(report: Report, command: str, *, followed: bool = False) -> None:
    """Print a run: its tree and what can be done about it, and what it returned.

    Of one that was `followed` the former was shown on stderr: stdout has what it returned, and nothing else.
    """
    from rich.console import Console

    if followed:
        for line in advice(report, command, failures=sys.stderr.isatty()):
            click.echo(line, err=True)
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 10_000  # a pipe has no width
        console.print(tree(report))
        for line in advice(report, command):
            click.echo(line)
    if report.get("outcome") is not None:
        click.echo(f"outcome: {'yes' if report['outcome'] else 'no'}", err=followed)
    if report.get("result"):
        result = readable(report["result"])
        click.echo(printed(result) if sys.stdout.isatty() else result)


def readable(result: str) -> str:
    """What a run returned; of an object that only wraps a text, as markdown is, that text."""
    try:
        found = json.loads(result) if result.startswith("{") else None
    except (ValueError, RecursionError):
        found = None
    values = list(found.values()) if isinstance(found, dict) else []
    text = values[0] if len(values) == 1 and isinstance(values[0], str) else result
    return text.removesuffix("\n")  # a line is ended when it is printed


def event(one: Mapping[str, Any]) -> str:
    """An event of a run, as a line."""
    more = "  ".join(f"{name}={told(value)}" for name, value in one["data"].items())
    return "  ".join(part for part in (one["at"], one["event"], one.get("node", ""), more) if part)
