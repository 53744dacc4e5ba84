"""The embedding cache's file: an SQLite table that may be lost at any time and is never a reason to fail."""

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Row = tuple["np.ndarray", bool]

FORMAT = 1
AT_ONCE = 500
# SQLite's own words for: not this table, a broken page, a format it does not know, not a database at all.
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB}


class Store:
    """Vectors by key in a file of at most about `max_bytes`; the oldest leave first.

    A damaged file is thrown away and begun anew. Where it cannot be used (no room, no permission) nothing is found
    and nothing kept, and `problem` says why. Every method blocks.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.problem = ""
        self._path = path
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def get(self, keys: Sequence[str]) -> dict[str, Row]:
        """The vectors there are of these keys."""
        return self._attempt(lambda file: _read(file, keys), {})

    def put(self, rows: Mapping[str, Row]) -> None:
        """Keep vectors by key. They survive the end of the process, whatever ends it."""
        self._attempt(lambda file: self._write(file, rows), None)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def _attempt(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._lock:
            for last in (False, True):
                try:
                    if self._connection is None:
                        self._connection = self._open()
                    done = work(self._connection)
                    self.problem = ""
                    return done
                except (sqlite3.Error, OSError) as error:
                    self.problem = f"{type(error).__name__}: {error}"
                    self._close()
                    code = getattr(error, "sqlite_errorcode", None)
                    if last or code is None or code & 0xFF not in _DAMAGE or not self._discard():
                        break
            return otherwise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            file.execute("PRAGMA journal_mode=WAL")
            # A commit need not reach the disk: what a power failure takes is computed again.
            file.execute("PRAGMA synchronous=NORMAL")
            file.execute(f"PRAGMA journal_size_limit={64 * 2**20}")
            if file.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                with _transaction(file):
                    file.execute("DROP TABLE IF EXISTS vectors")
                    file.execute(
                        "CREATE TABLE vectors (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
                        " vector BLOB NOT NULL, truncated INTEGER NOT NULL, crc INTEGER NOT NULL)"
                    )
                    file.execute(f"PRAGMA user_version={FORMAT}")
        except BaseException:
            file.close()
            raise
        return file

    def _write(self, file: sqlite3.Connection, rows: Mapping[str, Row]) -> None:
        import numpy as np

        blobs = ((key, np.ascontiguousarray(v, "<f4").tobytes(), cut) for key, (v, cut) in rows.items())
        with _transaction(file):
            file.executemany(
                "INSERT OR REPLACE INTO vectors (key, vector, truncated, crc) VALUES (?, ?, ?, ?)",
                [(key, blob, int(cut), zlib.crc32(blob)) for key, blob, cut in blobs],
            )
        pages, free, size = (
            file.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self._max_bytes:
            file.execute("DELETE FROM vectors WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 10 FROM vectors)")

    def _close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                self.problem = f"{type(error).__name__}: {error}"
            self._connection = None

    def _discard(self) -> bool:
        try:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            self.problem = f"{type(error).__name__}: {error}"
            return False
        return True


@contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def _read(file: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Row]:
    import numpy as np

    found: dict[str, Row] = {}
    for at in range(0, len(keys), AT_ONCE):
        some = keys[at : at + AT_ONCE]
        marks = ",".join("?" * len(some))
        for key, blob, truncated, crc in file.execute(
            f"SELECT key, vector, truncated, crc FROM vectors WHERE key IN ({marks})", list(some)
        ):
            if zlib.crc32(blob) == crc:  # SQLite does not notice a changed bit inside a value
                found[key] = (np.frombuffer(blob, "<f4"), bool(truncated))
    return found
