"""The fields of outputs: those that a node declares, and what is at a path in what it put out."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lakehouse.engine.workflows.model import Child, Mode, Node
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.references.templates import Reference
from lakehouse.errors import Unprocessable, did_you_mean

_FENCE, _FENCED = re.compile(r"```(?:json)?[ \t]*\n"), re.compile(r"\n[ \t]*```")


class MissingReference(Unprocessable):
    """A reference that leads nowhere: the node that holds it fails."""


class MissingField(MissingReference):
    """A reference to something that an output does not hold."""


def schemas_of(
    nodes: Sequence[Node], modes: Callable[[str], ModeFacts | None] | None = None
) -> dict[str, Mapping[str, Any]]:
    """What nodes say of their outputs: `output_format`, or what a mode answers."""
    found: dict[str, Mapping[str, Any]] = {}
    for node in nodes:
        if node.agent is not None and node.agent.output_format is not None:
            found[node.id] = node.agent.output_format
        elif isinstance(node.body, Child) and node.body.output_format is not None:
            found[node.id] = node.body.output_format
        elif isinstance(node.body, Mode) and modes is not None and (facts := modes(node.body.name)) is not None:
            found[node.id] = facts.output_schema
    return found


def declared_fields(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The fields an output has by its schema. None: the schema does not say."""
    declared = schema.get("properties") if schema is not None else None
    return declared if isinstance(declared, Mapping) else None


def data_of(text: str) -> Any:
    """A text as JSON, also where a model put it between fences; a text that is none is itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        begins = _FENCE.search(text)
    ends = _FENCED.search(text, begins.end() - 1) if begins else None
    try:
        return json.loads(text[begins.end() : ends.start()]) if begins and ends else text
    except (ValueError, RecursionError):
        return text


def within(value: Any, path: Sequence[str], reference: Reference, *, partly: bool) -> tuple[Any, tuple[str, ...]]:
    """What is at a path in a value, and what of the path is left where a text or number ends it."""
    for place, part in enumerate(path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        elif partly and place and not isinstance(value, Mapping | list):
            return value, tuple(path[place:])
        elif isinstance(value, Mapping):
            raise MissingField(f"{reference}: there is no field {part}.", fix=did_you_mean(part, map(str, value)))
        elif isinstance(value, list):
            raise MissingField(f"{reference}: there is no element {part} among {len(value)}.")
        else:
            raise MissingField(f"{reference}: there is no field {part} in a text or number.", fix="Put out JSON.")
    return value, ()
