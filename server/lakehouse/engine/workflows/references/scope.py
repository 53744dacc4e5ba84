"""What a node may refer to, and the texts and values that its references become."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from lakehouse.engine.workflows.model import From, Node
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.references.conditions import Held, decided
from lakehouse.engine.workflows.references.fields import (
    MissingReference,
    data_of,
    declared_fields,
    schemas_of,
    within,
)
from lakehouse.engine.workflows.references.output import plain
from lakehouse.engine.workflows.references.quoting import Left, Put, Quoting, Script, Spill, commented, needs_no_quotes
from lakehouse.engine.workflows.references.templates import (
    CALLERS,
    CONTEXT,
    OURS,
    Reference,
    quotes,
    references,
    replaced,
    sole,
)
from lakehouse.engine.workflows.runs.record import NodeRecord
from lakehouse.errors import Unprocessable, did_you_mean

UNRESOLVED = frozenset({"STATE_DIR", "BASE_BRANCH"})  # to refer to these where there are none is an error
DEFAULTS = {"DOCS_DIR": "docs/"}


@dataclass
class Scope:
    """What is around a node: the outputs of its graph and of those around that, inputs, and variables.

    `settled` grows as nodes settle; `nodes` are the ids there are, settled or not. `schemas` are the `output_format`s
    of nodes that have one, and what modes answer. `previous` are the nodes of the iteration before, within loop groups.
    """

    inputs: Mapping[str, Any]
    variables: Mapping[str, str]
    settled: dict[str, NodeRecord] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outer: "Scope | None" = None
    nodes: Collection[str] = ()
    previous: Mapping[str, NodeRecord] | None = None
    _read: dict[str, tuple[NodeRecord, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        nodes: Sequence[Node],
        inputs: Mapping[str, Any],
        variables: Mapping[str, str],
        modes: Callable[[str], ModeFacts | None] | None = None,
    ) -> "Scope":
        """The scope of a graph in which nothing has run yet."""
        schemas = schemas_of(nodes, modes)
        return cls(inputs, variables, schemas=schemas, nodes=frozenset(node.id for node in nodes))

    def inside(
        self,
        nodes: Sequence[Node],
        modes: Callable[[str], ModeFacts | None] | None = None,
        *,
        previous: Mapping[str, NodeRecord] | None = None,
        **variables: str,
    ) -> "Scope":
        """The scope of a loop group's body, for one iteration. `previous` are the records of the one before, by id."""
        body = Scope.of(nodes, self.inputs, {**self.variables, **variables}, modes)
        return replace(body, outer=self, previous=previous or {})

    def along(self, **variables: str) -> "Scope":
        """The same scope with further variables: `LOOP_PREV_OUTPUT`, `REJECTION_REASON`."""
        return replace(self, variables={**self.variables, **variables})

    def bound(self, given: Mapping[str, Any]) -> "Scope":
        """The same scope with what `with:` of a command or script gives as further inputs. Raises MissingReference."""
        return replace(self, inputs={**self.inputs, **self.passed(given)}) if given else self

    def passed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs that `with:` of a command, script or child gives. Raises MissingReference.

        Exactly one reference is the value itself, any other text a template.
        """
        return {name: self._bound(name, value) for name, value in given.items()}

    def text(self, template: str) -> str:
        """A template with every reference in it replaced by its text. Raises MissingReference."""
        return replaced(template, self._text)

    def prompt(self, template: str) -> str:
        """As `text`, for a model: a context that the template does not mention stands at its end.

        In Markdown code, a reference to a node that there is not stays as it is: such a prompt tells how to write one.
        """
        context = self.variables.get("CONTEXT", "")
        named, quoted = False, quotes(template)

        def put(reference: Reference) -> str | None:
            nonlocal named
            named = named or reference.name in CONTEXT
            if quoted(reference) and not self._has(reference):
                return None
            return self._text(reference)

        written = replaced(template, put)
        return f"{written}\n\n---\n\n{context}" if context and not named else written

    def shell(self, template: str, spill: Spill | None = None) -> Script:
        """As `text`, for bash: outputs are in it as `quoting` has them, what a caller has a say in is left to bash.

        Long outputs are read from files that `spill` writes: it takes a text and gives the file's path. In a comment, a
        reference that leads nowhere stays as it is. Raises MissingReference, and Unprocessable for an output that holds
        a NUL byte.
        """
        found = list(references(template))
        values = []
        for one in found:
            try:
                values.append(self._in_shell(one))
            except MissingReference:
                if one not in commented(template, found):
                    raise
                values.append(Left())
        return Quoting(spill).script(template, found, values)

    def _in_shell(self, reference: Reference) -> Any:
        if reference.kind == "input" or reference.name in CALLERS:
            return Left()
        if reference.kind == "variable":
            value = self._variable(reference.name)
            return Put(value) if needs_no_quotes(value) else Left()
        return self._resolved(reference)

    def source(self, template: str) -> str:
        """As `text`, for a script: outputs stand in it as they are; what a caller has a say in is left alone."""

        def put(reference: Reference) -> str | None:
            left = reference.kind == "input" or reference.name in CALLERS
            return None if left else self._text(reference)

        return replaced(template, put)

    def exported(self) -> dict[str, str]:
        """What a shell has in its environment: variables and inputs by name, an input `a-b` as `INPUTS_A_B`."""
        values: dict[str, Any] = {name: self.variables.get(name, "") for name in CALLERS}
        values |= {name: found for name in CONTEXT if (found := self.variables.get("CONTEXT"))}
        values |= {name: found for name in OURS if (found := self.variables.get(name) or DEFAULTS.get(name))}
        values |= {environment_key(name): value for name, value in self.inputs.items()}
        return {name: plain(value) for name, value in values.items()}

    def given(self, value: Any) -> Any:
        """What a value in the arguments of a mode stands for. Raises MissingReference.

        Exactly one reference is the value itself, of any depth (`$a.output.results.0.id`); any other text a template.
        Objects and arrays hold such values again.
        """
        if isinstance(value, From):
            return self._bound("", value)
        if isinstance(value, str):
            whole = sole(value, deep=True)
            return self._resolved(whole, null=None) if whole else replaced(value, self._deep_text, deep=True)
        if isinstance(value, Mapping):
            return {key: self.given(inner) for key, inner in value.items()}
        if isinstance(value, date):
            return value.isoformat()  # a bare 2026-01-31 of YAML
        return [self.given(inner) for inner in value] if isinstance(value, list) else value

    def array(self, items: str) -> list[Any]:
        """The array that a reference yields, itself or as JSON. Raises MissingReference, Unprocessable."""
        whole = sole(items.strip())
        value = self._resolved(whole) if whole else self.text(items)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                value = None
        if not isinstance(value, list):
            raise Unprocessable(f"{items[:80]}: it is no JSON array.", fix="Have that node put out an array.")
        return value

    def when(self, condition: str) -> Held:
        """Whether a condition holds, and why not. Raises MissingReference."""
        return decided(condition, lambda reference: plain(self._resolved(reference)))

    def input(self, name: str) -> Any:
        """A declared input. Raises MissingReference with the names that are like it."""
        if name not in self.inputs:
            raise MissingReference(f"$INPUTS.{name}: there is no such input.", fix=did_you_mean(name, self.inputs))
        return self.inputs[name]

    def _text(self, reference: Reference) -> str:
        return plain(self._resolved(reference))

    def _deep_text(self, reference: Reference) -> str:
        """Where a path meets a text or a number, the rest of it is text: `$a.output.name.yaml`."""
        value, rest = self._walked(reference, "", partly=True)
        return plain(value) + "".join(f".{part}" for part in rest)

    def _resolved(self, reference: Reference, null: Any = "") -> Any:
        """What a reference stands for. `null` is what a field stands for that is declared, but not there or null."""
        return self._walked(reference, null)[0]

    def _walked(self, reference: Reference, null: Any, *, partly: bool = False) -> tuple[Any, tuple[str, ...]]:
        if reference.kind == "variable":
            return self._variable(reference.name), ()
        if reference.kind == "input":
            return within(self.input(reference.name), reference.path, reference, partly=partly)
        found, holder = self._producer(reference)
        if found is None or found.status not in ("completed", "failed"):
            if not reference.path or reference.kind == "previous":
                return "", ()
            raise MissingReference(
                f"{reference}: node {reference.name} did not run, so that it has no fields.",
                fix="Guard it with when:, or refer to the whole output, which is empty then.",
            )
        if found.status == "failed":
            raise MissingReference(f"{reference}: node {reference.name} failed.", fix="Guard it with when:.")
        if not reference.path:
            # A text that was typed as one is itself, not its JSON.
            return (holder._json(found) if found.typed else found.text), ()
        value = holder._json(found)
        first, rest = reference.path[0], reference.path[1:]
        schema = holder.schemas.get(reference.name)
        declared = declared_fields(schema)
        if declared is None or schema is None:
            return within(value, reference.path, reference, partly=partly)
        if not isinstance(value, Mapping):
            raise MissingReference(f"{reference}: what node {reference.name} put out is no JSON object.")
        if first not in declared and not (schema.get("additionalProperties") and first in value):
            fix = did_you_mean(first, declared)
            raise MissingReference(f"{reference}: node {reference.name} declares no field {first}.", fix=fix)
        if value.get(first) is not None:
            return within(value[first], rest, reference, partly=partly)
        if rest and not partly:
            raise MissingReference(f"{reference}: there is nothing in {first}.")
        return null, rest

    def _producer(self, reference: Reference) -> tuple[NodeRecord | None, "Scope"]:
        """The record of a node that is referred to, None while it has not settled, and the scope it is in."""
        scope: Scope | None = self
        known: list[str] = []
        while scope is not None:
            before = reference.kind == "previous"
            records = (scope.previous or {}) if before else scope.settled
            if reference.name in records or (reference.name in scope.nodes and not (before and scope.previous is None)):
                return records.get(reference.name), scope
            known += [*scope.nodes, *records]
            scope = scope.outer
        fix = did_you_mean(reference.name, known, "" if known else "There are no nodes.")
        raise MissingReference(f"{reference}: there is no node {reference.name}.", fix=fix)

    def _has(self, reference: Reference) -> bool:
        if reference.kind not in ("output", "previous"):
            return True
        try:
            self._producer(reference)
        except MissingReference:
            return False
        return True

    def _json(self, record: NodeRecord) -> Any:
        """A node's output as data, read once; what is no JSON is the text."""
        read = self._read.get(record.path)
        if read is None or read[0] is not record:
            read = self._read[record.path] = (record, data_of(record.text))
        return read[1]

    def _variable(self, name: str) -> str:
        if name in CONTEXT:
            name = "CONTEXT"
        found = self.variables.get(name, "") or DEFAULTS.get(name, "")
        if not found and name in UNRESOLVED:
            raise MissingReference(f"${name}: there is none for this run.")
        return found

    def _bound(self, name: str, given: Any) -> Any:
        if isinstance(given, str):
            whole = sole(given)
            return self._resolved(whole) if whole else self.text(given)
        if not isinstance(given, From):
            return given
        whole = sole(given.reference)
        if whole is None:
            raise MissingReference(f"with.{name}: from is no reference.", fix="Write from: $node.output.field.")
        if given.has_default and whole.kind != "input":
            record = self._producer(whole)[0]
            if record is None or record.status == "skipped":
                return given.if_skipped
        return self._resolved(whole)


def environment_key(name: str) -> str:
    """The environment variable of an input."""
    return "INPUTS_" + re.sub(r"\W", "_", name, flags=re.ASCII).upper()
