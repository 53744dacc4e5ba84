"""The file runs are kept in: SQLite in WAL mode, one thread, and one commit for all that waits at a moment."""

import copy
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from lakehouse.engine.files import make_folder
from lakehouse.engine.workflows.runs import rows
from lakehouse.engine.workflows.runs.outputs import Damaged, Outputs, long
from lakehouse.engine.workflows.runs.record import Event, Failure, NodeRecord, RunRecord
from lakehouse.errors import Busy, LakehouseError, NotFound, Unavailable, disk_failed

T = TypeVar("T")
Change = tuple[str, tuple[Any, ...]]
FILE = "runs.db"
MIB = 2**20
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Batch:
    """Changes that are committed together, and how that went."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.done = False
        self.error: LakehouseError | None = None


class Store:
    """Runs, their nodes and events. What a method that writes was given survives kill -9 once it returned.

    Raises Upstream where the disk fails, and nothing of that write is kept then; Unavailable for a file that is
    damaged or of another format, TooLarge for a text over the limit.
    """

    def __init__(self, folder: Path, max_output_bytes: int = 16 * MIB) -> None:
        self._path = folder / FILE
        self.outputs = Outputs(folder, max_output_bytes)
        self._thread = anyio.CapacityLimiter(1)
        # A thread whose task was cancelled by asyncio itself goes on: it must not meet the next, or the closing.
        self._using = threading.Lock()
        self._turn = anyio.Lock(fast_acquire=True)
        self._gathering = Batch()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # the one that is open

    async def add_run(self, record: RunRecord, nodes: Sequence[NodeRecord] = ()) -> None:
        """Keep a run that begins, with what it was started with and the nodes it has already."""
        file = await self._spilled(record.id, record.result, "result")
        await self._write((rows.ADD_RUN, rows.run_row(record, file)), *await self._node_rows(record.id, nodes))

    async def put_run(self, record: RunRecord) -> None:
        """Keep what changed of a run: its status, its end, its result."""
        file = await self._spilled(record.id, record.result, "result")
        await self._write((rows.CHANGE_RUN, rows.changed_row(record, file)))

    async def reopen(self, record: RunRecord, nodes: Sequence[NodeRecord]) -> None:
        """Keep that a run goes on, and these of its nodes, at once."""
        await self._write((rows.CHANGE_RUN, rows.changed_row(record, None)), *await self._node_rows(record.id, nodes))

    async def put_node(self, run: str, record: NodeRecord) -> None:
        """Keep a node as it is now."""
        await self.put_nodes(run, [record.path], {record.path: record})

    async def put_nodes(self, run: str, paths: Sequence[str], nodes: Mapping[str, NodeRecord]) -> None:
        """Keep the nodes of these paths at once: all of them or none.

        `nodes` may change while long outputs are written: what is kept is how it has them afterwards, so that no later
        write of a node is undone by an earlier one.
        """
        files: dict[str, str | None] = {}
        while fresh := [nodes[path] for path in paths if nodes[path].text not in files]:
            for record in fresh:
                files[record.text] = await self._spilled(run, record.text, f"output of {record.path}")
        now = [nodes[path] for path in paths]
        await self._write(*((rows.PUT_NODE, rows.node_row(run, record, files[record.text])) for record in now))

    def tell(self, run: str, event: Event) -> None:
        """Keep an event with the next write, or at `flush`."""
        self._gathering.changes.append((rows.ADD_EVENT, rows.event_row(run, event)))

    async def flush(self) -> None:
        """Keep what waits."""
        await self._write()

    async def run(self, id: str) -> RunRecord:
        """A run. Raises NotFound."""
        found = await self.find(id)
        if found is None:
            raise unknown_run(id)
        return found

    async def find(self, id: str) -> RunRecord | None:
        """A run, or None where there is none of this id."""

        def read(file: sqlite3.Connection) -> RunRecord | None:
            row = file.execute(f"{rows.WHOLE_RUN} WHERE id = ?", (id,)).fetchone()
            return self._run(row) if row is not None else None

        return await self._read(read)

    async def runs(
        self,
        limit: int = 20,
        *,
        workflow: str | None = None,
        statuses: Sequence[str] = (),
        profile: str | None = None,
        parent: str | None = None,
        roots: bool = False,
        before: str | None = None,
        among: Sequence[str] | None = None,
        without: Sequence[str] = (),
    ) -> list[RunRecord]:
        """The newest runs, newest first, without bundle, inputs and plan; those that began before the run `before`.

        Those below the run `parent`, or `roots`, those below none; `among` and `without` are ids. `profile` None is
        everybody's; no `statuses` are all.
        """
        wanted, values = ["parent IS NULL" if roots else "TRUE"], []
        for column, value in (("workflow", workflow), ("profile", profile), ("parent", parent)):
            if value is not None:
                wanted.append(f"{column} = ?")
                values.append(value)
        for column, chosen in (("status IN", statuses or None), ("id IN", among), ("id NOT IN", without or None)):
            if chosen is not None:
                wanted.append(f"{column} ({', '.join('?' * len(chosen))})")
                values += chosen
        if before is not None:
            wanted.append("(started_at, id) < ((SELECT started_at FROM runs WHERE id = ?), ?)")
            values += [before, before]
        asked = f"{rows.LISTED_RUN} WHERE {' AND '.join(wanted)} ORDER BY started_at DESC, id DESC LIMIT ?"

        def read(file: sqlite3.Connection) -> list[RunRecord]:
            return [rows.run_of(row)[0] for row in file.execute(asked, (*values, limit))]

        return await self._read(read)

    async def below(self, run: str) -> list[RunRecord]:
        """The runs below a run, of every depth, as `runs` gives them."""
        found = await self.runs(-1, parent=run)
        return found + [deeper for one in found for deeper in await self.below(one.id)]

    async def nodes(self, run: str) -> dict[str, NodeRecord]:
        """The nodes of a run by path. One whose output is damaged has failed."""

        def read(file: sqlite3.Connection) -> dict[str, NodeRecord]:
            found = [self._node(run, row) for row in file.execute(rows.NODES, (run,))]
            return {node.path: node for node in found}

        return await self._read(read)

    async def events(
        self, run: str, after: int = 0, limit: int = 1000, path: str | None = None
    ) -> list[tuple[int, Event]]:
        """What happened in a run, or to one node of it, in order, each with its number; those after a number."""
        return await self._events("seq > ?", [after], run, limit, path)

    async def events_of(self, run: str, kind: str) -> list[Event]:
        """All events of a run of one kind, in order."""
        return [event for _, event in await self._events("kind = ?", [kind], run, -1, None)]

    async def _events(
        self, wanted: str, values: list[Any], run: str, limit: int, path: str | None
    ) -> list[tuple[int, Event]]:
        await self.flush()
        if path is not None:
            wanted, values = f"{wanted} AND path = ?", [*values, path]
        asked = f"SELECT seq, at, kind, path, data FROM events WHERE run = ? AND {wanted} ORDER BY seq LIMIT ?"

        def read(file: sqlite3.Connection) -> list[tuple[int, Event]]:
            return [rows.event_of(row) for row in file.execute(asked, (run, *values, limit))]

        return await self._read(read)

    async def remove(self, runs: Sequence[str]) -> None:
        """Forget runs, their nodes and events; then their folders."""
        tables = (("runs", "id"), ("nodes", "run"), ("events", "run"))
        for start in range(0, len(runs), 100):
            some = runs[start : start + 100]
            await self._write(
                *((f"DELETE FROM {table} WHERE {key} = ?", (run,)) for run in some for table, key in tables)
            )
            await anyio.to_thread.run_sync(self.outputs.remove, *some)

    async def faults(self) -> list[tuple[str, str]]:
        """What is damaged: a file's place in the data directory, and what is wrong with it. It reads all outputs."""

        def read(file: sqlite3.Connection) -> list[tuple[str, str]]:
            found = [(f"runs/{FILE}", told) for (told,) in file.execute("PRAGMA quick_check(5)") if told != "ok"]
            named = file.execute(
                "SELECT run, file FROM nodes WHERE file IS NOT NULL UNION "
                "SELECT id, result_file FROM runs WHERE result_file IS NOT NULL"
            ).fetchall()
            for run, name in named:
                try:
                    self.outputs.get(run, name)
                except Damaged:
                    found.append((self.outputs.place(run, name), "it is missing, or not what was stored."))
            return found

        if not await anyio.to_thread.run_sync(self._path.is_file):
            return []
        try:
            return await self._read(read)
        except Unavailable as error:
            return [(f"runs/{FILE}", error.detail)]

    async def aclose(self) -> None:
        """Keep what waits and close the file."""
        with anyio.CancelScope(shield=True):
            with suppress(LakehouseError):  # events alone wait here, and a file that fails is closed all the same
                await self.flush()
            await anyio.to_thread.run_sync(self._close, limiter=self._thread)

    async def _node_rows(self, run: str, records: Sequence[NodeRecord]) -> list[Change]:
        changes = []
        for record in records:
            file = await self._spilled(run, record.text, f"output of {record.path}")
            changes.append((rows.PUT_NODE, rows.node_row(run, record, file)))
        return changes

    async def _spilled(self, run: str, text: str, what: str) -> str | None:
        """The file of a long text, durable before a commit names it; None for a short one."""
        if not long(text):
            return None
        self.outputs.check(text, what)
        return await anyio.to_thread.run_sync(self.outputs.put, run, text)

    async def _write(self, *changes: Change) -> None:
        """Commit these with all that waits: while one commit reaches the disk, the next gathers."""
        batch = self._gathering
        batch.changes += changes
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not batch.done:
                    self._gathering, batch.done = Batch(), True
                    if batch.changes:
                        try:
                            await anyio.to_thread.run_sync(self._commit, batch.changes, limiter=self._thread)
                        except LakehouseError as error:
                            batch.error = error
                        except BaseException:  # asyncio's own cancellation stops at no shield: how it ends is unknown
                            batch.error = Unavailable("writing was cut short.", fix="Resume the run.")
                            raise
        if batch.error is not None:
            raise copy.copy(batch.error)  # whoever shares the batch gets one of their own

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            try:
                with self._using:
                    return work(self._open())
            except sqlite3.Error as error:
                raise _failed(error) from error
            except (ValueError, KeyError, TypeError) as error:  # a row that is none of ours
                raise _damaged() from error

        return await anyio.to_thread.run_sync(read, limiter=self._thread)

    def _commit(self, changes: Sequence[Change]) -> None:
        try:
            with self._using:
                file = self._open()
                file.execute("BEGIN IMMEDIATE")
                try:
                    for statement, row in changes:
                        file.execute(statement, row)
                    file.execute("COMMIT")
                except BaseException:
                    if file.in_transaction:
                        file.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise _failed(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                make_folder(self._path.parent)
            except OSError as error:
                raise disk_failed(error) from error
            file = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(file)
            except BaseException:
                file.close()
                raise
            self._connection, self._file = file, self._there()
        elif self._there() != self._file:  # what is written to a file without a name is lost
            raise Unavailable(
                f"runs/{FILE} in the data directory was removed or replaced while this process had it open.",
                fix="Put it back if it was moved, or start this process again.",
            )
        return self._connection

    def _there(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _prepare(self, file: sqlite3.Connection) -> None:
        (found,) = file.execute("PRAGMA user_version").fetchone()
        if found > rows.FORMAT:
            raise Unavailable(
                f"runs/{FILE} is of format {found}, which a newer version of Lakehouse wrote; this one knows "
                f"{rows.FORMAT}.",
                fix="Use that version.",
            )
        if found == 0 and file.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise _damaged()  # somebody else's: it stays as it is
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
        if found == 0:
            file.executescript(f"BEGIN; {rows.SCHEMA} PRAGMA user_version = {rows.FORMAT}; COMMIT;")

    def _close(self) -> None:
        with self._using:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, row: tuple[Any, ...]) -> RunRecord:
        record, file = rows.run_of(row)
        if file is None:
            return record
        try:
            return record.changed(result=self.outputs.get(record.id, file))
        except Damaged:
            return record

    def _node(self, run: str, row: tuple[Any, ...]) -> NodeRecord:
        record, file = rows.node_of(row)
        if file is None:
            return record
        try:
            return record.changed(text=self.outputs.get(run, file))
        except Damaged:
            failure = Failure("unavailable", "its output is damaged.", "Resume the run: the node runs again.")
            return record.changed(status="failed", failure=failure)


def unknown_run(id: str) -> NotFound:
    """The error for a run that is not there, or not for this caller to know of."""
    return NotFound(f"there is no run {id[:80]!r}.", fix="workflow_runs lists them.")


def _failed(error: sqlite3.Error) -> LakehouseError:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if code & 0xFF in _DAMAGED or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return _damaged()
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("another program has the file of runs open and writes to it.", fix="Close that, and try again.")
    if code & 0xFF in _DISK:
        return disk_failed(OSError(0, str(error)))
    return Unavailable(f"the file of runs cannot be used: {error}.", fix=f"See whether runs/{FILE} can be written to.")


def _damaged() -> Unavailable:
    return Unavailable(
        f"runs/{FILE} in the data directory is damaged.",
        fix="Restore it from a backup; or move it away, and runs begin anew. All else in the lake is unharmed.",
    )
