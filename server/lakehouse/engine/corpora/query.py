"""The rows of a SQL statement as documents: all of them, as one file that is read when the statement is done."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine.corpora.table import ROWS, Table
from lakehouse.errors import InvalidInput, TimedOut, TooLarge, Upstream

if TYPE_CHECKING:
    import pyarrow

    from lakehouse.engine.sql import Sql


class Query(Table):
    """A read-only statement whose rows are documents. Its columns are known once it has been run."""

    def __init__(
        self,
        name: str,
        sql: "Callable[[], Sql]",
        text: str,
        columns: tuple[Sequence[str] | None, str | None, Sequence[str] | None],
        limits: tuple[float, int],
        as_of: int | str | None,
        limit: int | None,
    ) -> None:
        """`columns` are those of the text ("text"), the id ("id") and the metadata; `limits` seconds and bytes."""
        self.name = name
        self._sql, self._statement = sql, text
        self._asked, self._limits, self._as_of, self._limit = columns, limits, as_of, limit
        self._kept = AsyncExitStack()
        self._path = Path()
        self._read: dict[str, int] = {}

    def facts(self) -> dict[str, Any]:
        """The statement, the versions it read, and the roles of its columns."""
        return {
            "source": "sql",
            "sql": self._statement,
            "read": self._read,
            "text": self._text,
            "id": self._id,
            "metadata": self._fields,
        }

    async def prepare(self) -> int:
        """Run it; the number of rows.

        Raises what a query raises, TooLarge and TimedOut rather than give some of the rows, and InvalidInput for no
        rows, columns that are not there, rows without an id and ids that occur twice.
        """
        seconds, size = self._limits
        spool = self._sql().spool(self._statement, as_of=self._as_of, seconds=seconds, max_bytes=size)
        found = await self._kept.enter_async_context(spool)
        if found.late:
            raise TimedOut(f"sql: it took over {seconds:g} seconds.", fix="Raise sql.export_timeout_secs.")
        if not found.complete:
            raise TooLarge(f"sql: its rows are over {size} bytes.", fix="Select fewer, or raise export.max_bytes.")
        columns = [column["name"] for column in found.columns]
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise InvalidInput(f"sql: two columns are called {twice[0]!r}.", fix="Rename one with AS.")
        text, id, metadata = self._asked
        for argument, names in (("text", text or ["text"]), ("id", [id or "id"])):
            if missing := [name for name in names if name not in columns]:
                raise InvalidInput(
                    f"{argument}: the statement gives no column {missing[0]!r}, but {', '.join(columns[:50])}.",
                    fix=f"Name another with {argument}, or select one AS {argument}.",
                )
        Table.__init__(self, columns, text or ["text"], id or "id", metadata)
        self._path, self._read = found.path, found.read
        count = await anyio.to_thread.run_sync(self._check_ids)
        if not count:
            raise InvalidInput("sql: the statement gives no rows.", fix="Ingest some first, or widen it.")
        return count

    async def aclose(self) -> None:
        """Remove the file of the rows."""
        with anyio.CancelScope(shield=True):
            await self._kept.aclose()

    def _batches(self, columns: list[str]) -> "Generator[pyarrow.RecordBatch, None, None]":
        import pyarrow

        left = self._limit
        try:
            with pyarrow.memory_map(str(self._path)) as file:
                reader = pyarrow.ipc.open_file(file)
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number).select(columns)
                    for start in range(0, batch.num_rows, ROWS):
                        part = batch.slice(start, ROWS if left is None else min(ROWS, left))
                        left = None if left is None else left - part.num_rows
                        yield part
                        if left == 0:
                            return
        except (pyarrow.ArrowException, OSError) as error:
            raise Upstream(
                f"the rows of the statement cannot be read: {type(error).__name__}.", fix="Build it again."
            ) from error
