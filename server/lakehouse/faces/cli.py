"""The command line: our own few commands, and one for each tool of the catalogue."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import lakehouse
from lakehouse.errors import InvalidInput, LakehouseError
from lakehouse.faces import own, running
from lakehouse.faces.calling import run
from lakehouse.faces.commands import Invocation, ShortGroup, derived, home_of


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
            for command in running.BELOW:
                if isinstance(group := found.get("workflow"), click.Group):
                    group.add_command(command)
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

    return rendered(plugin_folders(home_of(home), config, os.environ), home_of(home))


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


for _command in (*own.COMMANDS, *running.COMMANDS):
    root.add_command(_command)


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
