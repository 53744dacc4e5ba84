"""Standard output is where answers go: what plugins write there by themselves is sent to standard error instead."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress


@contextmanager
def spared() -> Iterator[None]:
    """While the block runs, whatever is printed, written to file descriptor 1, or written by child processes started
    in it goes to standard error, and standard input is empty. Process-wide: other threads' output goes there, too.
    """
    with ExitStack() as undo:
        _flush()
        # One without descriptors, such as a program without a console, has nothing to spare.
        with suppress(OSError, ValueError, AttributeError, io.UnsupportedOperation):
            kept_in, kept_out = os.dup(0), os.dup(1)
            undo.callback(_put_back, kept_in, kept_out)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            os.dup2(2, 1)
        if sys.stderr is not None:
            undo.enter_context(redirect_stdout(sys.stderr))
        yield


def _put_back(kept_in: int, kept_out: int) -> None:
    _flush()
    for kept, place in ((kept_in, 0), (kept_out, 1)):
        os.dup2(kept, place)
        os.close(kept)


def _flush() -> None:
    # Text that waits in a buffer would go where the descriptor points when the buffer is emptied.
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
