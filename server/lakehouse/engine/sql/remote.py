"""In the query process: a file system of files too large to be copied here, whose parts the parent reads.

The process has no network and no credentials. It asks for a range by the name of a file of its own set, and the parent
looks that name up in the same set: nothing else can be asked for.
"""

import io
import itertools
import queue
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

    from lakehouse.engine.sql.answer import Send

# DuckDB keeps what it read in memory, within its limit, of names that begin so: a second look asks for nothing.
PROTOCOL = "s3"
PREFIX = f"{PROTOCOL}://lake/"
_PIECE = 8 * 2**20  # bytes of one question
_UNCHANGING = datetime(2000, 1, 1)  # a file is named by its content


class Ranges:
    """Asks the parent for parts of files, from as many threads as the engine has."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._send: Send | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[bytes]] = {}

    def answered(self, header: Mapping[str, Any], payload: bytes) -> bool:
        """Whether a message is the answer to a question of this; it is handed on then."""
        waiting = self._waiting.pop(header.get("range", 0), None)
        if waiting is None:
            return False
        waiting.put(payload)
        return True

    def asking(self, send: "Send") -> None:
        """Ask through this from now on."""
        self._send = send

    def read(self, name: str, start: int, size: int) -> bytes:
        """Bytes of a file. The parent ends the process when it cannot read them: then nobody waits."""
        assert self._send is not None
        number = next(self._numbers)
        waiting = self._waiting[number] = queue.SimpleQueue()
        self._send({"range": number, "file": name, "start": start, "end": start + size}, b"")
        return waiting.get()


def streamed(path: str) -> bool:
    """Whether a file's parts are asked for, so that no local file has its content."""
    return path.startswith(PREFIX)


RANGES = Ranges()  # of this process


def opened(path: str) -> "File | str":
    """What other readers of Parquet than DuckDB take for a file."""
    return File(path, RANGES.sizes[path], RANGES) if streamed(path) else path


def register(db: "duckdb.DuckDBPyConnection", paths: Sequence[str]) -> None:
    """Let a connection open these files, if there are any."""
    if not any(streamed(path) for path in paths):
        return
    from fsspec import AbstractFileSystem

    ranges = RANGES

    class Files(AbstractFileSystem):  # type: ignore[misc]  # it has no types
        """What DuckDB asks of a file system it only reads from."""

        protocol = PROTOCOL
        cachable = False

        def open(self, path: str, mode: str = "rb", **_: Any) -> "File":
            if mode != "rb":
                raise PermissionError(f"{path} is read-only")
            return File(path, self.size(path), ranges)

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            return {"name": path, "size": self.size(path), "type": "file"}

        def size(self, path: str) -> int:
            if path not in ranges.sizes:
                raise FileNotFoundError(path)
            return ranges.sizes[path]

        def modified(self, path: str) -> datetime:
            return _UNCHANGING

        def exists(self, path: str, **_: Any) -> bool:
            return path in ranges.sizes

        def isfile(self, path: str) -> bool:
            return path in ranges.sizes

        def isdir(self, path: str) -> bool:
            return False

        def glob(self, path: str, **_: Any) -> list[str]:
            return [path] if path in ranges.sizes else []

    db.register_filesystem(Files())


class File:
    """One file, read-only."""

    closed = False

    def __init__(self, name: str, size: int, ranges: Ranges) -> None:
        self._name, self._size, self._ranges = name, size, ranges
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; where that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all of them when no size is given."""
        left = max(0, self._size - self._at)
        size = left if size < 0 else min(size, left)
        ends = self._at + size
        pieces = []
        while self._at < ends:
            pieces.append(self._ranges.read(self._name, self._at, min(_PIECE, ends - self._at)))
            self._at += len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        """There is nothing to close."""
