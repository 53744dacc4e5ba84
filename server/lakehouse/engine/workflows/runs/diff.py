"""Two runs side by side: what they were given, and how each node fared in the one and in the other."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from lakehouse.engine.workflows.runs.record import NodeRecord, RunRecord

MAX_CHANGES = 50  # places of one value that are told
MAX_LINES = 80  # of one text's diff
_COMPARED = 100_000  # characters of a text: comparing line by line takes the square of their number
_SHOWN = 200  # characters of a value
_DEPTH = 100


class Change(BaseModel):
    """One place of a value that differs."""

    path: str = Field(description="$ is the value itself; $.a[0] is a place in it.")
    a: Any = Field(None, description="What is there in the one.")
    b: Any = Field(None, description="What is there in the other.")


class Fared(BaseModel):
    """A run, or a node of one."""

    status: str = Field(description="How it stands.")
    duration_ms: float | None = Field(None, description="How long it took.")
    cost_usd: float = Field(0.0, description="What its models cost.")


class NodeDiff(BaseModel):
    """One node in both runs; absent where a run has no such node."""

    id: str = Field(description="The node.")
    same: bool = Field(description="Status and output are the same.")
    a: Fared | None = Field(None, description="In the one.")
    b: Fared | None = Field(None, description="In the other.")
    changes: list[Change] = Field(description="Places of outputs that are JSON.")
    text: str | None = Field(None, description="Unified diff of outputs that are text.")


class RunDiff(BaseModel):
    """What is different between two runs."""

    a: Fared = Field(description="The one.")
    b: Fared = Field(description="The other.")
    same_workflow: bool = Field(description="Both ran the same text.")
    inputs: list[Change] = Field(description="What they were given.")
    nodes: list[NodeDiff] = Field(description="In the order of the file.")


Side = tuple[RunRecord, str, tuple[NodeRecord, ...]]


def diff_of(one: Side, other: Side) -> RunDiff:
    """Compare two runs: each its record, its status as it is shown, and its nodes in order. It takes time for much."""
    (a, a_status, a_nodes), (b, b_status, b_nodes) = one, other
    was, given = ({"message": record.message, "inputs": dict(record.inputs)} for record in (a, b))
    sides = [{node.path: node for node in nodes} for nodes in (a_nodes, b_nodes)]
    paths = [*sides[0], *(path for path in sides[1] if path not in sides[0])]
    return RunDiff(
        a=_run(a, a_status, a_nodes),
        b=_run(b, b_status, b_nodes),
        same_workflow={**a.bundle, "path": ""} == {**b.bundle, "path": ""},
        inputs=list(_some(changes_of(was, given))),
        nodes=[_node(path, sides[0].get(path), sides[1].get(path)) for path in paths],
    )


def changes_of(a: Any, b: Any, path: str = "$", depth: int = 0) -> Iterator[Change]:
    """The places at which two values of JSON differ."""
    if isinstance(a, dict) and isinstance(b, dict) and depth < _DEPTH:
        for key in [*a, *(key for key in b if key not in a)]:
            place = f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"
            yield from changes_of(a.get(key), b.get(key), place, depth + 1)
    elif isinstance(a, list) and isinstance(b, list) and depth < _DEPTH:
        for index in range(max(len(a), len(b))):
            left = a[index] if index < len(a) else None
            right = b[index] if index < len(b) else None
            yield from changes_of(left, right, f"{path}[{index}]", depth + 1)
    elif type(a) is not type(b) or a != b:
        yield Change(path=path, a=_shown(a), b=_shown(b))


def _node(path: str, a: NodeRecord | None, b: NodeRecord | None) -> NodeDiff:
    same_text = (a.text if a else "") == (b.text if b else "")
    changes: list[Change] = []
    text = None
    if a and b and a.typed and b.typed:
        changes = list(_some(changes_of(json.loads(a.text), json.loads(b.text)))) if not same_text else []
    elif not same_text:
        text = _lines(a.text if a else "", b.text if b else "")
    same = same_text and (a.status if a else "") == (b.status if b else "")
    return NodeDiff(id=path, same=same, a=_fared(a), b=_fared(b), changes=changes, text=text)


def _fared(node: NodeRecord | None) -> Fared | None:
    if node is None:
        return None
    return Fared(status=node.status, duration_ms=_ms(node.started_at, node.ended_at), cost_usd=node.cost_usd)


def _run(record: RunRecord, status: str, nodes: tuple[NodeRecord, ...]) -> Fared:
    cost = sum(node.cost_usd for node in nodes if "#" not in node.path)
    return Fared(status=status, duration_ms=_ms(record.started_at, record.ended_at), cost_usd=cost)


def _some(changes: Iterator[Change]) -> Iterator[Change]:
    for number, change in enumerate(changes):
        if number == MAX_CHANGES:
            yield Change(path="…")
            return
        yield change


def _lines(a: str, b: str) -> str:
    if max(len(a), len(b)) > _COMPARED:
        return f"{len(a)} and {len(b)} characters, too long to compare"
    found = list(difflib.unified_diff(a.splitlines(), b.splitlines(), "a", "b", lineterm="", n=1))
    more = [f"… {len(found) - MAX_LINES} more lines"] if len(found) > MAX_LINES else []
    return "\n".join([*found[:MAX_LINES], *more])


def _shown(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        text = json.dumps(value)
        return value if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return value[:_SHOWN] + "…" if isinstance(value, str) and len(value) > _SHOWN else value


def _ms(begin: float | None, end: float | None) -> float | None:
    return round((end - begin) * 1000, 3) if begin is not None and end is not None else None
