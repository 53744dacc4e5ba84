"""An append-only file of checksummed JSON lines that survives kill -9 and skips what was torn."""

import json
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.engine import files

_BLOCK = 256 * 1024
MAX_BEHIND = 20_000  # records that wait in memory, of a KiB or two each; a second's worth
_END = object()
_sync = getattr(os, "fdatasync", os.fsync)  # not every system has the former, which leaves out the time of writing
_TAIL = len(',"crc":"00000000"}')


@dataclass(frozen=True)
class Tail:
    """The newest records of a journal, oldest first, and how many lines among them were unreadable."""

    records: list[dict[str, Any]]
    skipped: int


class Log:
    """One log on disk. All methods block; call them from a worker thread. Several threads may append.

    A line is a JSON object whose last member is the CRC-32 of everything before it, so that any JSON tool reads it.
    Over `max_bytes` the file is kept as `<name>.1` (the one before it goes) and a new one is begun. A record is
    safe from the death of the process once `append` returns; unless `durable`, it is not forced to the disk.
    """

    def __init__(self, path: Path, max_bytes: int = 64 * 2**20, *, durable: bool = False) -> None:
        self.path = path
        self.previous = path.with_name(path.name + ".1")
        self._max_bytes = max_bytes
        self._durable = durable
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._size = 0
        self._torn = False

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Write records, all in one call to the system. Raises OSError; what was written by then stays readable."""
        data = b"".join(_line(record) for record in records)
        with self._lock:
            if self._handle is None or self._size >= self._max_bytes:
                self._open()
            assert self._handle is not None
            if self._torn:
                data = b"\n" + data
            written = os.write(self._handle, data)
            self._size += written
            self._torn = written < len(data)
            if self._torn:
                raise OSError(f"only {written} of {len(data)} bytes could be written")
            if self._durable:
                _sync(self._handle)

    def tail(self, count: int) -> Tail:
        """The newest `count` records; reads no more of the files than that takes."""
        records: list[dict[str, Any]] = []
        skipped = 0
        for path in (self.path, self.previous):
            if len(records) < count:
                older, bad = _last_records(path, count - len(records))
                records, skipped = older + records, skipped + bad
        return Tail(records, skipped)

    def close(self) -> None:
        """Let the file go. A later append opens it again."""
        with self._lock:
            self._close()

    def _open(self) -> None:
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if _size(self.path) >= self._max_bytes:
            os.replace(self.path, self.previous)
        # Reading is needed to see whether the last line was torn.
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
            torn = False
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                torn = os.read(handle, 1) != b"\n"
            elif self._durable:
                files.sync_folder(self.path.parent)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._size, self._torn = handle, size, torn

    def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


class Behind:
    """Writes from a thread of its own what nobody waits for; records that come within `gather` seconds go together.

    `write` gets them in the order they came. It is called from that thread alone, and must not raise.
    """

    def __init__(self, write: Callable[[list[Any]], None], gather: float) -> None:
        self._write = write
        self._gather = gather
        self._coming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, record: Any) -> bool:
        """Leave a record to be written; False when too many wait already, on a disk that does not answer."""
        if self._coming.qsize() >= MAX_BEHIND:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._coming.put(record)
        return True

    def close(self) -> None:
        """Return when all that came is written. It blocks. A later `put` begins anew."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._coming.put(_END)
            thread.join()

    def _run(self) -> None:
        batch: list[Any] = []
        while not batch or batch[-1] is not _END:
            batch = [self._coming.get()]
            if batch[0] is not _END:
                time.sleep(self._gather)
            with suppress(queue.Empty):
                while batch[-1] is not _END:
                    batch.append(self._coming.get_nowait())
            if records := [record for record in batch if record is not _END]:
                self._write(records)


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    head = text[:-1].encode()
    if len(text) == 2:
        raise ValueError("an empty record cannot be kept")
    return b'%s,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def _parse(line: bytes) -> dict[str, Any] | None:
    head, tail = line[:-_TAIL], line[-_TAIL:]
    if tail != b',"crc":"%08x"}' % zlib.crc32(head):
        return None
    try:
        record = json.loads(head + b"}")
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_records(path: Path, count: int) -> tuple[list[dict[str, Any]], int]:
    """The last `count` records of a file, oldest first, and the number of bad lines met on the way."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return [], 0
    with file:
        position = file.seek(0, os.SEEK_END)
        found: list[dict[str, Any]] = []
        skipped, rest = 0, b""
        while position and len(found) < count:
            size = min(_BLOCK, position)
            position = file.seek(position - size)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            if not position:
                lines.insert(0, rest)
            for line in filter(None, reversed(lines)):
                if len(found) == count:
                    break
                record = _parse(line)
                if record is None:
                    skipped += 1
                else:
                    found.append(record)
        return found[::-1], skipped
