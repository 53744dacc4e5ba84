"""Conversations that go on from one node to a later one."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lakehouse.engine.chat import Message
from lakehouse.engine.workflows.layers import layers
from lakehouse.engine.workflows.model import LoopGroup, Node
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.runs import Starter

MAX_EARLIER = 20  # runs among which the one is looked for that a conversation goes on from
Session = list[dict[str, Any]]
"""What was said, oldest first, as plain data: {role, content} of users and assistants, without tools' answers."""


def inherited(step: Step) -> Session:
    """The conversation that a node goes on with; empty for a new one.

    As `context` says: fresh, shared, or that of a node. Without it, new where others stand in the same layer of the
    graph, else that of the node before it which asked a model and stood alone in its layer.
    """
    node, context = step.node, step.node.context
    prefix = step.path.removesuffix(node.id)
    if context == "fresh":
        return []
    if context.startswith("resume:"):
        before = context.removeprefix("resume:").strip()
        found = _kept(step, prefix + before)
        if not found:
            step.warn(f"context: {before[:80]} left no conversation")
        return found
    threads = _around(step)
    if context != "shared" and node.id not in threads.alone:
        return []
    return next((kept for id in threads.before(node.id) if (kept := _kept(step, prefix + id))), [])


async def remembered(step: Step) -> Session:
    """What a node with `persist_session` said and heard in the newest earlier run of its workflow by the same starter.

    Empty for other nodes, and for the first. Who starts runs from two folders has a conversation in each.
    """
    live, agent = step.live, step.node.agent
    if agent is None or not agent.persist_session or step.node.context == "fresh" or live.dry:
        return []
    record = live.record
    for earlier in await live.store.runs(MAX_EARLIER, workflow=record.workflow, before=record.id):
        if _whose(earlier.starter) == _whose(record.starter):
            kept = (await live.store.nodes(earlier.id)).get(step.path)
            if kept is not None and kept.extra.get("session"):
                return list(kept.extra["session"])
    return []


def _whose(starter: Starter) -> tuple[object, ...]:
    return starter.name, starter.profile, starter.remote, starter.folder


def leave(step: Step, session: Session) -> None:
    """Leave a conversation with the node, where another may go on with it: durable when the node's end is."""
    agent = step.node.agent
    if _around(step).wanted(step.node.id) or (agent is not None and agent.persist_session):
        record = step.live.nodes[step.path]
        step.live.nodes[step.path] = record.changed(extra={**record.extra, "session": session})


def restored(session: Session) -> list[Message]:
    """The messages of a conversation."""
    return [Message(said["role"], said["content"]) for said in session]


def continued(session: Session, asked: str, answered: str, limit: int) -> Session:
    """A conversation with one more question and its answer; the oldest of both are left out above `limit` bytes."""
    session = [*session, {"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    sizes = [len(json.dumps(said).encode()) for said in session]
    while session and sum(sizes) > limit:
        session, sizes = session[2:], sizes[2:]
    return session


def _kept(step: Step, path: str) -> Session:
    record = step.live.nodes.get(path)
    return list(record.extra.get("session", ())) if record is not None else []


def _around(step: Step) -> "_Threads":
    """The graph a node stands in: the workflow's, or that of a loop group."""
    graphs: list[Sequence[Node]] = [step.live.workflow.nodes]
    for nodes in graphs:
        threads = _threads(_Graph(nodes))
        if threads.holds(step.node):
            return threads
        graphs += [one.body.nodes for one in nodes if isinstance(one.body, LoopGroup)]
    return _Threads((step.node,))


class _Graph:
    """Nodes as a key: the same ones, not equal ones."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    def __hash__(self) -> int:
        return id(self.nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Graph) and other.nodes is self.nodes


class _Threads:
    """Which nodes of a graph ask models, alone in their layer or not."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._layers = layers(nodes)
        counts: dict[int, int] = {}
        for layer in self._layers.values():
            counts[layer] = counts.get(layer, 0) + 1
        asking = [node for node in nodes if node.agent is not None]
        self.alone = {id for id, layer in self._layers.items() if counts[layer] == 1}
        resuming = [node.context.removeprefix("resume:") for node in nodes if node.context.startswith("resume:")]
        self._resumed = {id.strip() for id in resuming}
        self._steps = sorted((self._layers[node.id], node.id) for node in asking if node.id in self.alone)
        takers = [node for node in asking if node.context == "shared" or (not node.context and node.id in self.alone)]
        self._last = max((self._layers[node.id] for node in takers), default=0)

    def holds(self, node: Node) -> bool:
        """Whether it is one of these nodes."""
        return self._nodes.get(node.id) is node

    def before(self, id: str) -> list[str]:
        """Those that asked alone in earlier layers, the latest first."""
        place = bisect_left(self._steps, (self._layers[id], ""))
        return [id for _, id in reversed(self._steps[:place])]

    def wanted(self, id: str) -> bool:
        """Whether another node may go on with this one's conversation."""
        return id in self._resumed or (id in self.alone and self._layers[id] < self._last)


@lru_cache(maxsize=16)
def _threads(graph: _Graph) -> _Threads:
    return _Threads(graph.nodes)
