"""The process that writes an export: a kept table in, one file of another format out, nothing else."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lakehouse.engine import child, files
from lakehouse.engine.export import sheets, texts
from lakehouse.errors import LakehouseError, NotFound, TooLarge, Unprocessable, Upstream

LOADS = ("duckdb", "lakehouse.engine.arrow_json")
_ROWS = 2048  # of a batch of JSON lines
_ROW_GROUP = 122_880


def main() -> None:
    """Write the one file that is asked for, and say how large it is."""
    setup, _, reply = child.serve()
    child.bound(setup["max_bytes"])
    try:
        with _translated(setup):
            made = _Export(setup)
            for count in made.written():
                reply({"rows": count, "done": False})
            target = Path(setup["target"])
            files.sync_file(target)
            answer = {"rows": made.count, "bytes": target.stat().st_size, "done": True}
    except LakehouseError as error:
        answer = child.error_frame(error)
    reply(answer)


class _Export:
    """One table and the file it becomes."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.count = 0
        self._setup = setup
        self._names: list[str] = [column["name"] for column in setup["columns"]]
        self._types: list[str] = [str(column.get("type", "")) for column in setup["columns"]]
        self._arrow = setup["kind"] == "rows"

    def written(self) -> Iterator[int]:
        """Write the file; yields how many rows there are so far."""
        target, kind = Path(self._setup["target"]), self._setup["format"]
        if kind == "parquet":
            self._write_parquet(target)
        elif kind == "xlsx":
            sheets.check_size(self._setup["row_count"], len(self._names))
            scratch = self._setup["scratch"]
            yield from self._counted(sheets.write_xlsx(target, self._names, self._rows(True), self._types, scratch))
        else:
            with target.open("wb") as file:
                if kind == "csv":
                    guarded = self._guarded() if self._setup["guard"] else [False] * len(self._names)
                    yield from self._counted(texts.write_csv(file, self._names, self._rows(True), guarded))
                else:
                    lines = kind == "jsonl"
                    yield from self._counted(texts.write_json(file, self._names, self._rows(False), lines=lines))

    def _counted(self, batches: Iterator[int]) -> Iterator[int]:
        for rows in batches:
            self.count += rows
            yield self.count

    def _rows(self, cells: bool) -> Iterator[texts.Rows]:
        """The rows as JSON values; as `cells`, floating point numbers that JSON does not have are their names."""
        source = self._setup["source"]
        if not self._arrow:
            yield from _of_lines(source)
            return
        import pyarrow

        from lakehouse.engine.arrow_json import rows_of

        with pyarrow.memory_map(source) as file:
            reader = pyarrow.ipc.open_file(file)
            for place in range(reader.num_record_batches):
                batch = reader.get_batch(place)
                rows = rows_of([batch], types=self._types)
                if cells:
                    _name_numbers(batch, rows)
                yield rows

    def _guarded(self) -> list[bool]:
        """Which columns hold text that somebody wrote: numbers with a sign are no formulas."""
        if not self._arrow:
            return [True] * len(self._names)
        import pyarrow

        with pyarrow.memory_map(self._setup["source"]) as file:
            kinds = pyarrow.ipc.open_file(file).schema.types
        text = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
        raw = (pyarrow.types.is_binary, pyarrow.types.is_large_binary, pyarrow.types.is_binary_view)
        return [any(test(k) for test in (*text, *raw, pyarrow.types.is_dictionary)) for k in kinds]

    def _write_parquet(self, target: Path) -> None:
        import pyarrow

        from lakehouse.engine.connection import connect
        from lakehouse.engine.quoting import identifier, literal

        texts.unlike(self._names, str.casefold)
        db = connect(os.cpu_count() or 1, self._setup["memory_limit"], self._setup["scratch"])
        # Arrow brought UUIDs as text; Parquet has a type for them.
        columns = ", ".join(
            f"CAST(#{place} AS UUID) AS {identifier(name)}" if kind == "UUID" else f"#{place} AS {identifier(name)}"
            for place, (name, kind) in enumerate(zip(self._names, self._types, strict=True), 1)
        )
        with pyarrow.memory_map(self._setup["source"]) as file:
            source = pyarrow.ipc.open_file(file)
            batches = (source.get_batch(place) for place in range(source.num_record_batches))
            db.register("exported", pyarrow.RecordBatchReader.from_batches(source.schema, batches))
            done = db.execute(
                f"COPY (SELECT {columns} FROM exported) TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd,"
                f" ROW_GROUP_SIZE {_ROW_GROUP}, USE_TMP_FILE false)"
            ).fetchall()
        self.count = int(done[0][0])


def _of_lines(source: str) -> Iterator[texts.Rows]:
    with Path(source).open("rb") as file:
        rows: texts.Rows = []
        for line in file:
            rows.append(json.loads(line))
            if len(rows) == _ROWS:
                yield rows
                rows = []
        if rows:
            yield rows


def _name_numbers(batch: Any, rows: texts.Rows) -> None:
    import numpy
    from pyarrow import types

    for place, column in enumerate(batch.columns):
        if types.is_floating(column.type):
            numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
            for row in numpy.flatnonzero(~numpy.isfinite(numbers)):
                number = numbers[row]
                rows[row][place] = "NaN" if numpy.isnan(number) else "Infinity" if number > 0 else "-Infinity"


@contextmanager
def _translated(setup: dict[str, Any]) -> Iterator[None]:
    """Failures of the disk and the libraries as our errors."""
    import duckdb
    import pyarrow

    try:
        yield
    except FileNotFoundError as error:
        if error.filename and str(error.filename) != setup["source"]:
            raise Upstream(f"the file cannot be written: {error.strerror}.", fix="Name another folder.") from None
        raise NotFound("the result is not there any more.", fix="Run the query again.") from None
    except (duckdb.OutOfMemoryException, MemoryError, pyarrow.ArrowMemoryError):
        raise TooLarge("the export takes more memory than it may.", fix="Export fewer columns, or as csv.") from None
    except OSError as error:
        raise _disk(error.errno or 0, setup) from error
    except duckdb.IOException as error:
        number = next((n for n in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT) if os.strerror(n) in str(error)), 0)
        raise _disk(number, setup) from error
    except (duckdb.Error, pyarrow.ArrowException) as error:
        reason = (str(error).splitlines() or [""])[0][:300].rstrip(".")
        raise Unprocessable(
            f"the rows cannot be written as {setup['format']}: {reason}.", fix="Cast the column in SQL, or export csv."
        ) from error


def _disk(number: int, setup: dict[str, Any]) -> LakehouseError:
    if number == errno.EFBIG:
        return TooLarge(
            f"the file is over the limit of {setup['max_bytes']:,} bytes.",
            fix="Export fewer rows or columns, choose parquet, which is smaller, or raise export.max_bytes.",
        )
    return Upstream(
        f"the disk failed: {os.strerror(number) if number else 'it cannot be read or written'}.",
        fix="Make room on it and try again.",
    )


if __name__ == "__main__":
    main()
