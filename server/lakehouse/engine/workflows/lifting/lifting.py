"""Calls as the nodes of a workflow: what came out of earlier answers as references, what somebody chose as inputs."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakehouse.engine.redact import MARK
from lakehouse.engine.workflows.lifting.recorded import Recorded
from lakehouse.engine.workflows.ports import KEY, ModeFacts
from lakehouse.engine.workflows.references.templates import references

Modes = Callable[[str], ModeFacts | None]
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
STEP = re.compile(r"\w+", re.ASCII)
TELLING = frozenset({"id", "ids", "name", "handle", "uri", "path", "key", "run_id"})
SHORTEST = 4  # characters of a text that is taken to be the same thing where it comes again
INSIDE = 12  # of one that is looked for within other texts
MAX_VALUES = 20_000  # of an answer, that are looked at
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass
class Lifted:
    """A workflow as plain data, with what was recorded of each node."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)  # inputs that hold credentials: nothing is known of them
    notes: list[str] = field(default_factory=list)


def lifted(calls: Sequence[Recorded], modes: Modes) -> Lifted:
    """A node for each call, in their order. A call of what is no mode here is left out, and told."""
    made = Lifted()
    known: dict[str, str] = {}  # reference by value
    ids: list[tuple[str, bool, set[str]]] = []  # id, whether it writes, what it refers to
    for call in calls:
        facts = modes(call.op)
        if facts is None:
            made.notes.append(f"{call.op} ({call.id}): it is no step of workflows.")
            continue
        id = _fresh(call.op.replace(".", "_"), made.answers)
        refers: set[str] = set()
        given = {name: value for name, value in call.arguments.items() if value is not None and name != KEY}
        schema = facts.input_schema
        filled = {name: _argument(made, id, name, value, schema, known, refers) for name, value in given.items()}
        writes = facts.effect != "reads"
        node: dict[str, Any] = {"id": id, "mode": facts.name}
        after = _after(ids, writes, refers)
        if after:
            node["depends_on"] = after
        if filled:
            node["with"] = filled
        ids.append((id, writes, set(after)))
        made.nodes.append(node)
        made.arguments[id], made.answers[id] = given, call.answer
        _learn(id, call.answer, known)
    return made


def _argument(
    made: Lifted,
    id: str,
    name: str,
    value: Any,
    schema: Mapping[str, Any],
    known: Mapping[str, str],
    refers: set[str],
) -> Any:
    """What stands for an argument in the file: a reference, an input, or the value itself."""
    declared = (schema.get("properties") or {}).get(name) or {}
    if MARK in json.dumps(value, default=str):
        return _input(made, id, name, value, secret=True)
    if isinstance(value, bool) or _chosen(declared):
        return value
    literal = value
    if not _misread(value):
        found: set[str] = set()
        literal = _referring(value, known, found)
        if found:
            refers |= found
            return literal
    needed = name in (schema.get("required") or ())
    return _input(made, id, name, value) if needed or isinstance(value, str) or _misread(value) else literal


def _chosen(declared: Mapping[str, Any]) -> bool:
    """Whether an argument is one of a few words."""
    kinds = [declared, *(declared.get("anyOf") or ())]
    return any("enum" in kind or "const" in kind for kind in kinds if isinstance(kind, Mapping))


def _input(made: Lifted, id: str, name: str, value: Any, secret: bool = False) -> str:
    """The input that holds a value, which several arguments may share."""
    if not secret:
        for known, spec in made.inputs.items():
            same = "default" in spec and type(spec["default"]) is type(value) and spec["default"] == value
            if same and (known == name or _distinctive(value)):
                return f"$INPUTS.{known}"
    base = name if NAME.fullmatch(name) else "value"
    chosen = base if base not in made.inputs else _fresh(f"{id}_{base}", made.inputs)
    kind = TYPES.get(type(value), "string")
    spec = {} if kind == "string" else {"type": kind}
    if secret:
        made.secret.append(chosen)
        made.notes.append(f"{id}.{name}: it holds a credential, which is not recorded: give it as the input {chosen}.")
        spec |= {"required": True}
    else:
        spec |= {"default": value}
    made.inputs[chosen] = {**spec, "description": f"{name} of {id}."}
    return f"$INPUTS.{chosen}"


def _misread(value: Any) -> bool:
    """Whether a text in it would be taken for a reference."""
    return any(any(references(text, deep=True)) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _referring(value: Any, known: Mapping[str, str], found: set[str]) -> Any:
    """A value with references in place of what earlier calls answered; `found` takes the nodes."""
    if isinstance(value, Mapping):
        return {key: _referring(inner, known, found) for key, inner in value.items()}
    if isinstance(value, list):
        return [_referring(inner, known, found) for inner in value]
    if _distinctive(value) and (reference := known.get(_key(value))) is not None:
        found.add(_node(reference))
        return reference
    if isinstance(value, str) and len(value) > INSIDE:
        return _with_inside(value, known, found)
    return value


def _with_inside(text: str, known: Mapping[str, str], found: set[str]) -> str:
    """A text with references in place of ids and handles that stand in it as words of their own."""
    here = []
    for key, reference in known.items():
        value = json.loads(key)
        if isinstance(value, str) and len(value) >= INSIDE and _is_handle(value) and value in text:
            here.append((value, reference))
    for value, reference in sorted(here, key=lambda one: -len(one[0])):
        whole = re.compile(rf"(?<![\w.$/-]){re.escape(value)}(?![\w.-])")
        if whole.search(text):
            text = whole.sub(reference.replace("\\", r"\\"), text)
            found.add(_node(reference))
    return text


def _is_handle(value: str) -> bool:
    return "://" in value or (any(one.isdigit() for one in value) and not any(one.isspace() for one in value))


def _distinctive(value: Any) -> bool:
    """Whether a value that comes again is likely the same thing, and no coincidence."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, str):
        return len(value) >= SHORTEST
    return (isinstance(value, int) and abs(value) >= 1000) or (isinstance(value, float) and not value.is_integer())


def _learn(id: str, answer: Any, known: dict[str, str]) -> None:
    """Note what an answer holds that is in no earlier one. Of a value that is there twice, the telling field counts."""
    mine: dict[str, tuple[bool, str]] = {}
    for count, (path, value) in enumerate(_leaves(answer, ())):
        if count == MAX_VALUES:
            break
        if not _distinctive(value) or not all(STEP.fullmatch(part) for part in path):
            continue
        key, telling = _key(value), bool(path) and path[-1] in TELLING
        if key not in known and (key not in mine or (telling and not mine[key][0])):
            mine[key] = telling, ".".join([f"${id}.output", *path])
    known |= {key: reference for key, (_, reference) in mine.items()}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(number)))
    else:
        yield path, value


def _after(before: Sequence[tuple[str, bool, set[str]]], writes: bool, refers: set[str]) -> list[str]:
    """What a call waits for: what it refers to, the last that wrote; one that writes, also those that read since."""
    wanted = set(refers)
    for id, wrote, _ in reversed(before):
        if wrote or writes:
            wanted.add(id)
        if wrote:
            break
    ancestors = {id: set(after) for id, _, after in before}
    for id, _, after in before:
        ancestors[id] = after.union(*(ancestors[one] for one in after))
    needed = {id for id in wanted if not any(id in ancestors[other] for other in wanted)}
    return [id for id, _, _ in before if id in needed]


def _fresh(name: str, taken: Mapping[str, Any]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _key(value: Any) -> str:
    return json.dumps(value)


def _node(reference: str) -> str:
    return reference[1:].partition(".")[0]
