"""How processes on one data directory share it: the owner answers calls on a socket, the others attach to it."""

from lakehouse.attach.guest import Attachment, Gone, connect
from lakehouse.attach.host import Reception
from lakehouse.attach.wire import Asked

__all__ = ["Asked", "Attachment", "Gone", "Reception", "connect"]
