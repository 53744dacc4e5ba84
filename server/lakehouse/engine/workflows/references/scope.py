"""What a node may refer to, and the texts and values that its references become."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from lakehouse.engine.workflows.runs.record import NodeRecord
from lakehouse.errors import InvalidInput, Unprocessable, did_you_mean

OUTPUT = re.compile(r"\$([A-Za-z_][\w-]*)\.output(?:\.([A-Za-z_]\w*))?")


class MissingReference(Unprocessable):
    """A reference that leads nowhere: the node that holds it fails."""


@dataclass(frozen=True)
class Output:
    """What a node puts out: a text, and where `typed` the value whose canonical JSON it is."""

    text: str
    typed: bool = False

    @classmethod
    def of(cls, value: Any) -> "Output":
        """The output that is a value. NaN and infinities, which JSON does not have, become null."""
        return cls(to_json(value, inf_nan_mode="null").decode(), True)

    @property
    def value(self) -> Any:
        """The value, or the text."""
        return json.loads(self.text) if self.typed else self.text


@dataclass
class Scope:
    """What is around a node: the outputs of its graph and of those around that, inputs, and variables.

    `settled` grows as nodes settle. `schemas` are the `output_format`s of nodes that have one.
    """

    inputs: Mapping[str, Any]
    variables: Mapping[str, str]
    settled: dict[str, NodeRecord] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outer: "Scope | None" = None
    previous: Mapping[str, NodeRecord] = field(default_factory=dict)  # a loop group's nodes, one iteration ago

    def record(self, id: str) -> NodeRecord | None:
        """A node of this graph, else of one around it."""
        found = self.settled.get(id)
        return found if found is not None or self.outer is None else self.outer.record(id)

    def text(self, template: str) -> str:
        """A template with every reference in it replaced by its text. Raises MissingReference."""
        for name, value in self.variables.items():
            template = re.sub(rf"\${name}(?!\w)", value.replace("\\", r"\\"), template)
        template = re.sub(
            r"\$LOOP_PREV\.([\w-]+)\.output",
            lambda match: self.previous[match[1]].text if match[1] in self.previous else "",
            template,
        )
        template = re.sub(r"\$INPUTS\.([A-Za-z_]\w*)", lambda match: _plain(self.input(match[1])), template)
        return OUTPUT.sub(lambda match: _plain(self.value(match[1], match[2])), template)

    def shell(self, template: str) -> str:
        """As `text`, for bash: outputs are quoted, and what a caller controls is left to the environment."""
        return OUTPUT.sub(lambda match: _plain(self.value(match[1], match[2])), template)

    def given(self, value: Any) -> Any:
        """What a value of `with:` stands for: exactly one reference is the value itself, any other text a template."""
        if isinstance(value, str):
            whole = OUTPUT.fullmatch(value)
            return self.value(whole[1], whole[2]) if whole else self.text(value)
        if isinstance(value, Mapping):
            return {key: self.given(inner) for key, inner in value.items()}
        return [self.given(inner) for inner in value] if isinstance(value, list) else value

    def when(self, condition: str) -> bool:
        """Whether a condition holds. Raises MissingReference."""
        return self.text(condition) == "true"

    def input(self, name: str) -> Any:
        """A declared input. Raises MissingReference with the names that are like it."""
        if name not in self.inputs:
            raise MissingReference(f"$INPUTS.{name}: there is no such input.", fix=did_you_mean(name, self.inputs))
        return self.inputs[name]

    def value(self, id: str, field: str | None) -> Any:
        """What `$id.output` or `$id.output.field` stands for. Raises MissingReference."""
        record = self.record(id)
        if record is None:
            raise MissingReference(f"${id}.output: there is no node {id}.", fix=did_you_mean(id, self.settled))
        output = Output(record.text, record.typed)
        if field is None:
            return output.value
        try:
            return json.loads(output.text)[field]
        except (ValueError, KeyError, TypeError):
            raise MissingReference(f"${id}.output.{field}: there is no such field.", fix="") from None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else Output.of(value).text


def checked_inputs(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run: those given, and the defaults. Raises InvalidInput for unknown and missing ones."""
    for name in given:
        if name not in declared:
            raise InvalidInput(f"input: there is no input {name[:80]!r}.", fix=did_you_mean(name, declared))
    missing = [name for name, one in declared.items() if one.required and name not in given]
    if missing:
        raise InvalidInput(f"input: {', '.join(missing)} is required.", fix="Give it.")
    defaults = {name: one.default if one.has_default else "" for name, one in declared.items()}
    return defaults | dict(given)
