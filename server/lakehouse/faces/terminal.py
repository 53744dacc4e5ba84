"""Results and errors as people read them: tables on a terminal, JSON on request, progress on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from lakehouse.errors import LakehouseError
from lakehouse.observe import Progress

MAX_SHOWN_ROWS = 200
MAX_CELL = 120


def show(value: Any, *, as_json: bool) -> None:
    """Print a result: compact JSON, or tables and lines."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False))
        return
    if not isinstance(value, dict):
        click.echo(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
        return
    tables = {key: inner for key, inner in value.items() if _is_table(inner)}
    if isinstance(value.get("columns"), list) and isinstance(value.get("rows"), list):
        _rows([column["name"] for column in value["columns"]], value["rows"])
        tables = {}
        value = {key: inner for key, inner in value.items() if key not in {"columns", "rows"}}
    for key, inner in tables.items():
        names = list(dict.fromkeys(name for item in inner for name in item))
        if len(tables) > 1:
            click.echo(f"{key}:")
        _rows(names, [[item.get(name) for name in names] for item in inner])
    for key, inner in value.items():
        if key not in tables and inner is not None:
            click.echo(f"{key}: {inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)}")


def show_step(title: str, command: str, result: dict[str, Any]) -> None:
    """Print one step of a demonstration."""
    click.echo(click.style(f"\n{title}", bold=True))
    click.echo(click.style(f"$ {command}", fg="cyan"))
    show(result, as_json=False)


def show_error(error: LakehouseError, *, as_json: bool) -> None:
    """Print an error on stderr: what happened, then what to do."""
    if as_json:
        click.echo(json.dumps(error.problem(), ensure_ascii=False), err=True)
        return
    click.echo(click.style("error: ", fg="red", bold=True) + error.detail, err=True)
    if error.fix:
        click.echo(f"  {error.fix}", err=True)


def show_checks(checks: list[dict[str, Any]]) -> None:
    """Print what was examined: a line each, and the fix below what failed."""
    for check in checks:
        word, colour = (
            ("ok  ", "green") if check["ok"] else ("FAIL", "red") if check["required"] else ("warn", "yellow")
        )
        click.echo(f"{click.style(word, fg=colour)}  {check['name']}: {check['detail']}")
        if not check["ok"] and check["fix"]:
            click.echo(f"      {check['fix']}")


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Where a call's progress goes: a bar on a terminal, nowhere else."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        async def heard(done: float, total: float | None, message: str) -> None:
            bar.update(task, completed=done, total=total, description=message, visible=True)

        yield heard


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _rows(names: list[str], rows: list[list[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    numeric = [all(isinstance(r[i], int | float) or r[i] is None for r in rows) for i in range(len(names))]
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right and rows else "left", overflow="fold")
    for row in rows[:MAX_SHOWN_ROWS]:
        table.add_row(*(_cell(value) for value in row))
    # A pipe has no width: what reads it wants whole lines.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False).print(table)
    if len(rows) > MAX_SHOWN_ROWS:
        click.echo(f"… and {len(rows) - MAX_SHOWN_ROWS} more rows; --json prints them all")


def _cell(value: Any) -> Any:
    from rich.text import Text

    if value is None:
        return Text("∅", style="dim")
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]  # of a record, its text says most
    if isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Control characters in data must not reach a terminal.
    text = "".join(c if c.isprintable() else " " for c in text[: MAX_CELL * 2])
    return Text(text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…")
