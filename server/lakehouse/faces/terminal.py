"""Results and errors as people read them: tables on a terminal, JSON on request, progress on stderr."""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from lakehouse.errors import LakehouseError
from lakehouse.observe import Progress

MAX_SHOWN_ROWS = 200
MAX_CELL = 120
MIN_FOLDED = 16  # a longer cell may be folded to this many characters and is still read easily
NOTHING = "∅"


def show(value: Any, *, as_json: bool) -> None:
    """Print a result: compact JSON, or tables and lines."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False))
        return
    if not isinstance(value, dict):
        click.echo(printed(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
        return
    if set(value) == {"text"} and isinstance(value["text"], str):
        click.echo(printed(value["text"]) if sys.stdout.isatty() else value["text"])
        return
    rest = dict(value)
    if _is_table(value.get("columns")) and isinstance(value.get("rows"), list):
        _rows([str(column.get("name", "")) for column in rest.pop("columns")], rest.pop("rows"))
    else:
        tables = {key: rest.pop(key) for key, inner in value.items() if _is_table(inner)}
        for key, items in tables.items():
            names = list(dict.fromkeys(name for item in items for name in item))
            if len(tables) > 1:
                click.echo(f"{key}:")
            _rows(names, [[_gist(item.get(name)) for name in names] for item in items])
    for key, inner in rest.items():
        if isinstance(inner, dict) and any(map(_is_table, inner.values())):
            click.echo(f"\n{key}:")
            show(inner, as_json=False)
        elif inner not in (None, [], {}):
            click.echo(f"{key}: {_told(inner)}")


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return printed(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def printed(text: str) -> str:
    """A text of several lines that a terminal can be given: what would steer it is left out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def show_step(title: str, command: str, result: dict[str, Any]) -> None:
    """Print one step of a demonstration."""
    click.echo(click.style(f"\n{title}", bold=True))
    click.echo(click.style(f"$ {command}", fg="cyan"))
    show(result, as_json=False)


def show_error(error: LakehouseError, *, as_json: bool, reworded: Callable[[str], str] = str) -> None:
    """Print an error on stderr: what happened, then what to do, `reworded` for a person."""
    problem = error.problem()
    if as_json:
        click.echo(json.dumps(problem, ensure_ascii=False), err=True)
        return
    click.echo(click.style("error: ", fg="red", bold=True) + printed(problem["detail"]), err=True)
    if "fix" in problem:
        click.echo(f"  {printed(reworded(problem['fix']))}", err=True)


def show_checks(checks: list[dict[str, Any]]) -> None:
    """Print what was examined: a line each, and the fix below what failed."""
    for check in checks:
        word, colour = (
            ("ok  ", "green") if check["ok"] else ("FAIL", "red") if check["required"] else ("warn", "yellow")
        )
        click.echo(f"{click.style(word, fg=colour)}  {check['name']}: {check['detail']}")
        if not check["ok"] and check["fix"]:
            click.echo(f"      {check['fix']}")


def show_settings(home: str, file: str, rows: list[dict[str, Any]]) -> None:
    """Print settings: a line each, with where it was set if it was, and what it means below."""
    click.echo(f"home: {home}\nfile: {file}")
    width = shutil.get_terminal_size().columns
    for row in rows:
        value = json.dumps(row["value"], ensure_ascii=False)
        origin = "" if row["origin"] == "default" else click.style(f"  ({row['origin']})", dim=True)
        click.echo(f"{click.style(row['setting'], bold=True)} = {value}{origin}")
        click.echo(click.wrap_text(row["meaning"], width, initial_indent="    ", subsequent_indent="    "))


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Where a call's progress goes: a bar on a terminal, nowhere else."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as shown:
        update: Callable[..., None] | None = None

        async def heard(done: float, total: float | None, message: str) -> None:
            nonlocal update
            update = update or _bar(shown)
            update(completed=done, total=total, description=message)

        yield heard


def _bar(shown: ExitStack) -> Callable[..., None]:
    """Show a bar, for as long as the stack is open; returns what moves it. Most calls report nothing and need none."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    bar = shown.enter_context(Bar(*columns, console=Console(stderr=True), transient=True))
    return functools.partial(bar.update, bar.add_task("", total=None))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _rows(names: list[str], rows: list[list[Any]]) -> None:
    # A pipe has no width: what reads it wants whole lines.
    width = None if sys.stdout.isatty() else 10_000
    cells = [[_cell(value) for value in row] for row in rows[:MAX_SHOWN_ROWS]]
    narrowest = [max(len(name), *(min(len(r[i]), MIN_FOLDED) for r in cells), 0) for i, name in enumerate(names)]
    if sum(narrowest) + 3 * len(names) > (width or shutil.get_terminal_size().columns) and cells:
        _records(names, cells)
    else:
        numeric = [all(isinstance(r[i], int | float) or r[i] is None for r in rows) and rows for i in range(len(names))]
        _table(names, cells, [bool(right) for right in numeric], width)
    if len(rows) > MAX_SHOWN_ROWS:
        click.echo(f"… and {len(rows) - MAX_SHOWN_ROWS} more rows; --json prints them all")


def _records(names: list[str], cells: list[list[str]]) -> None:
    """A table too wide for the terminal: a line for each value, and an empty one after each row."""
    margin = max(map(len, names))
    for row in cells:
        for name, cell in zip(names, row, strict=True):
            click.echo(f"{click.style(name.rjust(margin), bold=True)}  {cell}")
        click.echo()


def _table(names: list[str], cells: list[list[str]], numeric: list[bool], width: int | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style="dim" if cell == NOTHING else "") for cell in row))
    Console(width=width, highlight=False).print(table)


def _gist(value: Any) -> Any:
    """Of an object in a table, what says most: its text, what a score is the sum of, its source, else its values."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("text"), str):
        return value["text"]
    addends: Any = value.get("addends")
    if _is_table(addends):
        return " + ".join(f"{part.get('name')} {_cell(part.get('value'))}" for part in addends)
    if isinstance(source := value.get("source"), str) and isinstance(value.get(source), str):
        return f"{source} {value[source]}"
    told = [(name, inner) for name, inner in value.items() if inner not in (None, False, "", [], {})]
    return ", ".join(name if inner is True else f"{name} {_cell(inner)}" for name, inner in told) or None


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Control characters in data must not reach a terminal.
    text = "".join(c if c.isprintable() else " " for c in text[: MAX_CELL * 2])
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
