"""Commands derived from the catalogue: one per tool, typed from its schema, and the short words people expect."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lakehouse.faces.wording import example, for_people, quoted

SCALARS = {"string": click.STRING, "integer": click.INT, "number": click.FLOAT}


@dataclass
class Invocation:
    """What holds for the whole command line; `run` calls a capability with arguments and shows what it answers."""

    home: str | None
    config: str | None
    json: bool
    profile: str | None
    run: Callable[["Invocation", str, dict[str, Any]], None]


class ShortGroup(click.Group):
    """A group whose name may be a short word too: `lakehouse sql "SELECT 1"` for `lakehouse sql query "SELECT 1"`."""

    short: click.Command | None = None

    def meant(self, args: list[str]) -> click.Command:
        """The short command, unless the first argument names a subcommand or asks for help."""
        if self.short is None or not args or args[0] in {*self.commands, "-h", "--help"}:
            return self
        return self.short

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to write it."""
        if self.short is not None:
            formatter.write_usage(ctx.command_path, " ".join(self.short.collect_usage_pieces(ctx)))
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]…")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The short word's options, then the subcommands."""
        if self.short is not None:
            self.short.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def derived(rendering: Mapping[str, Any]) -> dict[str, click.Command]:
    """Top-level commands: a group for each first word of the tools' names, and every declared short word."""
    top: dict[str, click.Command] = {}
    tools = rendering["tools"]
    for spec in tools:
        group, name = spec["command"][0], "-".join(spec["command"][1:])
        about = for_people(rendering["groups"].get(group, ""), tools)
        branch = top.setdefault(group, ShortGroup(group, help=about))
        assert isinstance(branch, ShortGroup)
        branch.add_command(command(spec, [group, name], required(spec), tools))
    for spec in tools:
        if spec["short"]:
            word, *positional = spec["short"].split()
            short = command(spec, [word], [p.lower() for p in positional], tools, spec.get("short_defaults"))
            found = top.get(word)
            if isinstance(found, ShortGroup):
                found.short = short
                found.help, found.short_help, found.epilog = short.help, short.short_help, short.epilog
            else:
                top[word] = short
    return top


def required(spec: Mapping[str, Any]) -> list[str]:
    """The parameters that have no default, in order: the positional ones."""
    schema = spec["input_schema"]
    return [name for name in schema["properties"] if name in schema.get("required", ())]


def command(
    spec: Mapping[str, Any],
    words: list[str],
    positional: list[str],
    tools: Sequence[Mapping[str, Any]] = (),
    defaults: Mapping[str, Any] | None = None,
) -> click.Command:
    """A command for one tool. Objects are given as JSON or as k=v,k=v; lists with commas, or as JSON.

    Where its help mentions another of `tools`, it names that one's command. `defaults` are arguments it gives in place
    of the tool's own defaults.
    """
    schema = spec["input_schema"]
    defaults = defaults or {}
    params: list[click.Parameter] = []
    for parameter in positional:
        inner = schema["properties"][parameter]
        last = parameter == positional[-1]
        many = last and inner.get("type") == "array" and inner.get("items", {}).get("type") in SCALARS
        kind = Value(inner["items"] if many else inner)
        # What may come in another way, as an option, is missed by the tool itself.
        needed = parameter in schema.get("required", ())
        params.append(click.Argument([parameter], type=kind, nargs=-1 if many else 1, required=needed))
    for parameter, inner in schema["properties"].items():
        if parameter not in positional:
            about = for_people(inner.get("description", ""), tools)
            shown = {**inner, "description": about, "default": defaults.get(parameter, inner.get("default"))}
            params.append(_option(parameter, shown, parameter in schema.get("required", ())))
    first = next(iter(schema["properties"]), "")
    usual = first if not positional and schema["properties"].get(first, {}).get("type") == "string" else ""
    if usual:  # what people write who need not give anything: `playbook lookup "a question"`
        params.insert(0, click.Argument(["usual_"], metavar=f"[{usual.upper()}]", required=False))
    # A tool's own --profile says the same.
    params += [one for one in global_options() if "profile" not in schema["properties"] or one.name != "profile_"]

    @click.pass_context
    def callback(ctx: click.Context, /, **given: Any) -> None:
        invocation = taken(ctx, given)
        if (word := given.pop("usual_", None)) is not None:
            if given[usual] is not None:
                raise click.UsageError(f"{usual} is given twice: {word!r} and --{usual.replace('_', '-')}.", ctx)
            given[usual] = Value(schema["properties"][usual]).convert(word, None, ctx)
        arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items() if v not in (None, ())}
        invocation.run(invocation, spec["name"], {**defaults, **arguments})

    about = for_people(spec["description"], tools)
    line = example(spec, words, positional)
    epilog = f"\b\nExample:\n  {quoted(line)}" if line else None
    title = f"{spec['title']}."
    return click.Command(words[-1], params=params, callback=callback, help=about, short_help=title, epilog=epilog)


def global_options() -> list[click.Parameter]:
    """The options of the whole command line, accepted after the command too."""
    return [
        click.Option(["--json", "json_"], is_flag=True, default=None, help="Print JSON."),
        click.Option(["--home", "home_"], hidden=True, metavar="DIR"),
        click.Option(["--config", "config_"], hidden=True, metavar="FILE"),
        click.Option(["--profile", "profile_"], hidden=True, metavar="NAME"),
    ]


def taken(ctx: click.Context, given: dict[str, Any]) -> Invocation:
    """Take the options of the whole command line out of a command's own."""
    base = ctx.find_root().obj
    assert isinstance(base, Invocation)
    as_json, home, config = given.pop("json_"), given.pop("home_"), given.pop("config_")
    return Invocation(
        home or base.home,
        config or base.config,
        base.json if as_json is None else as_json,
        given.pop("profile_", None) or base.profile,
        base.run,
    )


def own(function: Callable[..., None]) -> Callable[..., None]:
    """One of our own commands: it takes the options of the whole command line too, as its first argument."""

    @click.pass_context
    def callback(ctx: click.Context, /, **given: Any) -> None:
        function(taken(ctx, given), **given)

    command = functools.wraps(function)(callback)
    command.__click_params__ = global_options()  # type: ignore[attr-defined]
    return command


def home_of(given: str | None) -> Path:
    """The data directory: the one given, else the usual one."""
    from lakehouse.sources import default_home

    return Path(given).expanduser().resolve() if given else default_home()


def _option(name: str, schema: Mapping[str, Any], needed: bool) -> click.Option:
    words = ["-" + name] if len(name) == 1 else []
    flag = "--" + name.replace("_", "-")
    about = schema.get("description", "")
    default = schema.get("default")
    if default not in (None, "", [], {}) and not isinstance(default, bool):
        about += f" [default: {default if isinstance(default, str | int | float) else json.dumps(default)}]"
    if schema.get("type") == "boolean":
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=about)
    return click.Option([*words, flag, name], type=Value(schema), required=needed, help=about)


class Value(click.ParamType[Any]):
    """A parameter's value, typed by its JSON Schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        kind = schema.get("type")
        self.name = {"array": "list", "object": "k=v"}.get(str(kind), str(kind or "value"))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """How the value is written."""
        if isinstance(param, click.Argument):
            return None
        if "enum" in self.schema:
            return "[" + "|".join(map(str, self.schema["enum"])) + "]"
        if self.schema.get("items", {}).get("type") == "object":
            return "JSON"
        return {"array": "A,B", "object": "K=V,…", "integer": "N", "number": "X"}.get(
            str(self.schema.get("type")), "TEXT"
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or a usage error that says how to write it."""
        kind = self.schema.get("type")
        if not isinstance(value, str) or kind == "string":
            # A path is meant from where the shell stands, whoever opens it.
            return str(Path(value).absolute()) if self.schema.get("format") == "path" and value else value
        if kind in SCALARS:
            return SCALARS[str(kind)].convert(value, param, ctx)
        if kind == "array" and not value.lstrip().startswith("["):
            item = Value(self.schema.get("items", {}))
            return [item.convert(part.strip(), param, ctx) for part in value.split(",") if part.strip()]
        if kind == "object" and not value.lstrip().startswith("{"):
            pairs = [part.partition("=") for part in value.split(",") if part.strip()]
            if any(not separator for _, separator, _ in pairs):
                self.fail("write it as name=value,name=value or as a JSON object", param, ctx)
            inner = self.schema.get("additionalProperties")
            each = Value(inner if isinstance(inner, dict) else {})  # of any type: a number is one
            return {key.strip(): each.convert(text, param, ctx) for key, _, text in pairs}
        try:
            return json.loads(value)
        except ValueError:
            if kind in {"array", "object"}:
                self.fail("it is not valid JSON", param, ctx)
        named = [one for one in self.schema.get("anyOf", ()) if one.get("type") == "object"]
        return Value(named[0]).convert(value, param, ctx) if named and "=" in value else value
