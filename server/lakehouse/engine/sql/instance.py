"""A locked DuckDB over one visible set of datasets; each becomes a view when it is first asked for."""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from lakehouse.engine.connection import connect
from lakehouse.engine.holding import Held
from lakehouse.engine.quoting import identifier, literal
from lakehouse.engine.relation import Part, relation, scan
from lakehouse.engine.sql.names import Names, alike, folded
from lakehouse.engine.sql.remote import register, streamed
from lakehouse.errors import TimedOut, Unavailable, Upstream

_READ_BYTES = 8 * 2**20
_RESTORE = "Ingest it again, or restore its data files from a backup; other datasets are not affected."


@dataclass(frozen=True)
class Limits:
    """What one query process may use."""

    threads: int
    memory: str
    spill_bytes: int
    seconds: float


@dataclass(frozen=True)
class View:
    """A dataset's name and files (with their sha256), or what is wrong with it, or that they are not here yet.

    `key` and `columns` are those of its version where reading it takes more than its files one after another.
    """

    name: str
    files: tuple[tuple[Part, str], ...]
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    problem: str = ""
    absent: bool = False
    dataset: str = ""  # the dataset's own name, where the query's is another: orders of "orders@v3"
    version: int = 0


class Files:
    """Which files have the content their dataset names, by inode, size and times: a change is seen at once."""

    def __init__(self, known: Mapping[str, Sequence[int]] = {}) -> None:
        self.known = {path: tuple(mark) for path, mark in known.items()}
        self.fresh: dict[str, tuple[int, ...]] = {}

    def check(self, path: str, sha256: str, deadline: float) -> bool:
        """Whether the file has this SHA-256. Raises OSError, and TimedOut when hashing passes the deadline."""
        with open(path, "rb", buffering=0) as file:
            mark = _mark(os.fstat(file.fileno()))
            if self.known.get(path) == mark:
                return True
            digest = hashlib.sha256()
            while part := file.read(_READ_BYTES):
                digest.update(part)
                if time.monotonic() > deadline:
                    raise TimedOut("the time was used up checking the dataset's files.", fix="Raise sql.timeout_secs.")
        if digest.hexdigest() != sha256:
            return False
        self.known[path] = self.fresh[path] = mark
        return True


class Instance:
    """One in-memory DuckDB that can read the data files of its datasets and nothing else.

    Plans go through the views of an `open` one, and name the files; what is made of them is for us alone.
    """

    def __init__(self, views: Iterable[View], limits: Limits, spill: str, files: Files, *, open: bool = False) -> None:
        self._kind = "VIEW" if open else "SECURE VIEW"
        self._views = {view.name: view for view in views}
        self._names = Names(self._views)
        self._files = files
        self.held = Held()
        self._shown: dict[str, View] = {}
        self._columns: dict[str, list[str]] = {}
        self._db = _locked(self._views.values(), limits, spill)

    def close(self) -> None:
        """Give up the memory and the files."""
        self._db.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one query."""
        return self._db.cursor()

    def show(self, tables: Sequence[str], deadline: float) -> list[View]:
        """Make these datasets readable, with their files verified; returns them. `deadline` as of time.monotonic().

        Raises InvalidInput for a name that is no dataset, Upstream naming a dataset that is damaged, Unavailable with
        the names of those whose files have to be fetched first.
        """
        chosen: dict[str, View] = {}
        for name in tables:
            view = self._find(name)
            if chosen.setdefault(folded(view.name), view) is not view:
                raise alike(view.name, chosen[folded(view.name)].name)
        absent = [view.name for view in chosen.values() if view.absent]
        if absent:
            raise Unavailable("the data files are not here yet.", fix="Ask again.", data={"absent": absent})
        for key, view in chosen.items():
            self._verify(view, deadline)
            if self._shown.get(key) is not view:
                self._create(key, view)
        return list(chosen.values())

    def columns_of(self, tables: Iterable[str]) -> list[str]:
        """The column names of datasets that were shown."""
        return [column for table in tables for column in self._columns.get(folded(table), ())]

    def _find(self, name: str) -> View:
        found = self._names.find(name)
        if found is None:
            raise self._names.unknown(name)
        return self._views[found]

    def _verify(self, view: View, deadline: float) -> None:
        if view.problem:
            raise Upstream(f"dataset {view.name!r} cannot be read: {view.problem}", fix=_RESTORE)
        damaged = {"damaged": view.name}
        for part, sha256 in view.files:
            if streamed(part.path):
                continue  # its parts come from the bucket; to check it would be to read all of it
            try:
                self.held.take(part.path)
                if not self._files.check(part.path, sha256, deadline):
                    raise Upstream(
                        f"dataset {view.name!r} is damaged: a data file has changed.", fix=_RESTORE, data=damaged
                    )
            except OSError as error:
                raise Upstream(
                    f"dataset {view.name!r} is damaged: a data file cannot be read ({error.strerror}).",
                    fix=_RESTORE,
                    data=damaged,
                ) from error

    def _create(self, key: str, view: View) -> None:
        parts = [part for part, _ in view.files]
        try:
            if view.columns:
                columns, query = list(view.columns), relation(parts, view.columns, view.key)
            else:
                # DuckDB's own names: of two columns that differ only by case it renames the second.
                columns = [row[0] for row in self._db.execute(f"DESCRIBE SELECT * FROM {scan(parts)}").fetchall()]
                query = relation(parts, columns)
            self._db.execute(f"CREATE OR REPLACE {self._kind} {identifier(view.name)} AS {query}")
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise  # these say nothing about the file
        except duckdb.Error as error:
            raise Upstream(
                f"dataset {view.name!r} is damaged: a data file is not readable Parquet.", fix=_RESTORE
            ) from error
        self._shown[key], self._columns[key] = view, columns


def _locked(views: Iterable[View], limits: Limits, spill: str) -> duckdb.DuckDBPyConnection:
    """A connection that can open exactly these files. The order matters: each step forbids the ones before it."""
    most = {"max_temp_directory_size": f"{limits.spill_bytes}B", "max_expression_depth": "250"}
    db = connect(limits.threads, limits.memory, spill, **most)
    db.execute("SET parquet_metadata_cache = true")  # as a start option it is refused
    paths = [part.path for view in views for part, _ in view.files]
    register(db, paths)
    db.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    db.execute("SET enable_external_access = false")
    db.execute("SET GLOBAL TimeZone = 'UTC'")  # answers do not depend on where the server stands
    db.execute(f"SET max_execution_time = {max(1, int(limits.seconds * 1000))}")
    db.execute("SET lock_configuration = true")
    return db


def _mark(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
