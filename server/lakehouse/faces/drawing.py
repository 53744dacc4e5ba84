"""Runs of workflows as people see them: a tree that is drawn anew while they go on, and lines."""

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

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

Report = Mapping[str, Any]


class Drawn:
    """The tree of a run on stderr, for as long as the block lasts. What it showed last stays."""

    def __init__(self, command: str) -> None:
        """`command` is how people spell `lakehouse` here."""
        from rich.console import Console
        from rich.live import Live

        self._command = command
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
        self._live.update(tree(report, self._command, plan, tails, below, room), refresh=True)


def tree(
    report: Report,
    command: str,
    plan: Mapping[str, Sequence[str]] | None = None,
    tails: Mapping[str, Sequence[str]] | None = None,
    below: Sequence[Report] = (),
    room: int | None = None,
) -> "Text":
    """A run with its nodes, those of loop groups below them, and at its end what somebody can do."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(report["workflow"], "bold").append(f"  {report['run_id']}  ", "dim")
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
    for line in advice(report, command):
        text.append(f"\n{line}")
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
        text.append(f"  {told(node['error'])}", "red")
    elif node.get("reason"):
        text.append(f"  {node['reason']}", "dim")


def advice(report: Report, command: str) -> Iterator[str]:
    """What somebody can do about a run that waits or did not complete."""
    run = report["run_id"]
    for gate in report.get("waits", ()):
        several = f" --node {shlex.quote(gate['node'])}" if len(report["waits"]) > 1 else ""
        yield f"{gate['node']} asks: {told(gate['message'])}"
        for decision in gate["decisions"]:
            if decision in ("approve", "reject"):
                yield f"  {command} workflow {decision} {run}{several}"
            else:
                yield f"  {command} workflow approve {run}{several} --decision {decision}"
    if report["status"] in ("failed", "interrupted") and report.get("ops") is not None:
        if report.get("error"):
            yield f"error: {told(report['error'])}"
        yield f"Once that is mended:  {command} workflow resume {run}"


def lines(report: Report, seen: dict[str, str]) -> Iterator[str]:
    """A line for whatever changed since the last time; `seen` keeps what was told."""
    if "" not in seen:
        seen[""] = ""
        yield f"{report['workflow']} {report['run_id']}"
    for node in report["nodes"]:
        state = node["status"] + (f", attempt {node['attempts']}" if node.get("attempts", 0) > 1 else "")
        if state != seen.get(node["id"], "pending"):
            seen[node["id"]] = state
            more = (
                f": {told(node['error'])}"
                if node.get("error")
                else f" ({node['reason']})"
                if node.get("reason")
                else ""
            )
            seconds = _seconds(node) if node["status"] in _SETTLED else ""
            yield f"{SIGNS[node['status']][0]} {node['id']} {state}{f' {seconds}' if seconds else ''}{more}"
    if report["status"] != "running" and seen[""] != report["status"]:
        seen[""] = report["status"]
        yield f"{report['workflow']} {report['status']}"


def told(text: str) -> str:
    """A text as one line that a terminal can be given."""
    line = " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in str(text)[: 4 * _WIDE]).split())
    return line if len(line) <= _WIDE else line[: _WIDE - 1] + "…"


def _seconds(node: Report) -> str:
    took = node.get("duration_ms")
    if took is None:
        began = node.get("started_at")
        if began is None or node["status"] != "running":
            return ""
        from datetime import datetime

        took = max(0.0, time.time() - datetime.fromisoformat(began).timestamp()) * 1000
    return f"{took / 1000:.1f} s" if took >= 100 else f"{took:.0f} ms"


def show_run(report: Report, command: str, *, drawn: bool = False) -> None:
    """Print a run: its tree, unless that was `drawn` already, and what it returned."""
    from rich.console import Console

    if not drawn:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 10_000  # a pipe has no width
        console.print(tree(report, command))
    if report.get("outcome") is not None:
        click.echo(f"outcome: {'yes' if report['outcome'] else 'no'}")
    if report.get("result"):
        click.echo(readable(report["result"]))


def readable(result: str) -> str:
    """What a run returned; of an object that only wraps a text, as markdown is, that text."""
    try:
        found = json.loads(result) if result.startswith("{") else None
    except ValueError:
        found = None
    values = list(found.values()) if isinstance(found, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else result


def event(one: Mapping[str, Any]) -> str:
    """An event of a run, as a line."""
    more = "  ".join(f"{name}={told(value)}" for name, value in one["data"].items())
    return "  ".join(part for part in (one["at"], one["event"], one.get("node", ""), more) if part)
