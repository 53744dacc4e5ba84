"""A run as it can be drawn: which nodes ran when, what each waited for, and what the whole took its time from."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from lakehouse.engine import moment
from lakehouse.engine.workflows.layers import layers
from lakehouse.engine.workflows.runs.again import ordered
from lakehouse.engine.workflows.runs.record import Event, NodeRecord, Planned, RunRecord


class Span(BaseModel):
    """One node. Times are milliseconds since the run began."""

    id: str = Field(description="The node.")
    kind: str = Field(description="What it is.")
    layer: int = Field(description="Nodes on the longest way to it.")
    depends_on: list[str] = Field(description="What it waits for.")
    status: str = Field(description="How it ended.")
    start_ms: float | None = Field(None, description="When it began.")
    end_ms: float | None = Field(None, description="When it ended.")
    queued_ms: float | None = Field(None, description="From when it could start until it did.")
    attempts: int = Field(description="How often it was tried.")
    iterations: int | None = Field(None, description="Of a loop.")
    critical: bool = Field(False, description="On the critical path.")


class Wait(BaseModel):
    """A time in which a gate waited for somebody."""

    node: str = Field(description="The gate.")
    from_ms: float = Field(description="From when.")
    to_ms: float | None = Field(None, description="Until when; absent: it still does.")


class Timeline(BaseModel):
    """What there is to draw of a run."""

    started_at: str = Field(description="When the run began.")
    duration_ms: float | None = Field(None, description="How long it took.")
    nodes: list[Span] = Field(description="In the order of the file.")
    critical_path: list[str] = Field(description="The nodes that the run took its time from, the first first.")
    waits: list[Wait] = Field(description="When gates waited.")


def timeline_of(record: RunRecord, nodes: Mapping[str, NodeRecord], events: Sequence[Event]) -> Timeline:
    """The timeline of a run; `events` are those that say when gates began to wait."""
    places = layers(record.plan)
    depends = {one.id: one.depends_on for one in record.plan}
    critical = critical_path(record.plan, nodes)

    def offset(at: float | None) -> float | None:
        return None if at is None else round(max(0.0, at - record.started_at) * 1000, 3)

    spans = []
    for node in ordered(record.plan, nodes):
        outer = node.path.partition("#")[0]
        after = depends.get(node.path, ())
        ready = max([record.started_at, *(nodes[id].ended_at or 0.0 for id in after if id in nodes)])
        began = node.started_at if node.status != "skipped" else None
        spans.append(
            Span(
                id=node.path,
                kind=node.kind,
                layer=places.get(outer, 0),
                depends_on=list(after),
                status=node.status,
                start_ms=offset(began),
                end_ms=offset(node.ended_at),
                queued_ms=round(max(0.0, began - ready) * 1000, 3) if began and node.path == outer else None,
                attempts=node.attempts,
                iterations=_iterations(node, nodes),
                critical=node.path in critical,
            )
        )
    ended = record.ended_at
    return Timeline(
        started_at=moment.text_of(record.started_at),
        duration_ms=offset(ended),
        nodes=spans,
        critical_path=critical,
        waits=_waits(record, nodes, events),
    )


def critical_path(plan: Sequence[Planned], nodes: Mapping[str, NodeRecord]) -> list[str]:
    """From the node that ended last back over what each waited for last; the first first."""
    depends = {one.id: one.depends_on for one in plan}

    def end(id: str) -> float:
        node = nodes.get(id)
        return (node.ended_at or 0.0) if node is not None and node.started_at else 0.0

    ran = [one.id for one in plan if end(one.id)]
    path: list[str] = []
    here = max(ran, key=end, default=None)
    while here is not None:
        path.append(here)
        here = max((id for id in depends[here] if end(id)), key=end, default=None)
    return path[::-1]


def _iterations(node: NodeRecord, nodes: Mapping[str, NodeRecord]) -> int | None:
    if node.kind not in ("loop", "loop_group"):
        return None
    inner = {path.partition("/")[0] for path in nodes if path.startswith(f"{node.path}#")}
    return max(len(inner), int(node.extra.get("iteration", 0)))


def _waits(record: RunRecord, nodes: Mapping[str, NodeRecord], events: Sequence[Event]) -> list[Wait]:
    """What each gate's questions and answers were apart: the nth question was answered by the nth answer."""
    asked: dict[str, list[float]] = {}
    for event in events:
        if event.kind == "node_paused":
            asked.setdefault(event.path, []).append(event.at)
    found = []
    for path, node in nodes.items():
        answers = [answer["at"] for answer in node.extra.get("answers", ())]
        questions = [at for at in asked.get(path, ()) if not answers or at <= answers[-1]]
        begin = 0.0
        for answer in answers:
            mine = [at for at in questions if begin < at <= answer]
            if mine:
                found.append(Wait(node=path, from_ms=_ms(record, mine[0]), to_ms=_ms(record, answer)))
            begin = answer
        if node.status == "paused" and "asked" in node.extra and len(answers) <= node.extra["asked"]:
            mine = [at for at in asked.get(path, ()) if at > begin]
            if mine:
                found.append(Wait(node=path, from_ms=_ms(record, mine[0])))
    return sorted(found, key=lambda wait: wait.from_ms)


def _ms(record: RunRecord, at: float) -> float:
    return round(max(0.0, at - record.started_at) * 1000, 3)
