"""The process that reads one file: told what to read, it answers with progress and the finished Parquet's facts.

It may crash on a crafted file or be killed at any moment; it writes nowhere but in its working folder.
"""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engine import child, files
from lakehouse.engine.ingest.plain import Limits, plain
from lakehouse.errors import Forbidden, InvalidInput, LakehouseError, NotInstalled, TooLarge, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.ingest.engine import Engine, Report, Table

LOADS = ("lakehouse.engine.ingest.delimited",)
MORE = tuple(f"lakehouse.engine.ingest.{name}" for name in ("documents", "parquet", "quarantine", "several"))
_WHOLE = ("xlsx", "pdf", "postgres")  # read whole or not at all: a cell in a workbook has no line to set aside


def main() -> None:
    """Answer one request."""
    setup, requests, reply = child.serve()
    request, _ = next(requests)
    sending = threading.Lock()

    def report(percent: float, what: str) -> None:
        with sending:
            reply({"progress": [round(percent, 1), what]})

    try:
        os.chdir(setup["folder"])
        child.bound(setup["max_bytes"])
        with _translated(request), _quarantined(request):
            answer = _located(setup, request) if request.get("do") == "locate" else _ingest(setup, request, report)
    except LakehouseError as error:
        answer = child.error_frame(error)
    with sending:
        reply(answer)


def _ingest(setup: dict[str, Any], request: dict[str, Any], report: "Report") -> dict[str, Any]:
    if request["source"] == "postgres":
        try:
            from lakehouse.engine.ingest import database
        except ImportError:
            raise NotInstalled(
                "reading Postgres takes psycopg.", fix="Install the extra: pip install 'lakehouse-mcp[postgres]'."
            ) from None
        return database.ingest(setup, request, report)
    if request.get("files"):
        from lakehouse.engine.ingest import several

        # Of rows that cannot be read, each file would have its own rejects: one of many is refused as a whole.
        return several.ingest(setup, {**request, "quarantine": False}, report, _ingest_file)
    return _ingest_file(setup, request, report)


def _ingest_file(setup: dict[str, Any], request: dict[str, Any], report: "Report") -> dict[str, Any]:
    from lakehouse.engine.ingest.engine import Engine

    path, source, types, held = Path(request["path"]), request["source"], request["types"], request.get("held", {})
    limits = Limits(setup["max_bytes"], setup["max_cell_bytes"])
    before = path.stat()
    # hashlib lets go of the interpreter, so this runs beside the reading. An error does not wait for it.
    source_sha256 = ThreadPoolExecutor(1).submit(files.sha256_of, path)
    readable = plain(path, source, limits, request["encoding"])
    engine = Engine(readable, setup["memory_limit"], setup["threads"], report)
    delimiter = request["delimiter"] or ("\t" if source == "tsv" else None)
    rejected = 0
    if request.get("quarantine") and source not in _WHOLE:
        from lakehouse.engine.ingest import quarantine

        table, rejected = quarantine.ingest(
            engine,
            quarantine.Text(source, limits, delimiter),
            types,
            held,
            lambda types: _table(engine, limits, {**request, "delimiter": delimiter, "types": types}),
        )
    else:
        table = _table(engine, limits, {**request, "delimiter": delimiter})
    sha256 = files.sha256_of(engine.target)
    after = path.stat()
    if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
        raise InvalidInput("the file changed while it was read.", fix="Try again when nothing writes to it.")
    return {
        "rows": table.rows,
        "columns": table.columns,
        "warnings": table.warnings,
        "sha256": sha256,
        "bytes": engine.target.stat().st_size,
        "rejected": rejected,
        "source": {"sha256": source_sha256.result(), "bytes": before.st_size, **table.details},
    }


def _located(setup: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    from lakehouse.engine.ingest import lines
    from lakehouse.engine.ingest.quarantine import Text

    limits = Limits(setup["max_bytes"], setup["max_cell_bytes"])
    source = request["source"]
    if source in lines.TEXT and not request.get("files"):
        text = plain(Path(request["path"]), source, limits, request["encoding"])
        delimiter = request["delimiter"] or ("\t" if source == "tsv" else None)
        rows = lines.of_text(text, Text(source, limits, delimiter))
    else:
        rows = lines.of_numbers()
    return {"lines": lines.merged(rows) if request["merge"] else lines.found(rows, request["rows"])}


def _table(engine: "Engine", limits: Limits, request: dict[str, Any]) -> "Table":
    """Write what the engine's source holds as Parquet."""
    source, types, held = request["source"], request["types"], request.get("held", {})
    if source == "parquet":
        from lakehouse.engine.ingest import parquet

        return parquet.ingest(engine, types)
    if source in ("json", "jsonl"):
        from lakehouse.engine.ingest import documents

        return documents.ingest(engine, limits, types, held)
    if source == "xlsx":
        from lakehouse.engine.ingest import workbook

        return workbook.ingest(engine, limits, types, held, request["sheet"], request["header_row"])
    if source == "pdf":
        from lakehouse.engine.ingest import pages

        return pages.ingest(engine, limits, types, held, request["filename"])
    from lakehouse.engine.ingest import delimited

    return delimited.ingest(engine, limits, request["delimiter"], types, held)


@contextmanager
def _quarantined(request: dict[str, Any]) -> Iterator[None]:
    """Say of a source whose rows cannot be set aside as they are read that quarantine was of no use."""
    try:
        yield
    except InvalidInput as error:
        if request.get("quarantine") and (request.get("files") or request["source"] in _WHOLE):
            what = "many files" if request.get("files") else f"a {request['source']} source"
            error.fix += (
                f" quarantine sets aside rows of {what} that break an expectation, not those that cannot be read"
                + (": ingest the file at fault by itself." if request.get("files") else ".")
            )
        raise


@contextmanager
def _translated(request: dict[str, Any]) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        raise TooLarge("reading the file takes more memory than it may.", fix="Raise ingest.memory_limit.") from None
    except OSError as error:
        raise _of_disk(error.errno, os.strerror(error.errno or 0)) from error
    except duckdb.IOException as error:
        number = next((n for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(n) in str(error)), None)
        if number is None:
            raise _unreadable(request, error) from error
        raise _of_disk(number, "") from error
    except duckdb.Error as error:
        raise _unreadable(request, error) from error


def _of_disk(number: int | None, reason: str) -> LakehouseError:
    if number == errno.EFBIG:
        return TooLarge("reading the file would write too large a file.", fix="Raise ingest.max_path_bytes.")
    if number in (errno.EACCES, errno.EPERM):
        return Forbidden("the server may not read the file.", fix="Change the file's permissions.")
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Upstream("the disk of the data directory is full.", fix="Free some space and try again.")
    return Upstream(f"the file cannot be read: {reason}.", fix="Check the file, its permissions and its disk.")


def _unreadable(request: dict[str, Any], error: Exception) -> InvalidInput:
    # The reader's advice is about its own options, and its first line may hold the path of a scratch copy.
    reason = (str(error).splitlines() or [""])[0].replace(request["path"], "the file")[:200].rstrip(".")
    return InvalidInput(f"the file cannot be read as {request['source']}: {reason}.", fix="Check the file's contents.")


if __name__ == "__main__":
    main()
