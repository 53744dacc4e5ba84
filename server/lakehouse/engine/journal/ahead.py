"""The journal's write-ahead files: events are on the disk here before what they tell of is acknowledged."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from lakehouse.engine import files
from lakehouse.engine.journal.event import Event, event_of, micros_of
from lakehouse.engine.log import Log

MAX_EVENTS = 1000
SPAN_SECS = 10  # from the first to the last event of a file, so that one can be passed over by its name
_ALL = 2**62


class Ahead:
    """A folder of them. Every method blocks; several threads may call.

    A file is called after its first event. Once sealed, it is never written again: however often it is stored
    elsewhere, that is the same object, and it is removed when it is there. What a killed process left is sealed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._log: Log | None = None
        self._first = ""
        self._count = 0

    @property
    def count(self) -> int:
        """Events in the file that is being written."""
        return self._count

    def append(self, events: Sequence[Event]) -> None:
        """Write events, durably. Raises OSError; whether they were written is not known then."""
        with self._lock:
            if self._log is not None and self._full(events[-1].id):
                self._seal()
            if self._log is None:
                files.make_folder(self.folder)
                self._first = events[0].id
                self._log = Log(self.folder / f"{self._first}.jsonl", _ALL, durable=True)
            try:
                self._log.append([event.line() for event in events])
            except BaseException:
                self._seal()  # after a disk has failed, a later success says nothing of what was written before
                raise
            self._count += len(events)

    def seal(self) -> list[Path]:
        """End the file that is being written; returns all there are, the oldest first."""
        with self._lock:
            self._seal()
            return sorted(self.folder.glob("*.jsonl"))

    def events(self) -> list[Event]:
        """All events that are not stored elsewhere yet, of any order."""
        return [event for path in self.folder.glob("*.jsonl") for event in events_of(path)]

    def remove(self, path: Path) -> None:
        """Forget a sealed file, durably."""
        path.unlink(missing_ok=True)
        files.sync_folder(self.folder)

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._seal()

    def _full(self, id: str) -> bool:
        return self._count >= MAX_EVENTS or micros_of(id) - micros_of(self._first) > SPAN_SECS * 10**6

    def _seal(self) -> None:
        if self._log is not None:
            log, self._log, self._count = self._log, None, 0
            log.close()


def events_of(path: Path) -> list[Event]:
    """The events of one file; none when it has just been removed."""
    try:
        if not os.path.getsize(path):
            return []
    except FileNotFoundError:
        return []
    return [event for line in Log(path).tail(_ALL).records if (event := event_of(line)) is not None]
