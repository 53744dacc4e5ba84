"""The command line: our own few commands, and one for each tool of the catalogue."""

import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import lakehouse
from lakehouse.errors import InvalidInput, LakehouseError
from lakehouse.faces.commands import Invocation, ShortGroup, derived, global_options, taken

_NOTICED_SECS = 1.0  # what takes longer is said
NEXT = """\
That was all: nothing left this machine. Next:
  lakehouse ingest YOUR.csv --name yours        your own data
  lakehouse doctor                              is everything in place?
  lakehouse install claude-code                 or claude-desktop, cursor, vscode: for an agent
  lakehouse serve                               over HTTP: MCP, and a route for each tool"""


@contextmanager
def _usage(as_json: bool) -> Iterator[None]:
    """A line that cannot be understood is a bad request like any other: its exit code, and JSON where that is asked."""
    try:
        yield
    except click.UsageError as error:
        if not as_json:
            error.exit_code = InvalidInput.exit  # type: ignore[misc]
            raise
        command = error.ctx.command_path if error.ctx else "lakehouse"
        fix = f"See `{command} --help`."
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is that help
            raise InvalidInput("arguments are missing.", fix=fix) from None
        raise InvalidInput(error.format_message(), fix=fix) from None


class Root(click.Group):
    """Our own commands and the derived ones; the latter are read only when a name needs them."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the words; what cannot be understood is a bad request like any other."""
        as_json = "--json" in args
        with _usage(as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta["lakehouse.as_json"] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        with _usage(ctx.meta["lakehouse.as_json"]):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._derived(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or self._derived(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command meant: a short word's own, unless a subcommand is named."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.meant(rest) if isinstance(command, ShortGroup) else command, rest

    def _derived(self, ctx: click.Context) -> dict[str, click.Command]:
        found = ctx.meta.get("lakehouse.derived")
        if found is None:
            found = ctx.meta["lakehouse.derived"] = derived(
                _rendering(ctx.params.get("home"), ctx.params.get("config"))
            )
        return dict(found)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where to start."""
        formatter.write_paragraph()
        formatter.write_text(
            'Start with: lakehouse demo. Then: lakehouse ingest FILE --name NAME; lakehouse sql "SELECT …".'
        )


def _rendering(home: str | None, config: str | None) -> dict[str, Any]:
    from lakehouse.rendered import rendered
    from lakehouse.sources import plugin_folders

    return rendered(plugin_folders(_home(home), config, os.environ), _home(home))


def _home(given: str | None) -> Path:
    from lakehouse.sources import default_home

    return Path(given).expanduser().resolve() if given else default_home()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home", metavar="DIR", help="The data directory. [default: LAKEHOUSE_HOME, else the user's data folder]"
)
@click.option("--config", metavar="FILE", help="The config file. [default: lakehouse.toml in the data directory]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--profile", metavar="NAME", help="Be bound to this profile: see its datasets only.")
@click.version_option(lakehouse.__version__, prog_name="lakehouse")
@click.pass_context
def root(ctx: click.Context, home: str | None, config: str | None, as_json: bool, profile: str | None) -> None:
    """SQL over versioned tables and search in plain words, for AI agents over MCP and from here."""
    ctx.obj = Invocation(home, config, as_json, profile, run)


def own(function: Callable[..., None]) -> Callable[..., None]:
    """One of our own commands: it takes the options of the whole command line too, as its first argument."""

    @click.pass_context
    def callback(ctx: click.Context, /, **given: Any) -> None:
        function(taken(ctx, given), **given)

    command = functools.wraps(function)(callback)
    command.__click_params__ = global_options()  # type: ignore[attr-defined]
    return command


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
        async with lakehouse.open(invocation.home, config_file=invocation.config, profile=invocation.profile) as lake:
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

    answer = _guarded(called)
    if isinstance(answer, dict) and answer.get("ok") is False:  # a report that something is wrong
        sys.exit(1)


def _guarded(work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
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


@root.command()
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


@root.command()
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


@root.command()
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


@root.command()
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


@root.command()
@own
def doctor(here: Invocation) -> None:
    """Check that everything is in its place. What is not comes with its fix."""
    from lakehouse.faces import terminal
    from lakehouse.lake import examine

    report = _guarded(functools.partial(examine, here.home, config_file=here.config))
    if here.json:
        terminal.show(report, as_json=True)
    else:
        terminal.show_checks(report["checks"])
    sys.exit(0 if report["ok"] else 1)


@root.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@own
def init(here: Invocation, folder: str) -> None:
    """Write a project of your own. It has a config file and folders for tools, queries, workflows and so on."""
    from lakehouse.faces import terminal
    from lakehouse.project import create

    terminal.show(create(folder), as_json=here.json)


@root.command()
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


@root.command()
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

    terminal.show(_guarded(work), as_json=here.json)


@root.command()
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
        async for step in steps(folder, _home(here.home) if here.home else None):
            played.append({"title": step.title, "command": step.command, "result": step.result})
            if not here.json:
                terminal.show_step(step.title, step.command, step.result)

    with tempfile.TemporaryDirectory(prefix="lakehouse-demo-") as folder:
        _guarded(play, Path(folder))
    if here.json:
        terminal.show({"steps": played}, as_json=True)
    else:
        click.echo(NEXT)


@root.command()
@click.option("--quick", is_flag=True, help="Smaller sizes; under a minute.")
@own
def bench(here: Invocation, quick: bool) -> None:
    """Measure this machine. The reference figures are printed beside ours."""
    from lakehouse.faces import terminal
    from lakehouse.measure import measure

    report = _guarded(measure, quick)
    terminal.show(report, as_json=here.json)
    sys.exit(0 if report["passed"] else 1)


def _reworded(text: str) -> str:
    """Advice with the commands in place of the MCP tools it names."""
    from lakehouse.faces.wording import for_people
    from lakehouse.rendered import rendered

    return for_people(text, rendered()["tools"])


def main() -> None:
    """The entry point of both scripts; `lakehouse-mcp` without arguments is `stdio`."""
    arguments = sys.argv[1:]
    if not arguments and os.path.basename(sys.argv[0]).startswith("lakehouse-mcp"):
        arguments = ["stdio"]
    try:
        root.main(arguments, prog_name="lakehouse")
    except LakehouseError as error:
        from lakehouse.faces import terminal

        terminal.show_error(error, as_json="--json" in arguments, reworded=_reworded)
        sys.exit(error.exit)
    except Exception as error:  # what nobody foresaw is said in a line; LAKEHOUSE_DEBUG shows the rest
        if os.environ.get("LAKEHOUSE_DEBUG"):
            raise
        click.echo(f"error: {type(error).__name__}: {error}\n  Set LAKEHOUSE_DEBUG=1 to see where.", err=True)
        sys.exit(LakehouseError.exit)
