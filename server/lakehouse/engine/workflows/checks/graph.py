"""The graph itself: ids, dependencies, cycles."""

from collections.abc import Sequence

from lakehouse.engine.workflows.checks.level import Findings, Level
from lakehouse.engine.workflows.model import Node

MAX_TOLD = 12


def check_graph(level: Level, findings: Findings) -> None:
    """Find ids that stand twice, dependencies on what is not there, and cycles, their members named."""
    for node in level.nodes:
        if level.by_id[node.id] is not node:
            findings.error(level.place(node.id, "id"), "there are two nodes of this id.", "Rename one.")
        for id in dict.fromkeys(node.depends_on):
            if id == node.id:
                findings.error(level.place(node.id, "depends_on"), "it depends on itself.", f"Take {id} out.")
            elif id not in level.by_id:
                where, fix = level.place(node.id, "depends_on"), findings.meant(id, level.by_id)
                if level.holder(id) is not None:
                    fix = "A loop group's nodes depend on nodes of the group; those outside have settled before."
                findings.error(where, f"there is no node {id}.", fix)
    for cycle in cycles(level.order[1]):
        if len(cycle) > 1:
            told = [*cycle[:MAX_TOLD], *(["…"] if len(cycle) > MAX_TOLD else []), cycle[0]]
            where, fix = level.place(cycle[0], "depends_on"), "Take one of these dependencies out."
            findings.error(where, f"the nodes wait for each other: {' -> '.join(told)}.", fix)


def cycles(nodes: Sequence[Node]) -> list[list[str]]:
    """Cycles among nodes that lie on one or behind one: each node of them is told of once."""
    left = {node.id: [id for id in node.depends_on] for node in nodes}
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in left:
        way: dict[str, int] = {}
        id: str | None = start
        while id is not None and id not in seen and id not in way:
            way[id] = len(way)
            id = next((other for other in left[id] if other in left), None)
        if id is not None and id in way:
            found.append(list(way)[way[id] :])
        seen.update(way)
    return found
