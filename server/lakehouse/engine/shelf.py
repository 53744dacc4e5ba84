"""The folder of local copies: within its bytes, least recently used first, but for what is in use."""

import os
import shutil
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lakehouse.engine import files
from lakehouse.engine.holding import remove_unheld

_KEEP_SECS = 30 * 24 * 3600
FRESH_SECS = 60.0  # from being asked for to being opened by another process, a query's wait for its turn included


@dataclass
class _Copy:
    size: int
    used: float  # seconds since 1970
    asked: float = float("-inf")  # time.monotonic()


class Shelf:
    """Files by the SHA-256 of their contents, read-only. Every method blocks; threads may share it.

    When a process first uses it, files nobody used for thirty days go. Whenever it holds more than `max_bytes`, the
    least recently used go, but never one that was asked for within `fresh_secs`, is pinned by an object of this
    process, or held by another process (see Held): then it is over its bytes for a while.
    """

    def __init__(self, folder: Path, max_bytes: int, fresh_secs: float = FRESH_SECS) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._fresh_secs = fresh_secs
        self._lock = threading.RLock()
        self._copies: dict[str, _Copy] | None = None
        self._total = 0
        self._pins: Counter[str] = Counter()
        self._used: set[str] = set()
        self._told: deque[tuple[str, list[str], float]] = deque()  # what was said, and not heard yet

    def path(self, sha256: str) -> Path:
        """Where the file of these contents is, or would be."""
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str, size: int) -> bool:
        """Whether the file is here; it stays for a while then."""
        with self._lock:
            copies = self._known()
            try:
                if self.path(sha256).stat().st_size != size:
                    return False
            except FileNotFoundError:
                self._forget(sha256)
                return False
            self._note(copies, sha256, size)
            self._make_room()
        return True

    def keep(self, copy: Path, sha256: str) -> None:
        """Give a finished file its name; it is gone from `copy`. Raises OSError."""
        # Forced to the disk, though it could be fetched again: a file of the right size is believed after a power cut.
        copy.chmod(0o444)
        files.sync_file(copy)
        size = copy.stat().st_size
        with self._lock:
            copies = self._known()
            files.place(copy, self.path(sha256))
            self._note(copies, sha256, size)
            self._make_room()

    def used(self, names: Iterable[str]) -> None:
        """Note that files were read. It never waits, as `pin` does not."""
        self._told.append(("used", list(names), time.time()))

    def pin(self, names: Iterable[str], owner: object) -> None:
        """Keep files as long as an object of this process is there."""
        pinned = list(names)
        self._told.append(("pin", pinned, 0.0))
        weakref.finalize(owner, self._told.append, ("unpin", pinned, 0.0)).atexit = False

    def discard(self, sha256: str) -> None:
        """Remove a file whatever is done with it: it does not have its contents."""
        with self._lock:
            self.path(sha256).unlink(missing_ok=True)
            self._forget(sha256)

    def sweep(self) -> None:
        """Remove old files and leftovers of downloads, and make room; only the first time."""
        with self._lock:
            self._known()

    def clear(self) -> None:
        """Remove every file."""
        with self._lock:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._copies, self._total = None, 0

    def close(self) -> None:
        """Let the next process know what was used."""
        with self._lock:
            self._hear()
            for name in self._used:
                with suppress(OSError):
                    os.utime(self.path(name))
            self._used.clear()

    def _known(self) -> dict[str, _Copy]:
        if self._copies is None:
            self._copies, self._total = {}, 0
            oldest = time.time() - _KEEP_SECS
            for path in self.folder.glob("*/*"):
                with suppress(OSError):
                    found = path.stat()
                    if "#" in path.name or found.st_mtime < oldest:
                        path.unlink()
                    else:
                        self._copies[path.name] = _Copy(found.st_size, found.st_mtime)
                        self._total += found.st_size
            self._make_room()
        return self._copies

    def _note(self, copies: dict[str, _Copy], sha256: str, size: int) -> None:
        known = copies.get(sha256)
        self._total += size - (known.size if known else 0)
        copies[sha256] = _Copy(size, time.time(), time.monotonic())
        self._used.add(sha256)

    def _forget(self, sha256: str) -> None:
        found = self._copies.pop(sha256, None) if self._copies is not None else None
        if found is not None:
            self._total -= found.size

    def _hear(self) -> None:
        while self._told:
            what, names, when = self._told.popleft()
            if what == "used":
                self._used.update(names)
                for name in names:
                    if self._copies is not None and (found := self._copies.get(name)) is not None:
                        found.used = max(found.used, when)
            elif what == "pin":
                self._pins.update(names)
            else:
                self._pins.subtract(names)

    def _make_room(self) -> None:
        self._hear()
        if self._total <= self.max_bytes or self._copies is None:
            return
        fresh = time.monotonic() - self._fresh_secs
        for name, copy in sorted(self._copies.items(), key=lambda each: each[1].used):
            if self._total <= self.max_bytes:
                return
            if copy.asked < fresh and not self._pins[name] and remove_unheld(self.path(name)):
                self._forget(name)
