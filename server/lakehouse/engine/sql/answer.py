"""Runs one judged statement and answers: the first rows as JSON text; what is over the caps as an Arrow IPC file."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow

from lakehouse.engine.arrow_json import rows_of
from lakehouse.engine.quoting import identifier

Send = Callable[[Mapping[str, Any], bytes | memoryview], None]
_BATCH_ROWS = 2048
_PIECE_BYTES = 2**20
_CHUNK_BYTES = 2**20
# Arrow has no faithful form of these: DuckDB hands out its internal bytes, or digits that overflow.
_AS_TEXT = {"VARIANT": "JSON", "BIT": "VARCHAR", "BIGNUM": "VARCHAR", "GEOMETRY": "VARCHAR", "UHUGEINT": "VARCHAR"}
_AS_TEXT["TIME WITH TIME ZONE"] = "VARCHAR"


@dataclass(frozen=True)
class Caps:
    """Rows and bytes of the answer, and of the file that has the rest."""

    rows: int
    bytes: int
    file_rows: int
    file_bytes: int


def answer(
    cursor: duckdb.DuckDBPyConnection, text: str, params: Any, caps: Caps, stop_at: float, send: Send
) -> tuple[dict[str, Any], bytes]:
    """The answer to a statement as a header and its rows as JSON.

    Over the caps the header says `truncated`, and all rows up to the file caps have been sent before, in order, as
    pieces of an Arrow IPC file; `complete` is False when it does not have all of them. The file ends early at `stop_at`
    (time.monotonic() seconds): it is `late`. Where the answer has no room for a row there always is a file.
    """
    relation = cursor.sql(text, params=params or None)
    names, types = relation.columns, [str(kind).replace('"NULL"', "NULL") for kind in relation.types]
    batches = _readable(relation, names, types).to_arrow_reader(_BATCH_ROWS)
    preview = _Preview(caps, types)
    seen: list[pyarrow.RecordBatch] = []
    for batch in batches:
        seen.append(batch)
        if not preview.add(batch):
            break
    header: dict[str, Any] = {
        "columns": [{"name": name, "type": kind} for name, kind in zip(names, types, strict=True)],
        "row_count": preview.count,
        "truncated": preview.full,
        "complete": True,
    }
    if preview.full or not caps.rows:
        header["row_count"], header["complete"], header["late"] = _write(batches, seen, caps, stop_at, send)
    return header, preview.text()


class _Preview:
    """JSON rows up to a number of rows and bytes."""

    def __init__(self, caps: Caps, types: Sequence[str]) -> None:
        self.count = 0
        self.full = False
        self._rows, self._bytes = caps.rows, caps.bytes - 2
        self._types = types
        self._parts: list[bytes] = []

    def add(self, batch: pyarrow.RecordBatch) -> bool:
        """Take a batch's rows; False once there is no room for one of them."""
        for piece in _pieces(batch):
            room = self._rows - self.count
            self._keep(rows_of([piece], room, self._types))
            if piece.num_rows > room or self.full:
                self.full = True
                return False
        return True

    def text(self) -> bytes:
        return b"[" + b",".join(self._parts) + b"]"

    def _keep(self, rows: list[list[Any]]) -> None:
        if not rows:
            return
        part = _json(rows)[1:-1]
        if len(part) + 1 <= self._bytes:
            self._parts.append(part)
            self._bytes -= len(part) + 1
            self.count += len(rows)
        elif len(rows) == 1:
            self.full = True
        else:
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                if not self.full:
                    self._keep(half)


def _pieces(batch: pyarrow.RecordBatch) -> Iterator[pyarrow.RecordBatch]:
    """About a megabyte at a time: of wide rows the caps may need only a few."""
    step = max(1, min(_BATCH_ROWS, _PIECE_BYTES * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _readable(relation: Any, names: Sequence[str], types: Sequence[str]) -> Any:
    if not any(kind in _AS_TEXT for kind in types):
        return relation
    parts = [f"CAST(#{n} AS {_AS_TEXT[kind]})" if kind in _AS_TEXT else f"#{n}" for n, kind in enumerate(types, 1)]
    return relation.project(", ".join(f"{part} AS {identifier(name)}" for part, name in zip(parts, names, strict=True)))


def _write(
    batches: pyarrow.RecordBatchReader, seen: list[pyarrow.RecordBatch], caps: Caps, stop_at: float, send: Send
) -> tuple[int, bool, bool]:
    sink = _Sink(send)
    count, complete, late = 0, True, False
    with pyarrow.ipc.new_file(sink, batches.schema) as file:
        for batch in _chain(seen, batches, stop_at):
            room = caps.file_rows - count
            if batch is None or room <= 0 or sink.size + batch.nbytes > caps.file_bytes:
                complete, late = False, batch is None
                break
            file.write_batch(batch.slice(0, room))
            count += min(room, batch.num_rows)
            if batch.num_rows > room:
                complete = False
                break
    sink.end()
    return count, complete, late


def _chain(
    seen: list[pyarrow.RecordBatch], more: pyarrow.RecordBatchReader, stop_at: float
) -> Iterator[pyarrow.RecordBatch | None]:
    """The batches already read, then the others, in pieces; None when the time is up."""
    while seen:
        yield from _pieces(seen.pop(0))
    while time.monotonic() < stop_at:
        try:
            batch = next(more, None)
        except duckdb.InterruptException:
            break
        if batch is None:
            return
        yield from _pieces(batch)
    yield None


class _Sink:
    """A file that is sent away as it is written."""

    closed = False

    def __init__(self, send: Send) -> None:
        self.size = 0
        self._send = send
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._held += view
        self.size += view.nbytes
        if len(self._held) >= _CHUNK_BYTES:
            self.end()
        return view.nbytes

    def flush(self) -> None:
        """Pieces go when they are large enough, and at the end."""

    def close(self) -> None:
        """Nothing is open."""

    def end(self) -> None:
        if self._held:
            self._send({"piece": True}, bytes(self._held))
            self._held.clear()


def _json(rows: list[list[Any]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
