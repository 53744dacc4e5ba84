"""Long work in a thread ends with the call it is done for."""

from anyio.from_thread import check_cancelled


def heed() -> None:
    """Raise the cancellation of the call that waits for this thread, if it was cancelled or its time is over.

    A thread is waited for, whatever becomes of its call: without this, one that takes minutes keeps its place among
    the few that search. In a thread that no call waits for it does nothing.
    """
    try:
        check_cancelled()
    except RuntimeError:  # not a thread of anyio's
        return
