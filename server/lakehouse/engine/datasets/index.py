"""A local copy of manifests that were read before: a catalog opens with one listing and reads only what is new."""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
At = tuple[str, int]  # a dataset's folder, and a version

FORMAT = 1
_AT_ONCE = 400
# SQLite's own words for: not this table, a broken page, a format it does not know, not a database at all.
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB}


class Index:
    """Manifests' bytes by bucket, folder and version, each with the tag the store had for it when it was read.

    The bucket is the truth. What is here is used only where a listing shows the same tag, and a manifest carries its
    own checksum, so that the file may be lost, damaged or out of date at any time: it is begun anew, silently. Where
    it cannot be used at all (no room, no permission, no `path`) nothing is found and nothing kept. Every method blocks.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def get(self, bucket: str, wanted: Mapping[At, str]) -> dict[At, bytes]:
        """The manifests there are with these tags."""
        return self._attempt(lambda file: _read(file, bucket, wanted), {}) if wanted else {}

    def put(self, bucket: str, found: Iterable[tuple[At, str, bytes]]) -> None:
        """Keep manifests with their tags."""
        rows = [(bucket, folder, version, tag, body) for (folder, version), tag, body in found]
        if rows:
            self._attempt(lambda file: _write(file, rows), None)

    def keep_only(self, bucket: str, there: Collection[At]) -> None:
        """Forget what a whole listing of the bucket does not show any more."""

        def forget(file: sqlite3.Connection) -> None:
            found = file.execute("SELECT folder, version FROM manifests WHERE bucket = ?", (bucket,)).fetchall()
            gone = [(bucket, *at) for at in set(found) - set(there)]
            if gone:
                file.execute("BEGIN IMMEDIATE")
                file.executemany("DELETE FROM manifests WHERE bucket = ? AND folder = ? AND version = ?", gone)
                file.execute("COMMIT")

        self._attempt(forget, None)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def _attempt(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self._path is None:
            return otherwise
        with self._lock:
            for last in (False, True):
                try:
                    if self._connection is None:
                        self._connection = _opened(self._path)
                    return work(self._connection)
                except (sqlite3.Error, OSError) as error:
                    self._close()
                    code = getattr(error, "sqlite_errorcode", None)
                    if last or code is None or code & 0xFF not in _DAMAGE or not self._discarded(self._path):
                        break
            return otherwise

    def _close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error:
                return  # it is not used again
            finally:
                self._connection = None

    @staticmethod
    def _discarded(path: Path) -> bool:
        try:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        return True


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # By the library of the language: sqlite-utils takes 0.3 s to import, ten times what opening a catalog may.
    file = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        file.execute("PRAGMA journal_mode=WAL")
        # A commit need not reach the disk: what a power failure takes is read from the bucket again.
        file.execute("PRAGMA synchronous=NORMAL")
        if file.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            file.execute("BEGIN IMMEDIATE")
            file.execute("DROP TABLE IF EXISTS manifests")
            file.execute(
                "CREATE TABLE manifests (bucket TEXT NOT NULL, folder TEXT NOT NULL, version INTEGER NOT NULL,"
                " tag TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (bucket, folder, version))"
            )
            file.execute(f"PRAGMA user_version={FORMAT}")
            file.execute("COMMIT")
    except BaseException:
        file.close()
        raise
    return file


def _write(file: sqlite3.Connection, rows: list[tuple[str, str, int, str, bytes]]) -> None:
    file.execute("BEGIN IMMEDIATE")
    try:
        file.executemany("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?)", rows)
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def _read(file: sqlite3.Connection, bucket: str, wanted: Mapping[At, str]) -> dict[At, bytes]:
    found: dict[At, bytes] = {}
    every = list(wanted)
    for start in range(0, len(every), _AT_ONCE):
        some = every[start : start + _AT_ONCE]
        marks = ", ".join(["(?, ?)"] * len(some))
        rows = file.execute(
            f"SELECT folder, version, tag, body FROM manifests WHERE bucket = ? AND (folder, version) IN ({marks})",
            [bucket, *(part for at in some for part in at)],
        )
        found |= {(folder, version): body for folder, version, tag, body in rows if wanted[folder, version] == tag}
    return found
