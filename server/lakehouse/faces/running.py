"""The commands that workflows have beside the derived ones: run one, examine files, watch events."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from lakehouse.errors import InvalidInput, Unprocessable
from lakehouse.faces.calling import calls, run
from lakehouse.faces.commands import Invocation, own


@click.command("run")
@click.argument("workflow")
@click.argument("message", nargs=-1)
@click.option("--input", "-i", "inputs", metavar="K=V", multiple=True, help="An input; K=@FILE reads a file.")
@click.option("--message", "said", metavar="TEXT", help="The message, if it is no words after the workflow.")
@click.option("--dry-run", is_flag=True, help="Call nothing and keep nothing: see which nodes would run.")
@click.option("--stubs", metavar="FILE", help="What nodes put out in a dry run: YAML or JSON, by id.")
@click.option("--exec-code", is_flag=True, help="Run bash and scripts in a dry run all the same.")
@click.option("--pause-at-gates", is_flag=True, help="Stop at gates in a dry run.")
@click.option("--background", is_flag=True, help="Answer at once. A server has to have the data directory.")
@click.option("--provider-map", metavar="P=M", multiple=True, help="The model for a provider that the file names.")
@own
def run_workflow(
    here: Invocation,
    workflow: str,
    message: tuple[str, ...],
    inputs: tuple[str, ...],
    said: str | None,
    stubs: str | None,
    provider_map: tuple[str, ...],
    **given: bool,
) -> None:
    """Run a workflow. Name one that `lakehouse workflow list` shows, or a file; words after it are its message.

    Exit codes: 0 completed, 1 failed, 3 cancelled, 4 waits for an approval, 65 cannot run, 130 interrupted.

    \b
    Example:
      lakehouse run fixture-chain --input word=hello
    """
    arguments: dict[str, Any] = {"workflow": workflow, **{name: True for name, value in given.items() if value}}
    if message or said is not None:
        arguments["message"] = " ".join(message) if said is None else said
    if inputs:
        arguments["input"] = {name: _value(value) for name, value in (_pair(one, "--input") for one in inputs)}
    if stubs is not None:
        arguments["stubs"] = _stubs(stubs)
    if provider_map:
        arguments["provider_map"] = dict(_pair(one, "--provider-map") for one in provider_map)
    run(here, "workflow.run", arguments)


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE|NAME|FOLDER]…")
@own
def validate(here: Invocation, files: tuple[str, ...]) -> None:
    """Examine workflows. It tells what is wrong or strange, and what of the language they use; without a name, of all.

    With --json, and one file, its report; else {"files": [...]}. It ends with 65 where one cannot run.

    \b
    Example:
      lakehouse workflow validate deploy.yaml
    """
    answers = calls(here, [("workflow.validate", {"workflow": file} if file else {}) for file in files or ("",)])
    reports = [report for answer in answers for report in answer["files"]]
    valid = all(report["valid"] for report in reports)
    if here.json:
        alone = reports[0] if len(files) == 1 and len(reports) == 1 else None
        click.echo(json.dumps(alone or {"valid": valid, "files": reports, "count": len(reports)}, ensure_ascii=False))
    else:
        for report in reports:
            _show(report)
    if not valid:
        sys.exit(Unprocessable.exit)


@click.command()
@click.argument("run")
@click.option("--node", metavar="NODE", help="Only this node's, with what its programs printed last.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="N", help="Those after the event of this number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, metavar="N", help="At most.  [default: 100]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends or waits for somebody.")
@own
def logs(here: Invocation, run: str, node: str | None, after: int, limit: int, follow: bool) -> None:
    """Show what happened in a run, event by event.

    \b
    Example:
      lakehouse workflow logs RUN --follow
    """
    from lakehouse.faces.calling import show_logs

    show_logs(here, {"run": run, "after": after, "limit": limit, **({"node": node} if node else {})}, follow)


COMMANDS = (run_workflow,)
BELOW = (validate, logs)  # in the group `workflow`, in place of the derived ones


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InvalidInput(f"{option}: {text[:80]!r} is no name=value.", fix=f"Write {option} name=value.")
    return name.strip(), value


def _value(text: str) -> str:
    return _read(text[1:], "--input") if text.startswith("@") else text


def _stubs(file: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(_read(file, "--stubs"))
    except (yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())[:300]
        raise InvalidInput(f"--stubs: {file} is not YAML: {said}.", fix="Mend it.") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"--stubs: {file} is no mapping.", fix="Write NODE: OUTPUT, a line each.")
    return {str(name): value for name, value in found.items()}


def _read(file: str, option: str) -> str:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InvalidInput(f"{option}: {file} cannot be read: {why}.", fix="Name another file.") from None


def _show(report: dict[str, Any]) -> None:
    from lakehouse.faces.terminal import printed

    word, colour = ("ok  ", "green") if report["valid"] else ("FAIL", "red")
    name = printed(f"{report['name']}  {report['nodes']} nodes  {report['file']}")
    click.echo(f"{click.style(word, fg=colour)}  {name}")
    for kind, colour in (("errors", "red"), ("warnings", "yellow")):
        for one in report[kind]:
            line = f" (line {one['line']})" if one["line"] else ""
            said = printed(f"{one['where']}{line}: {one['message']} {one['fix']}")
            click.echo(f"      {click.style(kind[:-1], fg=colour)} {said}")
    for kind, names in report["missing"].items():
        if names:
            click.echo(printed(f"      missing {kind}: {', '.join(names)}"))
