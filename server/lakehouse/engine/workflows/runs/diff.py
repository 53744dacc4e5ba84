"""Two runs side by side: what they were given, and how each node fared in the one and in the other."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from lakehouse.engine.workflows.runs.again import ordered
from lakehouse.engine.workflows.runs.record import NodeRecord, RunRecord

MAX_CHANGES = 50  # places of one value that are told
MAX_LINES = 80  # of one text's diff
_COMPARED = 100_000  # characters of a text: comparing line by line takes the square of their number
_SHOWN = 200  # characters of a value
_DEPTH = 100


class Change(BaseModel):
    """One place of a value that differs."""

    path: str = Field(description="$ is the value itself; $.a[0] is a place in it.")
    a: Any = None
    b: Any = None


class NodeDiff(BaseModel):
    """One node in both runs."""

    id: str
    same: bool = Field(description="Status and output are the same.")
    status: list[str | None] = Field(description="In a and in b; null where a run has no such node.")
    changes: list[Change] = Field(description="Places of outputs that are JSON.")
    text: str | None = Field(None, description="Unified diff of outputs that are text.")
    duration_ms: list[float | None]
    cost_usd: list[float]


class RunDiff(BaseModel):
    """What is different between two runs."""

    a: str
    b: str
    status: list[str]
    same_workflow: bool = Field(description="Both ran the same text.")
    inputs: list[Change]
    nodes: list[NodeDiff]
    duration_ms: list[float | None]
    cost_usd: list[float]


Side = tuple[RunRecord, str, dict[str, NodeRecord]]


def diff_of(one: Side, other: Side) -> RunDiff:
    """Compare two runs: each its record, its status as it is shown, and its nodes by path. It takes time for much."""
    (a, a_status, a_nodes), (b, b_status, b_nodes) = one, other
    given = [{"message": record.message, "inputs": dict(record.inputs)} for record in (a, b)]
    paths = [node.path for node in ordered(a.plan, a_nodes)]
    paths += [node.path for node in ordered(b.plan, b_nodes) if node.path not in set(paths)]
    sides = [{node.path: node for node in ordered(record.plan, nodes)} for record, _, nodes in (one, other)]
    return RunDiff(
        a=a.id,
        b=b.id,
        status=[a_status, b_status],
        same_workflow={**a.bundle, "path": ""} == {**b.bundle, "path": ""},
        inputs=list(_some(changes_of(*given))),
        nodes=[_node(path, sides[0].get(path), sides[1].get(path)) for path in paths],
        duration_ms=[_ms(record.started_at, record.ended_at) for record in (a, b)],
        cost_usd=[sum(node.cost_usd for node in nodes.values()) for nodes in (a_nodes, b_nodes)],
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
    statuses = [one.status if one else None for one in (a, b)]
    return NodeDiff(
        id=path,
        same=same_text and statuses[0] == statuses[1],
        status=statuses,
        changes=changes,
        text=text,
        duration_ms=[_ms(one.started_at, one.ended_at) if one else None for one in (a, b)],
        cost_usd=[one.cost_usd if one else 0.0 for one in (a, b)],
    )


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
