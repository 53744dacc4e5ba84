"""How processes on one data directory share it: the owner answers calls on a socket, the others attach to it."""

from lakehouse.attach.guest import Apart, Attachment, Foreign, Gone, Silent, answers, connect
from lakehouse.attach.host import SOCKET, Reception, reachable
from lakehouse.attach.wire import Asked, UnknownCapability

__all__ = [
    "SOCKET",
    "Apart",
    "Asked",
    "Attachment",
    "Foreign",
    "Gone",
    "Reception",
    "Silent",
    "UnknownCapability",
    "answers",
    "connect",
    "reachable",
]
