"""A tool's description for a person at a shell: commands in place of tool names, a command line in place of JSON."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_EXAMPLE = re.compile(r"\s*\bExample:\s+(\{.*\})\.?\s*\Z", re.DOTALL)
_PLAIN = re.compile(r"[^,\[\]{}]+")  # what may stand between commas as it is


def words(spec: Mapping[str, Any]) -> list[str]:
    """How a tool is called from the shell: by its short word where it has one."""
    return [str(spec["short"]).split()[0]] if spec["short"] else list(spec["command"])


def for_people(text: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """The text without its JSON example, naming commands where it names MCP tools."""
    # A name of one plain word, like doctor, may stand there as that word.
    spelt = {spec["mcp_name"]: f"`lakehouse {' '.join(words(spec))}`" for spec in tools if "_" in spec["mcp_name"]}
    if _example(text):
        text = _EXAMPLE.sub("", text)
    return re.sub(r"(?<![\w.])[a-z]+_[a-z0-9_]+\b", lambda found: spelt.get(found[0], found[0]), text)


def example(spec: Mapping[str, Any], command: Sequence[str], positional: Sequence[str]) -> list[str]:
    """The description's example as the words of a command line; empty where it has none.

    `positional` are the parameters that the command takes without their names.
    """
    given = _example(spec["description"])
    if not given or not set(positional) <= set(given):
        return []
    line = ["lakehouse", *command]
    for name in positional:
        value = given.pop(name)
        line += map(_word, value) if _listed(value) and name == positional[-1] else [_word(value)]
    for name, value in given.items():
        flag = "-" + name if len(name) == 1 else "--" + name.replace("_", "-")
        line += [flag if value else f"--no-{flag[2:]}"] if isinstance(value, bool) else [flag, _word(value)]
    return line


def quoted(line: Sequence[str]) -> str:
    """The words as they are typed, in double quotes where that does, since they read better."""
    return " ".join(
        f'"{word}"' if shlex.quote(word) != word and not re.search(r'["$`\\!]', word) else shlex.quote(word)
        for word in line
    )


def _example(text: str) -> dict[str, Any]:
    found = _EXAMPLE.search(text)
    try:
        return dict(json.loads(" ".join(found[1].split()))) if found else {}
    except ValueError:
        return {}  # a plugin's own way to write one


def _listed(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if _listed(value) and all(_PLAIN.fullmatch(str(item)) for item in value):
        return ",".join(map(str, value))
    if isinstance(value, dict) and all(isinstance(v, str) and _plain(v) for v in value.values()):
        return ",".join(f"{name}={inner}" for name, inner in value.items())
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> bool:
    """Whether a text may stand after a name and = as it is, and is taken for a text there."""
    try:
        json.loads(text)
    except ValueError:
        return bool(_PLAIN.fullmatch(text))
    return False
