"""Locks on local copies of a bucket's files: whoever makes room leaves those that another process has open."""

import os
import re
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

_COPY = re.compile(r"[0-9a-f]{64}")  # copies are called by their contents; no file of a bucket's folder is


class Held:
    """Copies that stay where they are until `release`, or the end of the process."""

    def __init__(self) -> None:
        self._handles: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """What is held."""
        return list(self._handles)

    def take(self, path: str) -> None:
        """Hold a file, if it is a copy. Raises FileNotFoundError when it has just been removed."""
        name = os.path.basename(path)
        if fcntl is None or not _COPY.fullmatch(name) or name in self._handles:
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if not os.fstat(handle).st_nlink:
                raise FileNotFoundError(2, os.strerror(2))
        except BaseException:
            os.close(handle)
            raise
        self._handles[name] = handle

    def release(self) -> None:
        """Let all go."""
        while self._handles:
            os.close(self._handles.popitem()[1])


def remove_unheld(path: Path) -> bool:
    """Remove a file unless somebody holds it; whether it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    if fcntl is None:
        with suppress(OSError):
            path.unlink()
    return not path.exists()
