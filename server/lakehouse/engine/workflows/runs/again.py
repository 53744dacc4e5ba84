"""What of a run's nodes is taken along: by itself when it goes on, and by another run made of it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.runs.record import NodeRecord, Planned
from lakehouse.errors import InvalidInput, did_you_mean

COPIED = "copied"  # the reason of a success that another run had


def again(node: NodeRecord) -> NodeRecord:
    """A node's record as a run that goes on begins with it: what completed stays, all else waits, with what it kept."""
    if node.status == "completed":
        return node
    return node.changed(status="pending", reason="", text="", typed=False, failure=None, ended_at=None)


def copied(plan: Sequence[Planned], nodes: Mapping[str, NodeRecord], begin: str, at: float) -> dict[str, NodeRecord]:
    """The nodes of another run that a run which begins at a node need not run again, as of a moment.

    These are all that completed but that node and what depends on it. Raises InvalidInput for a node that is not there.
    """
    known = {one.id for one in plan}
    if begin not in known:
        outer = begin.partition("#")[0]
        fix = f"Begin at {outer}, which it is in." if outer in known else did_you_mean(begin, known)
        raise InvalidInput(f"from_node: there is no node {begin[:80]!r} to begin at.", fix=fix)
    stay = known - downstream(plan, begin)
    return {
        path: NodeRecord(
            path,
            node.kind,
            "completed",
            COPIED,
            node.text,
            node.typed,
            started_at=at,
            ended_at=at,
            model=node.model,
            extra=node.extra,
        )
        for path, node in nodes.items()
        if node.status == "completed" and _kept(path, nodes, stay)
    }


def downstream(plan: Sequence[Planned], begin: str) -> set[str]:
    """A node, and all that depends on it."""
    after: dict[str, list[str]] = {}
    for one in plan:
        for id in one.depends_on:
            after.setdefault(id, []).append(one.id)
    found, left = {begin}, [begin]
    while left:
        fresh = [id for id in after.get(left.pop(), ()) if id not in found]
        found.update(fresh)
        left += fresh
    return found


def child_id(run: str, path: str, index: int | None) -> str:
    """The id of the run below a node of a run, for one item of it or none: the same whenever it is asked for."""
    key = f"{run}:{path}" if index is None else f"{run}:{path}:{index}"
    return run[:14] + hashlib.sha256(key.encode()).hexdigest()[:16]


def ordered(plan: Iterable[Planned | Node], nodes: Mapping[str, NodeRecord]) -> tuple[NodeRecord, ...]:
    """Nodes in the order of the file, those of a group's iterations behind it; of those without a record, pending."""
    inner: dict[str, list[NodeRecord]] = {}
    for path, node in nodes.items():
        if "#" in path:
            inner.setdefault(path.partition("#")[0], []).append(node)
    found: list[NodeRecord] = []
    for one in plan:
        found.append(nodes.get(one.id) or NodeRecord(one.id, one.kind))
        found += sorted(inner.get(one.id, ()), key=lambda node: (node.started_at or 0.0, node.path))
    return tuple(found)


def _kept(path: str, nodes: Mapping[str, NodeRecord], stay: set[str]) -> bool:
    """Whether a node stays: of one in a group, whether the group does."""
    outer = path.partition("#")[0]
    return outer in stay and (outer == path or (outer in nodes and nodes[outer].status == "completed"))
