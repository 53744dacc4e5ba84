"""How triggers stand, as it is told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from lakehouse.engine import moment

if TYPE_CHECKING:
    from lakehouse.engine.workflows.triggers.state import State
    from lakehouse.engine.workflows.triggers.trigger import Trigger


@dataclass(frozen=True)
class Watched:
    """A trigger with what is kept of it; `last` is its newest run."""

    workflow: str
    trigger: "Trigger"
    state: "State | None"
    last: str | None
    status: str | None


class TriggerReport(BaseModel):
    """A trigger; of one that is wrong, what is."""

    workflow: str = Field(description="What it starts.")
    kind: str = Field("", description="cron, dataset or webhook.")
    on: str = Field("", description="The cron expression, dataset or hook.")
    next: str | None = Field(None, description="When it is due, UTC.")
    last_run: str | None = Field(None, description="Its newest run.")
    status: str | None = Field(None, description="Of that run.")
    missed: int = Field(0, description="Occasions while nobody watched.")
    missed_at: str | None = Field(None, description="When that was noticed.")
    skipped: int = Field(0, description="Those while the run before was not over.")
    skipped_at: str | None = Field(None, description="When the last was.")
    problem: str | None = Field(None, description="Why it does not fire, or began no run.")

    @classmethod
    def of(cls, watched: Watched, now: float | None) -> "TriggerReport":
        """A trigger as of now; None: triggers are switched off, and nothing is due."""
        from lakehouse.engine.workflows.triggers import due

        trigger, state = watched.trigger, watched.state
        at = due.following(trigger.on, trigger.timezone, now) if trigger.kind == "cron" and now is not None else None
        return cls(
            workflow=watched.workflow,
            kind=trigger.kind,
            on=trigger.on,
            next=_text(at),
            last_run=watched.last,
            status=watched.status,
            missed=state.missed if state else 0,
            missed_at=_text(state.missed_at) if state else None,
            skipped=state.skipped if state else 0,
            skipped_at=_text(state.skipped_at) if state else None,
            problem=state.failed or None if state else None,
        )


class TriggerList(BaseModel):
    """The triggers of this machine's workflow files."""

    enabled: bool = Field(description="Whether workflows.triggers is set.")
    triggers: list[TriggerReport] = Field(description="Each of them.")
    count: int = Field(description="How many.")


def _text(seconds: float | None) -> str | None:
    return None if seconds is None else moment.text_of(seconds)
