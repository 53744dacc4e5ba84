"""The language of workflow files: text in, a Workflow out, with everything that is wrong or strange about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lakehouse.engine.workflows.language.nodes import node_of
from lakehouse.engine.workflows.language.reading import read
from lakehouse.engine.workflows.model import Input, Node, Workflow
from lakehouse.engine.workflows.problems import Problem

SHELL_KINDS = frozenset({"bash", "script"})


@dataclass(frozen=True)
class Source:
    """A text and where it came from: a file's path, or "" for one that came with a call."""

    name: str
    text: str
    path: str = ""


class Around(Protocol):
    """What a workflow may name: other workflows, commands, scripts. Of one that is not there, None."""

    def at(self, source: Source) -> "Around":
        """What is around another workflow, which this one includes or starts."""

    def workflow(self, name: str) -> Source | None:
        """Another workflow's text."""

    def command(self, name: str) -> Source | None:
        """A command's text, front matter included."""

    def script(self, name: str) -> Source | None:
        """A named script's source."""

    def names(self, kind: str) -> list[str]:
        """What there is of a kind (`workflow`, `command`, `script`), for advice."""


@dataclass(frozen=True)
class Loaded:
    """What a text was understood as. `workflow` is None exactly where there are errors.

    `features` are the features of the language it uses, each with its tier: run, run_second, warn, refuse. `used` are
    the texts it was put together from besides its own, by kind and name: `("command", "review")`; a command or script
    of a workflow that it includes or starts is under `("command", "block/review")`.
    """

    workflow: Workflow | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    features: tuple[tuple[str, str], ...] = ()
    used: Mapping[tuple[str, str], Source] = field(default_factory=dict)


def load(source: Source, around: Around) -> Loaded:
    """Understand a workflow file. It never raises for what a file holds."""
    mapping, errors = read(source)
    if mapping is None:
        return Loaded(None, tuple(errors), used={})
    nodes: list[Node] = []
    used: dict[tuple[str, str], Source] = {}
    for given in mapping.get("nodes") or []:
        node, problems = node_of(given, around, used)
        errors += problems
        if node is not None:
            nodes.append(node)
    if errors:
        return Loaded(None, tuple(errors), used=used)
    inputs = {name: _input(name, given or {}) for name, given in (mapping.get("inputs") or {}).items()}
    return Loaded(
        Workflow(
            name=str(mapping["name"]),
            description=str(mapping.get("description", "")),
            nodes=tuple(nodes),
            inputs=inputs,
            returns=str(mapping.get("returns", "")),
            tool=bool(mapping.get("tool", False)),
        ),
        used=used,
    )


def _input(name: str, given: Mapping[str, Any]) -> Input:
    return Input(
        name, bool(given.get("required")), given.get("default"), "default" in given, str(given.get("description", ""))
    )


__all__ = ["SHELL_KINDS", "Around", "Loaded", "Problem", "Source", "load"]
