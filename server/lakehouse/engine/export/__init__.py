"""Rows as files: kept results and whole queries, in any format, all of them or none."""

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.from_thread import check_cancelled

from lakehouse.engine import files
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.export.formats import FORMATS, MEDIA, Format, FormatName, format_called, format_for
from lakehouse.engine.places import check_apart, check_place, check_remote, written_at
from lakehouse.errors import Conflict, InvalidInput, NotFound, TimedOut, TooLarge, Upstream

if TYPE_CHECKING:
    from lakehouse import config
    from lakehouse.engine.results import Results
    from lakehouse.engine.sql import AsOf, Sql
    from lakehouse.engine.storage import Storage

__all__ = ["FORMATS", "MEDIA", "Exporter", "File", "Format", "FormatName", "Place", "Table", "format_called"]

Progress = Callable[[float, float | None, str], Awaitable[None]]


@dataclass(frozen=True)
class Table:
    """Rows on disk: an Arrow IPC file (`rows`), JSON arrays a line (`lines`), or one JSON text (`json`)."""

    path: Path
    kind: str
    columns: Sequence[Mapping[str, Any]]
    row_count: int


@dataclass(frozen=True)
class File:
    """A finished file. `etag` is a tag for its bytes where the same export gives the same ones."""

    path: Path
    size: int
    rows: int
    format: Format
    filename: str
    etag: str | None = None
    temporary: bool = True


@dataclass(frozen=True)
class Place:
    """Where a file is to be written, and for whom: `anywhere` for who has a shell on this machine anyway."""

    path: Path
    overwrite: bool = False
    anywhere: bool = False
    remote: bool = False


class Exporter:
    """Writes exports. A few at once; each is written by a process of its own, which ends with the call."""

    def __init__(self, storage: "Storage", results: "Results", settings: "config.Export", seconds: float) -> None:
        """`seconds` is how long the query of an export may run: `sql.export_timeout_secs`."""
        self._scratch, self._shut = storage.scratch_root, storage.shut
        self._results, self._settings = results, settings
        self._seconds = seconds
        self._turns = anyio.Semaphore(2, fast_acquire=True)
        # A long export leaves the other places for queries to everybody else.
        self._query_turn = anyio.Semaphore(1, fast_acquire=True)

    async def result(self, id: str, format: Format, *, guard: bool = False, progress: Progress | None = None) -> File:
        """A kept result as a file in the scratch folder, which its reader removes.

        With `guard`, texts in CSV that a spreadsheet would take for formulas begin with an apostrophe.

        Raises NotFound, TooLarge for a result that was cut when it was kept and for what the format or
        `export.max_bytes` has no room for, InvalidInput for a result that is no table, Unprocessable, NotInstalled.
        """
        table, name = await self._kept(id, format)
        etag = f"{name}-{format.name}{'-guarded' if guard else ''}" if format.stable else None
        filename = f"result-{name[:8]}{format.suffix}"
        if table.kind == "rows" and format.name == "arrow":
            size = (await anyio.to_thread.run_sync(_stat, table.path)).st_size
            return File(table.path, size, table.row_count, format, filename, etag, temporary=False)
        return await self._to_scratch(table, format, filename, guard, progress, etag)

    async def query(
        self,
        sql: "Sql",
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None,
        format: Format,
        *,
        as_of: "AsOf | None" = None,
        guard: bool = False,
        progress: Progress | None = None,
    ) -> File:
        """All rows of a query as a file in the scratch folder, which its reader removes.

        Raises what a query raises, TooLarge over `export.max_bytes`, TimedOut over `sql.export_timeout_secs`, and what
        `result` raises.
        """
        async with AsyncExitStack() as kept:
            table = await self._rows_of(sql, text, params, as_of, kept)
            if format.name == "arrow" and not guard:  # that is how they came
                path, size = await anyio.to_thread.run_sync(self._moved, table.path)
                return File(path, size, table.row_count, format, f"export{format.suffix}")
            return await self._to_scratch(table, format, f"export{format.suffix}", guard, progress)

    async def result_to(
        self, id: str, place: Place, format: str | None, *, guard: bool = False, progress: Progress | None = None
    ) -> File:
        """A kept result as a file at a place, durable when this returns. Raises what `result` and `query_to` raise."""
        path, chosen = await anyio.to_thread.run_sync(self._target, place, format)
        table, _ = await self._kept(id, chosen)
        return await self._to_place(table, chosen, path, place, guard, progress)

    async def query_to(
        self,
        sql: "Sql",
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None,
        place: Place,
        format: str | None,
        *,
        as_of: "AsOf | None" = None,
        guard: bool = False,
        progress: Progress | None = None,
    ) -> File:
        """All rows of a query as a file at a place, durable when this returns; on any failure there is no file.

        Raises what `query` raises, Forbidden for a place that may not be written to, Conflict for a file that is there
        already, InvalidInput for a folder that is not, Upstream for a disk that fails.
        """
        path, chosen = await anyio.to_thread.run_sync(self._target, place, format)
        async with AsyncExitStack() as kept:
            table = await self._rows_of(sql, text, params, as_of, kept)
            return await self._to_place(table, chosen, path, place, guard, progress)

    async def _kept(self, id: str, format: Format) -> tuple[Table, str]:
        kept = await self._results.file(id)
        if not kept.complete:
            raise TooLarge(
                f"this result was cut when it was kept: it holds {kept.row_count:,} rows, and there are more.",
                fix="Export the query itself with export_sql, which writes all rows.",
            )
        if kept.kind != "rows" and (format.name not in ("json",) if kept.kind == "json" else not _plain(format)):
            what = "JSON, not a table" if kept.kind == "json" else "a table of JSON values, without types"
            others = "json" if kept.kind == "json" else "csv, xlsx, json or jsonl"
            raise InvalidInput(f"format: the result is {what}.", fix=f"Take it as {others}.")
        return Table(kept.path, kept.kind, kept.columns, kept.row_count), kept.id

    async def _rows_of(
        self,
        sql: "Sql",
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None,
        as_of: "AsOf | None",
        kept: AsyncExitStack,
    ) -> Table:
        seconds, limit = self._seconds, self._settings.max_bytes
        try:
            with anyio.fail_after(seconds):
                await kept.enter_async_context(self._query_turn)
            spool = await kept.enter_async_context(
                sql.spool(text, params, as_of=as_of, seconds=seconds, max_bytes=limit)
            )
        except TimeoutError:
            raise TimedOut(f"another export ran for {seconds:g} seconds.", fix="Try again in a while.") from None
        except TimedOut as error:
            raise TimedOut(error.detail, fix="Ask for less, or raise sql.export_timeout_secs.") from error
        if not spool.complete and spool.late:
            raise TimedOut(
                f"the rows did not come within {seconds:g} seconds; nothing was written.",
                fix="Ask for less, or raise sql.export_timeout_secs.",
            )
        if not spool.complete:
            raise TooLarge(
                f"the rows are over the limit of {limit:,} bytes; nothing was written.",
                fix="Export fewer rows or columns, or raise export.max_bytes.",
            )
        return Table(spool.path, "rows", spool.columns, spool.row_count)

    async def _to_scratch(
        self,
        table: Table,
        format: Format,
        filename: str,
        guard: bool,
        progress: Progress | None,
        etag: str | None = None,
    ) -> File:
        path = await anyio.to_thread.run_sync(self._new_file)
        async with AsyncExitStack() as undone:
            undone.push_async_callback(_removed, path)
            size = await self._write(table, format, path, guard, progress)
            undone.pop_all()
        return File(path, size, table.row_count, format, filename, etag)

    async def _to_place(
        self, table: Table, format: Format, path: Path, place: Place, guard: bool, progress: Progress | None
    ) -> File:
        unfinished = files.beside(path)
        async with AsyncExitStack() as undone:
            undone.push_async_callback(_removed, unfinished)
            size = await self._write(table, format, unfinished, guard, progress)
            await anyio.to_thread.run_sync(_placed, unfinished, path, place)
        return File(path, size, table.row_count, format, path.name, temporary=False)

    async def _write(self, table: Table, format: Format, target: Path, guard: bool, progress: Progress | None) -> int:
        """Write the file, durable; returns its size in bytes."""
        if guard and format.name != "csv":
            raise InvalidInput("guard_formulas: it is for csv.", fix="Leave it out: xlsx never has formulas.")
        async with self._turns:
            if table.kind == "json" or (table.kind == "rows" and format.name in ("arrow", "arrows")):
                copy = _streamed if format.name == "arrows" else _copied
                return await anyio.to_thread.run_sync(copy, table.path, target, self._settings.max_bytes)
            return await self._convert(table, format, target, guard, progress)

    async def _convert(self, table: Table, format: Format, target: Path, guard: bool, progress: Progress | None) -> int:
        async with AsyncExitStack() as held:
            folder = await anyio.to_thread.run_sync(self._new_folder)
            held.push_async_callback(_removed, folder)
            setup = {
                "source": str(table.path),
                "kind": table.kind,
                "columns": list(table.columns),
                "row_count": table.row_count,
                "target": str(target),
                "format": format.name,
                "guard": guard,
                "scratch": str(folder),
                "max_bytes": self._settings.max_bytes,
                "memory_limit": self._settings.memory_limit,
            }
            try:
                child = await Child.start("lakehouse.engine.export.worker", setup)
                held.push_async_callback(child.aclose)
                while True:
                    answer, _ = await child.receive()
                    if answer["done"]:
                        break
                    if progress is not None:
                        await progress(answer["rows"], table.row_count, "rows written")
            except (OSError, ChildDied) as error:
                raise Upstream(
                    "the process that writes the file ended without an answer.",
                    fix="Memory may have run out: export csv or parquet, or fewer columns.",
                ) from error
        if answer["rows"] != table.row_count:
            raise Upstream(f"only {answer['rows']} of {table.row_count} rows were written.", fix="Try again.")
        size: int = answer["bytes"]
        return size

    def _target(self, place: Place, format: str | None) -> tuple[Path, Format]:
        """The file to write, without links in its folder, and its format."""
        given = place.path
        if place.remote:
            check_remote(given, self._settings.roots, "export.roots", "Take the file as a download")
        chosen = format_for(given, format, strict=not place.anywhere)
        try:
            path = written_at(given)
            if not place.anywhere:
                check_place(path, given, self._settings.roots, "export.roots", "written to")
            check_apart(path, given, self._shut[:1] if place.anywhere else self._shut)
            if not path.parent.is_dir():
                raise InvalidInput(f"path: there is no folder {given.parent}.", fix="Make it first, or name another.")
            if path.is_dir():
                raise InvalidInput(f"path: {given} is a folder.", fix="Name a file in it.")
            if not place.overwrite and os.path.lexists(path):
                raise _taken(given)
        except OSError as error:
            raise _refused(given, error) from error
        return path, chosen

    def _new_file(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix="export-", dir=self._scratch)
        os.close(handle)
        return Path(path)

    def _moved(self, source: Path) -> tuple[Path, int]:
        size = _stat(source).st_size
        if size > self._settings.max_bytes:
            raise _too_large(self._settings.max_bytes)
        target = self._new_file()
        try:
            os.replace(source, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise _refused(target, error) from error
        return target, size

    def _new_folder(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="export-", dir=self._scratch))


def _plain(format: Format) -> bool:
    return format.name in ("csv", "xlsx", "json", "jsonl")


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        raise NotFound("the result is not there any more.", fix="Run the query again.") from None


def _copied(source: Path, target: Path, limit: int) -> int:
    """Copy a file, durable; it is not cut short by a disk or a limit without an error."""
    size = _stat(source).st_size
    if size > limit:
        raise _too_large(limit)
    try:
        with source.open("rb") as read, target.open("wb") as write:
            while piece := read.read(files.COPY_BYTES):
                check_cancelled()
                write.write(piece)
            write.flush()
            os.fsync(write.fileno())
    except OSError as error:
        raise _refused(target, error) from error
    return size


def _streamed(source: Path, target: Path, limit: int) -> int:
    """An Arrow IPC file as an IPC stream, durable."""
    import pyarrow

    _stat(source)
    try:
        with pyarrow.memory_map(str(source)) as file, target.open("wb") as write:
            reader = pyarrow.ipc.open_file(file)
            with pyarrow.ipc.new_stream(write, reader.schema) as stream:
                for place in range(reader.num_record_batches):
                    check_cancelled()
                    stream.write_batch(reader.get_batch(place))
                    if write.tell() > limit:
                        raise _too_large(limit)
            write.flush()
            os.fsync(write.fileno())
            return write.tell()
    except OSError as error:
        raise _refused(target, error) from error


def _placed(unfinished: Path, path: Path, place: Place) -> None:
    try:
        files.place(unfinished, path, create=not place.overwrite)
    except FileExistsError:
        raise _taken(place.path) from None
    except OSError as error:
        raise _refused(place.path, error) from error


async def _removed(path: Path) -> None:
    """What could not be removed is removed at the next start, where it lies in the scratch folder."""

    def remove() -> None:
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(remove)


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} is there already.", fix="Name another file, or say overwrite.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the file is over the limit of {limit:,} bytes.",
        fix="Export fewer rows or columns, choose parquet, which is smaller, or raise export.max_bytes.",
    )


def _refused(path: Path, error: OSError) -> Upstream:
    return Upstream(f"{path.name} cannot be written: {error.strerror}.", fix="Make room, or name another folder.")
