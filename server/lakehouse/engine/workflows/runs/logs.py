"""What is told of a run after the fact: its events, and the last lines that a node's programs printed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from lakehouse.engine import moment
from lakehouse.engine.workflows.runs.record import Event

_TAIL = 64 * 2**10  # bytes of a log that are looked at


class Told(BaseModel):
    """One event."""

    seq: int = Field(description="Its number.")
    at: str = Field(description="When.")
    event: str = Field(description="node_started, node_completed, iteration, tool_called, run_paused and so on.")
    node: str | None = Field(None, description="To which node.")
    data: dict[str, Any] = Field({}, description="What else is known of it.")


class Logs(BaseModel):
    """What happened in a run."""

    events: list[Told] = Field(description="In order.")
    next: int = Field(description="Give it as `after` for what comes next.")
    output: list[str] | None = Field(
        None, description="Of a node: the last lines its programs printed, with time and stream."
    )


def logs_of(folder: Path, node: str | None, events: Sequence[tuple[int, Event]], after: int, limit: int) -> Logs:
    """Events and, of a node, the end of its log in the run's folder. It blocks."""
    from lakehouse.engine.workflows.running.files import log_of

    told = [
        Told(seq=seq, at=moment.text_of(event.at), event=event.kind, node=event.path or None, data=dict(event.data))
        for seq, event in events
    ]
    lines = tail(log_of(folder, node), limit) if node is not None else None
    return Logs(events=told, next=events[-1][0] if events else after, output=lines)


def tail(path: Path, limit: int) -> list[str] | None:
    """The last lines of a file, of at most its last 64 KiB; None where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            found = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    return (found[1:] if size > _TAIL else found)[-limit:]
