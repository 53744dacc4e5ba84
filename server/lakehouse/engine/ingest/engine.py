"""The reading engine of one ingest: DuckDB, shut in to one file in and one folder out."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.engine.connection import connect
from lakehouse.engine.quoting import literal

# Of rows that take more, 122,880 cannot be held in memory at once: their row groups are cut by bytes.
WIDE_ROW_BYTES = 2048
ROW_GROUP = 122_880
_WIDE_GROUP_BYTES = 64 * 2**20
_TICK = 0.5

Report = Callable[[float, str], None]


def literal_path(path: Path) -> str:
    """A path as the engine's readers take it: they would expand `*`, `?` and `[` in it."""
    if not any(mark in str(path) for mark in "*?["):
        return literal(str(path))
    link = Path("source")
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return literal(str(link))


@dataclass
class Engine:
    """A connection that may read `source` and write in the working folder; `report(percent, what)` hears how far it is.

    The working folder is named relatively, since its own path may hold marks that the readers expand.
    """

    source: Path
    memory_limit: str
    threads: int
    report: Report
    target: Path = Path("data.parquet")
    _connection: Any = field(init=False)
    _reported: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        folder = os.getcwd()
        self._connection = connect(self.threads, self.memory_limit, os.path.join(folder, "spill"))
        for setting in (
            "TimeZone = 'UTC'",
            "enable_progress_bar = true",
            "enable_progress_bar_print = false",
            f"allowed_paths = [{literal(str(self.source))}]",
            f"allowed_directories = [{literal(folder)}]",
            "enable_external_access = false",
        ):
            self._connection.execute(f"SET {setting}")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return found

    def register(self, view: str, reader: Any) -> None:
        """Make an Arrow stream readable once under a name."""
        self._connection.register(view, reader)

    def write(self, query: str, row_bytes: int, before: Callable[[], None] = lambda: None) -> int:
        """Write a query's rows as Parquet to `target` and return how many they are.

        `row_bytes` is what a row takes on average. `before` is called before the query runs, and again if it has to
        run twice. The bytes of the file are the same for any number of threads.
        """
        before()
        if row_bytes <= WIDE_ROW_BYTES:
            try:
                return self._copy(query, "")
            except duckdb.OutOfMemoryException:
                before()
        # Only a writer that need not keep the order cuts by bytes; one thread keeps it anyway.
        self._connection.execute("SET threads = 1")
        self._connection.execute("SET preserve_insertion_order = false")
        return self._copy(query, f", ROW_GROUP_SIZE_BYTES {_WIDE_GROUP_BYTES}")

    def _copy(self, query: str, more: str) -> int:
        done = self.rows(
            f"COPY ({query}) TO {literal(str(self.target))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3,"
            f" ROW_GROUP_SIZE {ROW_GROUP}, USE_TMP_FILE false{more})"
        )
        return int(done[0][0])

    def at(self, percent: float, what: str) -> None:
        """Report how far the whole ingest is; it never goes back."""
        self._reported = max(self._reported, percent)
        self.report(self._reported, what)

    @contextmanager
    def step(self, what: str, begin: float, end: float) -> Iterator[None]:
        """Report the progress of the statements inside as a share of the whole, in percent."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_TICK):
                share = max(0.0, float(self._connection.query_progress())) / 100
                self.at(begin + share * (end - begin), what)

        self.at(begin, what)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


@dataclass(frozen=True)
class Table:
    """What a finished Parquet file holds. `columns` are (name, Arrow type) pairs, `details` how the source was read."""

    rows: int
    columns: list[tuple[str, str]]
    warnings: list[str]
    details: dict[str, str]
