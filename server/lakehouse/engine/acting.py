"""On whose behalf the engine works at the moment: set at the door, read where something is written down."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The token's name or the face, and the call it is done in."""

    name: str = "lakehouse"
    call: str | None = None


NOBODY = Actor()
acting: ContextVar[Actor] = ContextVar("lakehouse_actor", default=NOBODY)
