"""What a plugin's capability must be like, so that trouble with one is never trouble for a face; and what it claims."""

import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lakehouse.declare import Capability, Facts

MAX_INSTRUCTIONS = 300  # characters of a plugin's INSTRUCTIONS: all files' together reach models that read 2,000
OWN_COMMANDS = frozenset("bench call config demo doctor init install restore run serve stdio".split())
OWN_OPTIONS = frozenset({"config", "help", "home", "json"})
OWN_PATH = "/v1/call/{rest:path}"

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_MCP_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WORD = re.compile(r"[a-z][a-z0-9-]*")
_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) /v1(/[\w.~-]+|/\{[a-z]\w*(:path)?\})+", re.ASCII)
_URI = re.compile(r"[a-z][a-z0-9+.-]*:(?://)?[\w.~!$&'()*+,;=:@%/{}-]+", re.ASCII)
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def check(capability: Capability) -> None:
    """Derive everything any face asks of it. Raises what is wrong: ValueError, TypeError, pydantic's errors."""
    facts = capability.facts
    for name, kind in _kinds().items():
        try:
            kind.validate_python(getattr(facts, name), strict=True)
        except ValidationError as error:
            raise TypeError(f"{capability.name}: {name}: {error.errors()[0]['msg']}") from None
    if not _NAME.fullmatch(capability.name):
        raise ValueError(f"{capability.name!r} is no name for a capability: a-z, then a-z, 0-9 and _, on both sides")
    fields = set(capability.arguments.model_fields)
    _ = (capability.returns, capability.decodes)
    _json(
        capability.title,
        capability.description,
        capability.input_schema,
        [facts.uri, facts.mime_type, facts.short, facts.short_defaults],
    )
    if facts.kind in ("tool", "prompt") and not _MCP_NAME.fullmatch(capability.mcp_name):
        raise ValueError(f"{capability.mcp_name!r} is no {facts.kind} name: a-z, then a-z, 0-9 and _, at most 64")
    if unknown := set(facts.complete or ()) - fields:
        raise ValueError(f"{capability.name}: complete: there is no parameter {sorted(unknown)[0]}")
    if facts.kind == "tool":
        _json(capability.output_schema)
        _check_command(capability, fields)
    if facts.kind in ("tool", "download"):
        _check_route(capability, fields)
    if facts.kind == "resource":
        _check_uri(capability)


@cache
def _kinds() -> dict[str, TypeAdapter[Any]]:
    """What each of the facts a decorator attaches is to be."""
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(Facts).items()}


def _json(*values: object) -> None:
    """What is shown has to travel as JSON in UTF-8: no half characters, no infinity, nothing but plain data."""
    json.dumps(values, ensure_ascii=False, allow_nan=False).encode()


def _check_command(capability: Capability, fields: set[str]) -> None:
    if taken := fields & OWN_OPTIONS:
        raise ValueError(f"{capability.name}: {sorted(taken)[0]}: the command line has an option of that name")
    words = capability.facts.short.split()
    if words and not _WORD.fullmatch(words[0]):
        raise ValueError(f"{capability.name}: {words[0]!r} is no command")
    for word in words[1:]:
        if word.lower() not in fields:
            raise ValueError(f"{capability.name}: short: there is no parameter {word.lower()}")
    if other := sorted({*(capability.facts.short_defaults or ())} - fields):
        raise ValueError(f"{capability.name}: short_defaults: there is no parameter {other[0]}")


def _check_route(capability: Capability, fields: set[str]) -> None:
    route = f"{capability.method} {capability.route}"
    if not _ROUTE.fullmatch(route):
        raise ValueError(
            f"{capability.name}: {route!r} is no route; it is written like 'GET /v1/words/{{name}}': GET, POST, PUT, "
            "PATCH or DELETE, and a path below /v1"
        )
    named = [name for name, _ in re.findall(r"\{(\w+)(:path)?\}", capability.route)]
    for name in named:
        if name not in fields or named.count(name) > 1:
            raise ValueError(f"{capability.name}: {route!r}: {name} is no parameter, or stands there twice")
    if capability.facts.formats is not None and "format" not in fields:
        raise ValueError(f"{capability.name}: formats: there is no parameter format")
    if not 200 <= capability.facts.status < 300 or capability.facts.max_body < 0:
        raise ValueError(f"{capability.name}: status is one of 200 to 299, and max_body is not negative")


def _check_uri(capability: Capability) -> None:
    uri, fields = capability.facts.uri, capability.arguments.model_fields
    if not _URI.fullmatch(uri):
        raise ValueError(f"{capability.name}: {uri!r} is no URI of a resource, like words://list/{{name}}")
    named = re.findall(r"\{(\w+)\}", uri)
    needed = {name for name, field in fields.items() if field.is_required()}
    if len(named) != len(set(named)) or not needed <= set(named) <= set(fields) or "{" in re.sub(r"\{\w+\}", "", uri):
        raise ValueError(f"{capability.name}: the parameters in {uri!r} are not those of the function")


def claims(capability: Capability) -> Iterator[tuple[str, str]]:
    """The names it takes, each with the kind of name it is; one name has one holder."""
    kind = capability.facts.kind
    yield "capability", capability.name
    if kind == "tool":
        yield "tool", capability.mcp_name
    if kind == "prompt":
        yield "prompt", capability.mcp_name
    if kind == "resource":
        yield "resource", capability.facts.uri
    if kind in ("tool", "download"):
        # What answers with a file where one is asked for may stand beside a tool.
        yield "route", f"{capability.method} {capability.route}{'?format' if capability.facts.formats else ''}"
    if kind == "tool" and capability.facts.short:
        yield "command", capability.facts.short.split()[0]


def shape(name: str) -> str:
    """A route or URI without the names of its parameters: two of one shape are one."""
    return _PARAMETER.sub(lambda found: "{:path}" if ":path" in found[0] else "{}", name)


def meet(one: str, other: str) -> bool:
    """Whether there may be an address that two routes, or two resources, both stand for."""
    return _meet(shape(one).split("/"), shape(other).split("/"))


def _meet(one: list[str], other: list[str]) -> bool:
    if not one or not other:
        return one == other
    if "{:path}" in one[0] or "{:path}" in other[0]:
        return True
    return (one[0] == other[0] or "{" in one[0] or "{" in other[0]) and _meet(one[1:], other[1:])


def about(module: object) -> str:
    """The first line of a module's docstring, as help shows it."""
    line = (inspect.getdoc(module) or "").partition("\n")[0]
    _json(line)
    return line


def instructions(module: object) -> str:
    """A plugin's INSTRUCTIONS as one line, cut to what there is room for."""
    line = " ".join(str(getattr(module, "INSTRUCTIONS", "")).split())[:MAX_INSTRUCTIONS]
    _json(line)
    return line
