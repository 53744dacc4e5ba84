"""How a process ends in time, whatever its threads are at."""

import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Given = TypeVarTuple("Given")

MAX_GRACE = 0.8  # seconds between the wish to end and the end
INTERRUPTED = 130  # the exit code of what Ctrl+C ended, as shells have it


def insist_on_ending(after: float = 0.0, code: int = 0) -> None:
    """The process ends within MAX_GRACE seconds, or so long `after` now, even when a thread is deep in a native call.

    It is called at the wish to end, before anything is cancelled: cancelling waits for such a thread. Nothing is
    lost: whatever was acknowledged is on disk already, and worker processes end with the pipes to them.
    """
    timer = threading.Timer(after + MAX_GRACE, os._exit, (code,))
    timer.daemon = True
    timer.start()


async def interruptible(work: Callable[[Unpack[Given]], Awaitable[T]], *given: *Given) -> T:
    """Await `work`; Ctrl+C cancels it as always, and ends the process soon: a bucket may not answer for minutes."""
    if threading.current_thread() is not threading.main_thread():
        return await work(*given)
    usual = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        insist_on_ending(code=INTERRUPTED)
        if callable(usual):
            usual(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        return await work(*given)
    finally:
        signal.signal(signal.SIGINT, usual)
