"""Calls as they were recorded, whole: out of a run's own record, or out of what the observer kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.engine.workflows.language import load
from lakehouse.engine.workflows.language.bundle import unpack
from lakehouse.engine.workflows.model import Mode
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.references import MissingReference, Output, Scope


@dataclass(frozen=True)
class Recorded:
    """One call that succeeded: what was called, with what, and what it answered. `id` is its op."""

    id: str
    op: str
    arguments: Mapping[str, Any]
    answer: Any


@dataclass(frozen=True)
class Recording:
    """Calls in the order they began, and what could not be taken."""

    calls: tuple[Recorded, ...]
    notes: tuple[str, ...] = ()
    name: str = field(default="", kw_only=True)


def of_run(state: RunState, modes: Callable[[str], ModeFacts | None]) -> Recording:
    """The calls that the mode nodes of a run made, with what their references stood for. It blocks."""
    record = state.record
    loaded = load(*unpack(record.bundle))
    if loaded.workflow is None:
        return Recording((), ("its workflow cannot be read any more.",))
    by_path = {node.path: node for node in state.nodes}
    scope = Scope.of(
        loaded.workflow.nodes, record.inputs, {"ARGUMENTS": record.message, "WORKFLOW_ID": record.id}, modes
    )
    scope = replace(scope, settled={path: node for path, node in by_path.items() if node.status != "pending"})
    found: list[tuple[float, Recorded]] = []
    notes = []
    for node in loaded.workflow.nodes:
        ran = by_path.get(node.id)
        if not isinstance(node.body, Mode):
            notes.append(f"{node.id}: it is a {node.kind}, no call.")
        elif ran is None or ran.status != "completed":
            notes.append(f"{node.id}: it did not complete.")
        else:
            try:
                given = {name: scope.given(value) for name, value in node.given.items()}
            except MissingReference as error:
                notes.append(f"{node.id}: {error.detail}")
                continue
            answer = Output(ran.text, ran.typed).value
            op = ran.ops[-1] if ran.ops else node.id
            found.append((ran.started_at or 0.0, Recorded(op, node.body.name, given, answer)))
    found.sort(key=lambda one: one[0])
    return Recording(tuple(one for _, one in found), tuple(notes), name=record.workflow)


def of_kept(kept: Sequence[Mapping[str, Any]], setting: str) -> Recording:
    """Calls that the observer kept, oldest first. What failed, or was too long to keep, is told and left out."""
    calls, notes = [], []
    for one in kept:
        told = f"{one['op']} ({one['id']})"
        if not one["success"]:
            notes.append(f"{told}: it failed.")
        elif one.get("cut"):
            notes.append(f"{told}: it was too long to be kept; raise {setting} and make it again.")
        else:
            calls.append(Recorded(one["id"], one["op"], one["arguments"], one["answer"]))
    return Recording(tuple(calls), tuple(notes))
