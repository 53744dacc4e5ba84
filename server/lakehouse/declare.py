"""A capability is an async function with types and a docstring. Everything a face needs is derived from it here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from lakehouse.schema import portable

Effect = Literal["reads", "writes", "destroys"]
TOOLSETS = ("core", "data", "sql", "retrieval", "memory", "chat", "workflow", "learning", "review", "admin")
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True)
class Facts:
    """What a decorator attaches to a function."""

    kind: Literal["tool", "mode", "resource", "prompt"]
    effect: Effect = "reads"
    name: str = ""
    route: str = ""
    uri: str = ""
    title: str = ""
    toolset: str = "core"
    long: bool = False
    idempotent: bool = False
    short: str = ""
    mime_type: str = "application/json"
    complete: Mapping[str, str] | None = None
    listed: bool = False


@dataclass(frozen=True)
class Capability:
    """One thing Lakehouse can do. `name` is dotted: the file it lives in, then the function."""

    name: str
    run: Callable[..., Awaitable[Any]]
    facts: Facts
    origin: str

    @property
    def effect(self) -> Effect:
        return self.facts.effect

    @property
    def public(self) -> bool:
        return self.facts.kind == "tool"

    @property
    def mcp_name(self) -> str:
        """The tool name: the declared one, else the dotted name with underscores."""
        return self.facts.name or self.name.replace(".", "_")

    @property
    def route(self) -> str:
        return self.facts.route or "/v1/" + self.name.replace(".", "/").replace("_", "-")

    @property
    def command(self) -> list[str]:
        """The words of the command line: group, then command."""
        return self.name.replace("_", "-").split(".")

    @property
    def title(self) -> str:
        return self.facts.title or self.mcp_name.replace("_", " ").capitalize()

    @property
    def description(self) -> str:
        return inspect.getdoc(self.run) or ""

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The parameters after the first (the open lake) as a strict pydantic model."""
        hints = get_type_hints(self.run, include_extras=True)
        fields: dict[str, Any] = {}
        for parameter in list(inspect.signature(self.run).parameters.values())[1:]:
            hint, words = hints[parameter.name], None
            if get_origin(hint) is Annotated:
                words = next((m for m in get_args(hint)[1:] if isinstance(m, str)), None)
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hint, Field(default, description=words))
        config = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=False)
        return create_model(self.name, __config__=config, **fields)

    @cached_property
    def returns(self) -> TypeAdapter[Any]:
        return TypeAdapter(get_type_hints(self.run, include_extras=True)["return"])

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The arguments as a JSON Schema that every known client accepts."""
        return portable(self.arguments.model_json_schema())

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The result as a JSON Schema with an object root."""
        return portable(self.returns.json_schema(mode="serialization"))

    @cached_property
    def decodes(self) -> dict[str, bool]:
        """Per parameter, whether a string may stand for JSON: some clients send `"[1,2]"` for a list."""
        return {
            name: schema.get("type") in {"array", "object", "integer", "number", "boolean"}
            for name, schema in self.input_schema["properties"].items()
        }

    def decoded(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with stringified JSON read, where the parameter is not itself a string."""
        return {k: _read_json(v) if isinstance(v, str) and self.decodes.get(k) else v for k, v in given.items()}


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def tool(
    effect: Effect = "reads",
    *,
    name: str = "",
    route: str = "",
    title: str = "",
    toolset: str = "core",
    long: bool = False,
    idempotent: bool = False,
    short: str = "",
) -> Callable[[F], F]:
    """Publish a function on every face: MCP tool, REST route, command, workflow mode.

    `name` is the MCP name where existing clients know one, `route` likewise. `long` gives it the long time limit.
    `toolset` says with which group it is shown; the main tools are in `core`. `short` is the command people expect,
    with its positional parameters in capitals: `short="ingest PATH"` makes `lakehouse ingest orders.csv` work.
    """
    if toolset not in TOOLSETS:
        raise ValueError(f"toolset {toolset!r} is not one of {', '.join(TOOLSETS)}")
    idempotent = idempotent or effect == "reads"
    return _mark(Facts("tool", effect, name, route, "", title, toolset, long, idempotent, short))


def mode(effect: Effect = "reads", *, long: bool = False) -> Callable[[F], F]:
    """Offer a function to workflows only."""
    return _mark(Facts("mode", effect, long=long))


def resource(
    uri: str,
    *,
    title: str = "",
    mime_type: str = "application/json",
    complete: Mapping[str, str] | None = None,
    listed: bool = False,
) -> Callable[[F], F]:
    """Publish a function as an MCP resource; `{name}` parts of the URI are its parameters.

    It returns text, bytes, or anything JSON. `complete` names, per parameter, the capability that lists the possible
    values as `{"values": [...]}` when given `{"prefix": what has been typed so far}`. With `listed`, the resources that
    completion knows are listed one by one, so that people can pick them in their client.
    """
    return _mark(Facts("resource", uri=uri, title=title, mime_type=mime_type, complete=complete, listed=listed))


def prompt(*, title: str = "", complete: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Publish a function as an MCP prompt: its parameters are the prompt's arguments, it returns the text."""
    return _mark(Facts("prompt", title=title, complete=complete))


def _mark(facts: Facts) -> Callable[[F], F]:
    def mark(function: F) -> F:
        function.__lakehouse__ = facts  # type: ignore[attr-defined]
        return function

    return mark


def capabilities_in(module: Any, prefix: str) -> list[Capability]:
    """The marked functions a module defines itself (not those it imports), in the order they stand there."""
    found = [f for f in vars(module).values() if isinstance(getattr(f, "__lakehouse__", None), Facts)]
    origin = str(getattr(module, "__file__", module.__name__))
    return [
        Capability(f"{prefix}.{f.__name__}", f, f.__lakehouse__, origin)
        for f in found
        if f.__module__ == module.__name__
    ]
