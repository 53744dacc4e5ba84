"""The file runs are kept in: SQLite in WAL mode, one thread, and one commit for all that waits at a moment."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from lakehouse.engine.files import make_folder
from lakehouse.engine.workflows.runs.record import Event, Failure, NodeRecord, RunRecord, Starter
from lakehouse.errors import NotFound, disk_failed

T = TypeVar("T")
Change = tuple[str, tuple[Any, ...]]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, workflow TEXT NOT NULL, profile TEXT, status TEXT NOT NULL, started_at REAL NOT NULL,
    parent TEXT, record TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (started_at);
CREATE TABLE IF NOT EXISTS nodes (
    run TEXT NOT NULL, path TEXT NOT NULL, status TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, path)
    ) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    run TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
    data TEXT NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
"""


class Store:
    """Runs, their nodes and events. What a method that writes was given survives kill -9 once it returned.

    Raises Upstream where the disk fails; nothing of that write is kept then.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "runs.db"
        self._thread = anyio.CapacityLimiter(1)
        self._turn = anyio.Lock(fast_acquire=True)
        self._waiting: list[Change] = []
        self._connection: sqlite3.Connection | None = None
        self._seq: dict[str, int] = {}

    async def put_run(self, record: RunRecord) -> None:
        """Keep a run as it is now."""
        fields = asdict(record)
        row = (
            record.id,
            record.workflow,
            record.starter.profile,
            record.status,
            record.started_at,
            record.parent,
            json.dumps(fields),
        )
        await self._write(("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row))

    async def put_node(self, run: str, record: NodeRecord) -> None:
        """Keep a node as it is now."""
        await self.put_nodes(run, [record])

    async def put_nodes(self, run: str, records: Sequence[NodeRecord]) -> None:
        """Keep nodes as they are now, in one commit."""
        rows = [(run, one.path, one.status, json.dumps(asdict(one))) for one in records]
        await self._write(*[("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?)", row) for row in rows])

    def tell(self, run: str, event: Event) -> None:
        """Keep an event with the next write, or at `flush`."""
        seq = self._seq[run] = self._seq.get(run, 0) + 1
        row = (run, seq, event.at, event.kind, event.path, json.dumps(dict(event.data)))
        self._waiting.append(("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)", row))

    async def flush(self) -> None:
        """Keep what waits."""
        await self._write()

    async def run(self, id: str) -> RunRecord:
        """A run. Raises NotFound."""
        found = await self._read(lambda file: file.execute("SELECT record FROM runs WHERE id = ?", (id,)).fetchone())
        if found is None:
            raise unknown_run(id)
        return _run(found[0])

    async def runs(self, limit: int = 20, *, workflow: str | None = None) -> list[RunRecord]:
        """The newest runs, newest first."""

        def read(file: sqlite3.Connection) -> list[Any]:
            wanted, values = ("", ()) if workflow is None else ("WHERE workflow = ?", (workflow,))
            asked = f"SELECT record FROM runs {wanted} ORDER BY started_at DESC, id DESC LIMIT ?"
            return file.execute(asked, (*values, limit)).fetchall()

        return [_run(row[0]) for row in await self._read(read)]

    async def nodes(self, run: str) -> dict[str, NodeRecord]:
        """The nodes of a run by path."""
        asked = "SELECT record FROM nodes WHERE run = ?"
        rows = await self._read(lambda file: file.execute(asked, (run,)).fetchall())
        return {node.path: node for node in map(_node, (row[0] for row in rows))}

    async def events(self, run: str, after: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        """What happened in a run, in order, each with its number; those with a greater number than `after`."""
        await self.flush()
        asked = "SELECT seq, at, kind, path, data FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
        rows = await self._read(lambda file: file.execute(asked, (run, after, limit)).fetchall())
        return [(seq, Event(at, kind, path, json.loads(data))) for seq, at, kind, path, data in rows]

    async def aclose(self) -> None:
        """Keep what waits and close the file."""
        with anyio.CancelScope(shield=True):
            await self.flush()
            await anyio.to_thread.run_sync(self._close, limiter=self._thread)

    async def _write(self, *changes: Change) -> None:
        """Commit these with all that waits: while one commit reaches the disk, the next gathers."""
        self._waiting += changes
        with anyio.CancelScope(shield=True):
            async with self._turn:
                batch, self._waiting = self._waiting, []
                if batch:
                    await anyio.to_thread.run_sync(self._commit, batch, limiter=self._thread)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await anyio.to_thread.run_sync(lambda: work(self._open()), limiter=self._thread)

    def _commit(self, batch: Sequence[Change]) -> None:
        try:
            file = self._open()
            file.execute("BEGIN IMMEDIATE")
            try:
                for statement, row in batch:
                    file.execute(statement, row)
                file.execute("COMMIT")
            except BaseException:
                if file.in_transaction:
                    file.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise disk_failed(OSError(0, str(error))) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_folder(self._path.parent)
            file = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            file.executescript(_SCHEMA)
            self._connection = file
            self._seq = dict(file.execute("SELECT run, max(seq) FROM events GROUP BY run").fetchall()) | self._seq
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def unknown_run(id: str) -> NotFound:
    """The error for a run that is not there, or not for this caller to know of."""
    return NotFound(f"there is no run {id[:80]!r}.", fix="workflow_runs lists them.")


def _run(text: str) -> RunRecord:
    fields = json.loads(text)
    fields["starter"] = Starter(**{**fields["starter"], "toolsets": tuple(fields["starter"]["toolsets"])})
    fields["error"] = Failure(**fields["error"]) if fields["error"] else None
    return RunRecord(**fields)


def _node(text: str) -> NodeRecord:
    fields = json.loads(text)
    fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
    return NodeRecord(**{**fields, "ops": tuple(fields["ops"])})
