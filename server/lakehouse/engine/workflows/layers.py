"""How far the nodes of a graph are from where it begins."""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Placed(Protocol):
    """A node, as far as its place in a graph goes."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def depends_on(self) -> Sequence[str]:
        """The ids of the nodes it needs; those of other graphs do not count."""


def layers(nodes: Iterable[Placed]) -> dict[str, int]:
    """How far each node is from those that depend on nothing, by the longest way. The graph has no cycles."""
    found: dict[str, int] = {}
    by_id = {node.id: node for node in nodes}
    for start in by_id:
        stack = [start]
        while stack:
            needs = [id for id in by_id[stack[-1]].depends_on if id in by_id]
            missing = [id for id in needs if id not in found]
            if missing:
                stack += missing
            else:
                found[stack.pop()] = max((found[id] + 1 for id in needs), default=0)
    return found
