"""Questions to somebody, in the middle of a run: asked by pausing, answered durably, read when the run goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lakehouse.engine.workflows.running.step import Pause, Step
from lakehouse.engine.workflows.runs import NodeRecord
from lakehouse.errors import Conflict, InvalidInput, did_you_mean


@dataclass(frozen=True)
class Answer:
    """What somebody said at a gate: one of its decisions and a text, who and when (seconds since 1970)."""

    decision: str
    text: str = ""
    by: str = ""
    at: float = 0.0


def kept(step: Step) -> Mapping[str, Any]:
    """What a node keeps, as it is now."""
    return step.live.nodes[step.path].extra


def answers(extra: Mapping[str, Any]) -> list[Answer]:
    """All that was answered at a gate so far, the first first."""
    return [Answer(**answer) for answer in extra.get("answers", ())]


def asked(step: Step, number: int, message: str, decisions: Sequence[str], labels: Mapping[str, str]) -> Answer:
    """The answer to a gate's question of this number, counted from 0. Raises Pause until there is one.

    `labels` say more of decisions than their ids do.
    """
    given = answers(kept(step))
    if number < len(given):
        return given[number]
    raise Pause(message, {"message": message, "decisions": list(decisions), "labels": labels, "asked": number})


def waits(record: NodeRecord) -> bool:
    """Whether a node is a gate that waits for an answer; a group around one is paused, too, but asks nothing."""
    number = record.extra.get("asked")
    return record.status == "paused" and number is not None and len(answers(record.extra)) <= number


def accepted(record: NodeRecord, answer: Answer) -> NodeRecord:
    """A gate's record with an answer to what it asks now.

    Raises Conflict where it asks nothing or was answered already, and InvalidInput for a decision it does not offer.
    """
    offered = record.extra.get("decisions", ())
    given = answers(record.extra)
    if not waits(record):
        last = f": {given[-1].decision}, by {given[-1].by or 'somebody'}" if given else ""
        raise Conflict(f"{record.path} waits for no answer{last}.", fix="workflow_status tells what a run waits for.")
    if answer.decision not in offered:
        fix = did_you_mean(answer.decision, offered)
        raise InvalidInput(f"decision: {record.path} does not offer {answer.decision[:80]!r}.", fix=fix)
    return record.changed(extra={**record.extra, "answers": [asdict(one) for one in (*given, answer)]})
