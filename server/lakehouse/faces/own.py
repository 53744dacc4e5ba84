"""The commands that are no capability: servers, settings, setting up, looking after, the demonstration."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import click

import lakehouse
from lakehouse.errors import InvalidInput
from lakehouse.faces.calling import guarded, run
from lakehouse.faces.commands import Invocation, home_of, own

NEXT = """\
That was all: nothing left this machine. Next:
  lakehouse ingest YOUR.csv --name yours        your own data
  lakehouse doctor                              is everything in place?
  lakehouse install claude-code                 or claude-desktop, cursor, vscode: for an agent
  lakehouse serve                               over HTTP: MCP, and a route for each tool"""


@click.command()
@click.option("--toolsets", metavar="A,B", help="Publish only these toolsets. [default: all]")
@click.option("--read-only", is_flag=True, default=None, help="Hide and refuse whatever writes.")
@click.option("--gateway", metavar="URL", help="Pass everything on to the server running there, over HTTP.")
@own
def stdio(here: Invocation, toolsets: str | None, read_only: bool | None, gateway: str | None) -> None:
    """Serve MCP over stdin and stdout. Claude Desktop, Claude Code and other hosts start this."""
    if gateway is not None:
        from lakehouse.faces.gateway import pass_on

        pass_on(gateway, here.home, here.config, _published(here, toolsets, read_only))
        return
    from lakehouse.faces.serve import stdio as serve_stdio

    serve_stdio(here.home, here.config, _published(here, toolsets, read_only))


@click.command()
@click.option("--host", metavar="H", help="The address to listen at. [default: that of server.bind]")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), help="The port. [default: that of server.bind]")
@click.option("--toolsets", metavar="A,B", help="Publish only these toolsets over MCP. [default: all]")
@click.option("--read-only", is_flag=True, default=None, help="Hide and refuse whatever writes.")
@own
def serve(here: Invocation, host: str | None, port: int | None, toolsets: str | None, read_only: bool | None) -> None:
    """Serve MCP and the service API over HTTP. It listens on this machine only, unless told otherwise."""
    from lakehouse.faces.serve import http

    http(here.home, here.config, _published(here, toolsets, read_only), host, port)


def _published(here: Invocation, toolsets: str | None, read_only: bool | None) -> dict[str, Any]:
    """The settings that say what a server shows."""
    overrides: dict[str, Any] = {} if here.profile is None else {"server.profile": here.profile}
    if toolsets is not None:
        overrides["server.toolsets"] = [part.strip() for part in toolsets.split(",") if part.strip()]
    if read_only:
        overrides["server.read_only"] = True
    return overrides


@click.command()
@click.argument("capability")
@click.argument("arguments", default="{}")
@own
def call(here: Invocation, capability: str, arguments: str) -> None:
    """Call any capability by name. The arguments are a JSON object; `-` reads them from stdin.

    \b
    Example:
      lakehouse call sql.query '{"sql": "SELECT 1"}'
    """
    text = sys.stdin.read() if arguments == "-" else arguments
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidInput(
            f"the arguments are not JSON: {error}.", fix="""Write them like '{"name": "orders"}'."""
        ) from None
    here.json = True
    run(here, capability, given)


@click.command()
@own
def config(here: Invocation) -> None:
    """Show every setting, its value and where it came from."""
    from lakehouse.config import listing, read
    from lakehouse.faces import terminal

    settings = read(here.home, here.config)
    rows = listing(settings)
    file = str(settings.file) if settings.file else "none"
    if here.json:
        terminal.show({"home": str(settings.home), "file": file, "settings": rows}, as_json=True)
    else:
        terminal.show_settings(str(settings.home), file, rows)


@click.command()
@own
def doctor(here: Invocation) -> None:
    """Check that everything is in its place. What is not comes with its fix."""
    from lakehouse.faces import terminal
    from lakehouse.lake import examine

    report = guarded(functools.partial(examine, here.home, config_file=here.config))
    if here.json:
        terminal.show(report, as_json=True)
    else:
        terminal.show_checks(report["checks"])
    sys.exit(0 if report["ok"] else 1)


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@own
def init(here: Invocation, folder: str) -> None:
    """Write a project of your own. It has a config file and folders for tools, queries, workflows and so on."""
    from lakehouse.faces import terminal
    from lakehouse.project import create

    terminal.show(create(folder), as_json=here.json)


@click.command()
@click.argument("client", type=click.Choice(["claude-desktop", "claude-code", "cursor", "vscode"]))
@click.option("--print", "show", is_flag=True, help="Print what to paste, and write nothing.")
@click.option("--name", metavar="NAME", help="What the client calls it. [default: lakehouse]")
@click.option("--project", metavar="DIR", help="For one project only, not for all of this user's.")
@click.option("--http", metavar="[URL]", is_flag=False, flag_value="", help="Reach a running server, not start one.")
@click.option("--gateway", metavar="URL", help="Start a small process that passes everything on to a running server.")
@click.option("--toolsets", metavar="A,B", help="Publish only these toolsets. [default: all]")
@click.option("--read-only", is_flag=True, default=None, help="Hide and refuse whatever writes.")
@click.option("--force", is_flag=True, help="Replace another server of the same name.")
@own
def install(here: Invocation, client: str, show: bool, **wished: Any) -> None:
    """Add Lakehouse to an MCP client.

    The entry starts this very installation, with the --home and --config given here. Whatever else the client's file
    holds stays as it is. Of another installation or folder, add a second one: --name.
    """
    from lakehouse.faces import terminal
    from lakehouse.faces.install import Wish, install, shown

    wish = Wish(here.home, here.config, **wished)
    if show:
        click.echo(json.dumps(shown(client, wish), ensure_ascii=False, indent=2))
    else:
        terminal.show(install(client, wish), as_json=here.json)


@click.command()
@click.argument("file", type=click.Path())
@own
def restore(here: Invocation, file: str) -> None:
    """Make a new data directory of a backup. It must not be there yet: name it with --home.

    \b
    Example:
      lakehouse restore lake.tar.zst --home ~/restored
    """
    from lakehouse.faces import terminal

    if here.home is None:
        raise InvalidInput("--home is missing: the directory to restore into.", fix="Add --home NEW.")
    home = str(Path(here.home).expanduser().absolute())

    async def work() -> dict[str, Any]:
        with terminal.progress_bar() as progress:
            return await lakehouse.restore(file, home, progress=progress)

    terminal.show(guarded(work), as_json=here.json)


@click.command()
@own
def demo(here: Invocation) -> None:
    """See it work, on made-up data. A file becomes a table, a question rows, plain words find the right records.

    Nothing is kept, unless --home names a data directory.
    """
    import tempfile

    from lakehouse.demo import steps
    from lakehouse.faces import terminal

    played: list[dict[str, Any]] = []

    async def play(folder: Path) -> None:
        async for step in steps(folder, home_of(here.home) if here.home else None):
            played.append({"title": step.title, "command": step.command, "result": step.result})
            if not here.json:
                terminal.show_step(step.title, step.command, step.result)

    with tempfile.TemporaryDirectory(prefix="lakehouse-demo-") as folder:
        guarded(play, Path(folder))
    if here.json:
        terminal.show({"steps": played}, as_json=True)
    else:
        click.echo(NEXT)


@click.command()
@click.option("--quick", is_flag=True, help="Smaller sizes; under a minute.")
@own
def bench(here: Invocation, quick: bool) -> None:
    """Measure this machine. The reference figures are printed beside ours."""
    from lakehouse.faces import terminal
    from lakehouse.measure import measure

    report = guarded(measure, quick)
    terminal.show(report, as_json=here.json)
    sys.exit(0 if report["passed"] else 1)


COMMANDS = (stdio, serve, call, config, doctor, init, install, restore, demo, bench)
