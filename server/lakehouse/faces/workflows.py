"""Answers about workflows as people read them: what there is, what a mode takes, two runs side by side."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from lakehouse.faces.drawing import SIGNS, told, whole

Answer = Mapping[str, Any]
_MIN_WIDE = 40  # columns that texts are folded to at least
_WIDE = 100


def listed(answer: Answer, wide: int) -> Iterator[str]:
    """The workflows: what each is for, and what it takes."""
    for one in answer["workflows"]:
        name = click.style(one["name"], bold=True)
        if not one["valid"]:
            yield f"{name}  {click.style('cannot run', fg='red')}  {one['file']}"
            yield from _folded(one["description"], wide)
            continue
        yield f"{name}  {one['nodes']} nodes{'  a tool' if one['tool'] else ''}"
        yield from _folded(one["description"].partition("\n")[0], wide)
        for input, facts in one["inputs"].items():
            default = f", else {json.dumps(facts['default'], ensure_ascii=False)}" if "default" in facts else ""
            about = f": {facts['description']}" if facts.get("description") else ""
            needed = ", required" if facts.get("required") else default
            yield from _folded(f"--input {input}=… ({facts['type']}{needed}){about}", wide)
    yield f"Run one with: lakehouse run NAME. All of one: lakehouse workflow list --json. {answer['count']} in all."


def modes(answer: Answer, wide: int) -> Iterator[str]:
    """The modes, a line each, steps first; of a named one all that it takes and gives, and how it is written."""
    found = sorted(answer["modes"], key=lambda one: (one["tool"], one["mode"]))
    if len(found) != 1 or found[0].get("arguments") is None:
        margin = max((len(one["mode"]) for one in found), default=0)
        for tool, title in ((False, "Steps of workflows:"), (True, "Tools, which are steps too:")):
            yield title
            for one in found:
                if one["tool"] is tool:
                    about = told(one["description"], max(_MIN_WIDE, wide - margin - 4))
                    yield f"  {one['mode'].ljust(margin)}  {about}"
        yield "What one takes and gives: lakehouse workflow modes NAME."
        return
    (one,) = found
    yield f"{click.style(one['mode'], bold=True)}  {one['effect']}"
    yield from _folded(one["description"], wide)
    for title, schema in (("takes", one["arguments"]), ("puts out", one["output"])):
        fields = schema.get("properties", {})
        yield f"It {title}{':' if fields else ' ' + _type(schema) + '.'}"
        required = schema.get("required", ()) if title == "takes" else ()
        for name, facts in fields.items():
            default = f", else {json.dumps(facts['default'])}" if title == "takes" and "default" in facts else ""
            about = f": {facts['description']}" if facts.get("description") else ""
            yield from _folded(f"{name} ({_type(facts)}{', required' if name in required else default}){about}", wide)
    given = ", ".join(f"{name}: …" for name in one["arguments"].get("required", ()))
    yield f"- id: step\n  mode: {one['mode']}" + (f"\n  with: {{{given}}}" if given else "")


def compared(answer: Answer, wide: int) -> Iterator[str]:
    """Two runs: how each fared, and what came out otherwise at each node."""
    if not answer["same_workflow"]:
        yield "They ran different texts."
    yield f"{'':2}whole run  {_fared(answer['a'])} → {_fared(answer['b'])}"
    for change in answer["inputs"]:
        yield f"≠ {change['path'].removeprefix('$.')}: {_value(change, 'a')} → {_value(change, 'b')}"
    for node in answer["nodes"]:
        yield f"{'=' if node['same'] else '≠'} {node['id']}  {_fared(node.get('a'))} → {_fared(node.get('b'))}"
        for change in node["changes"]:
            yield f"    {change['path']}: {_value(change, 'a')} → {_value(change, 'b')}"
        for line in (node.get("text") or "").splitlines()[2:]:
            yield f"    {click.style(whole(line), fg={'+': 'green', '-': 'red'}.get(line[:1]))}"


SHOWN: Mapping[str, Callable[[Answer, int], Iterator[str]]] = {
    "workflow.list": listed,
    "workflow.modes": modes,
    "workflow.diff": compared,
}


def show(name: str, answer: Answer) -> None:
    """Print the answer of one of these capabilities."""
    # A pipe has no width: what reads it wants whole lines.
    wide = max(_MIN_WIDE, min(_WIDE, shutil.get_terminal_size().columns)) if sys.stdout.isatty() else 10_000
    for line in SHOWN[name](answer, wide):
        click.echo(line)


def _folded(text: str, wide: int) -> Iterator[str]:
    yield from click.wrap_text(
        told(text, 1000), wide, initial_indent="    ", subsequent_indent="      "
    ).splitlines() or [""]


def _type(schema: Answer) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    of = schema.get("items")
    kind = schema.get("type", "object" if "properties" in schema or "$ref" in schema else "anything")
    return f"array of {_type(of)}" if kind == "array" and of else str(kind)


def _fared(one: Answer | None) -> str:
    if one is None:
        return "not there"
    took = one.get("duration_ms")
    cost = f", ${one['cost_usd']:.4f}" if one.get("cost_usd") else ""
    return f"{SIGNS[one['status']][0]} {one['status']}{f', {took:.0f} ms' if took is not None else ''}{cost}"


def _value(change: Answer, side: str) -> str:
    return told(json.dumps(change.get(side), ensure_ascii=False))
