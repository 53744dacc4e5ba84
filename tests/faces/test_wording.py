"""What a person reads of a tool: no tool names, no JSON, and an example that does what the JSON one says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from lakehouse.catalogue import Catalogue
from lakehouse.faces import wording
from lakehouse.faces.commands import Invocation, ShortGroup, derived
from lakehouse.lake.arguments import validated
from lakehouse.rendered import render

CATALOGUE = Catalogue()
RENDERING = render(CATALOGUE)
TOP = derived(RENDERING)
WITH_EXAMPLE = [spec for spec in RENDERING["tools"] if "Example" in spec["description"]]
each_example = pytest.mark.parametrize("spec", WITH_EXAMPLE, ids=lambda spec: spec["mcp_name"])


def commands(spec: dict[str, Any]) -> list[click.Command]:
    """The tool's command, and that of its short word."""
    group = TOP[spec["command"][0]]
    assert isinstance(group, ShortGroup)
    found = [group.commands["-".join(spec["command"][1:])]]
    if spec["short"]:
        short = TOP[spec["short"].split()[0]]
        found.append(short.short if isinstance(short, ShortGroup) and short.short else short)
    return found


def run(line: list[str]) -> dict[str, Any]:
    """The arguments a command line comes to."""
    given: list[dict[str, Any]] = []
    root = click.Group("lakehouse", commands=TOP)
    root.resolve_command = _resolve  # type: ignore[method-assign]
    here = Invocation(None, None, False, None, lambda here, name, arguments: given.append(arguments))
    root.main(line, standalone_mode=False, obj=here)
    return given[0]


def _resolve(ctx: click.Context, args: list[str]) -> tuple[str, click.Command, list[str]]:
    command = TOP[args[0]]
    return args[0], command.meant(args[1:]) if isinstance(command, ShortGroup) else command, args[1:]


def test_there_are_examples() -> None:
    assert len(WITH_EXAMPLE) >= 7


@each_example
def test_the_examples_run_from_the_shell_as_they_do_over_mcp(spec: dict[str, Any]) -> None:
    meant = json.loads(re.sub(r"\s+", " ", spec["description"].partition("Example:")[2]).strip(" ."))
    validated(CATALOGUE[spec["name"]], meant)
    for name in meant:
        if spec["input_schema"]["properties"][name].get("format") == "path":
            meant[name] = str(Path(meant[name]).absolute())
    for command in commands(spec):
        shown = (command.epilog or "").splitlines()[-1]
        typed = shlex.split(shown)
        assert typed[0] == "lakehouse" and len(shown) < 120
        always = (spec["short_defaults"] or {}) if typed[1] == spec["short"].partition(" ")[0] else {}
        assert run(typed[1:]) == always | meant, shown


@pytest.mark.parametrize("name", sorted(TOP))
def test_nobody_at_a_shell_reads_tool_names_or_json_examples(name: str) -> None:
    tools = {spec["mcp_name"] for spec in RENDERING["tools"] if "_" in spec["mcp_name"]}
    group = TOP[name]
    parts = [group, *(group.commands.values() if isinstance(group, ShortGroup) else ())]
    for command in parts:
        text = command.help or ""
        text += " ".join(param.help or "" for param in command.params if isinstance(param, click.Option))
        assert "Example" not in text and not tools & set(re.findall(r"\w+", text)), text
    assert not (parts[0].get_short_help_str(64)).endswith("..."), parts[0].help


def test_words_are_quoted_as_a_shell_needs_them() -> None:
    for line in (["a b", "c"], ["$x", "it's"], ['{"a": 1}'], ["a,b", "k=v"], ["`x`", "x\\y", "!"]):
        assert shlex.split(wording.quoted(line)) == line


@pytest.mark.parametrize("text", ["Say it. Example: {name: x}", "Say it. Example: see the guide."])
def test_an_example_in_other_words_stays(text: str) -> None:
    spec = {"description": text, "short": "", "command": ["a", "b"], "mcp_name": "a_b"}
    assert wording.for_people(text, [spec]) == text and wording.example(spec, ["a", "b"], []) == []


def test_an_example_without_what_is_required_shows_no_command() -> None:
    assert wording.example({"description": 'Example: {"x": 1}'}, ["a", "b"], ["y"]) == []
