"""On whose behalf the engine works at the moment: set at the door, read where something is written down."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The token's name or the face, the call it is done in, the face itself, and the profile it is bound to.

    `local` is whoever needs no token: on this machine, or Lakehouse itself.
    """

    name: str = "lakehouse"
    call: str | None = None
    via: str = "lakehouse"
    profile: str | None = None
    local: bool = True


NOBODY = Actor()
acting: ContextVar[Actor] = ContextVar("lakehouse_actor", default=NOBODY)
