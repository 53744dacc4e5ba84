"""Rows of Python values to Parquet: what each column holds, and the rows kept on disk until the types are known."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.documents import ARROW, convert
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.rejects import LISTED, VALUE_CHARS, listed
from lakehouse.errors import LakehouseError

_BATCH_CELLS = 262_144
_BATCH_BYTES = 8 * 2**20

# What a column was seen to hold. A LONG integer is not safe in a double.
_BOOLEAN, _SHORT, _LONG, _DOUBLE, _DAY, _MOMENT, _TEXT = (1 << n for n in range(7))
_SEEN = {bool: _BOOLEAN, str: _TEXT, time: _TEXT, timedelta: _TEXT, date: _DAY}

Value = bool | int | float | str | date | datetime | time | timedelta | None


class Rows:
    """Rows of one width, added once and read as often as needed. `line` is what a row is called in errors."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.count = self.bytes = 0
        self.held = [0] * len(self.names)
        self._path = Path("rows")
        self._path.write_bytes(b"")
        self._batch: list[tuple[int, list[Value]]] = []
        self._size = 0

    def add(self, line: int, row: list[Value]) -> None:
        """Keep one row, a value a column."""
        for n, value in enumerate(row):
            if value is not None:
                self.held[n] |= _seen(value)
                self._size += len(value) if isinstance(value, str) else 8
        self._batch.append((line, row))
        if len(self._batch) * len(self.names) >= _BATCH_CELLS or self._size >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            with self._path.open("ab") as file:
                pickle.dump(self._batch, file, protocol=pickle.HIGHEST_PROTOCOL)
            self.count += len(self._batch)
            self.bytes += self._size
        self._batch, self._size = [], 0

    def close(self) -> None:
        """No row comes any more."""
        self._flush()

    def batches(self) -> Iterator[list[tuple[int, list[Value]]]]:
        """The rows, in batches."""
        with self._path.open("rb") as file:
            while True:
                try:
                    yield pickle.load(file)  # written above, in a folder that is this process's own
                except EOFError:
                    return


def write(
    engine: Engine, rows: Rows, columns: Sequence[int], types: Mapping[str, str], held: Mapping[str, str]
) -> Table:
    """Write the columns of these numbers as typed Parquet: of the types asked for, else of a dataset's columns, `held`,
    else of what they hold.

    Raises InvalidInput listing up to 100 values that contradict a type asked for.
    """
    rows.close()
    names = [rows.names[n] for n in columns]
    asked = {**{name: held[name] for name in names if name in held}, **kinds.wanted(types, names)}
    found = [asked.get(name) or _kind(rows.held[n]) for n, name in zip(columns, names, strict=True)]
    batches = _Batches(engine, rows, columns, found, asked)

    def begin() -> None:
        engine.register("source_rows", pa.RecordBatchReader.from_batches(batches.schema, iter(batches)))

    try:
        written = engine.write("SELECT * FROM source_rows", rows.bytes // max(1, rows.count), begin)
    except duckdb.Error:
        if batches.failure is not None:
            raise batches.failure from None
        raise
    warnings = kinds.empty([rows.names[n] for n in columns if not rows.held[n] and rows.names[n] not in asked])
    return Table(written, [(name, kinds.ARROW[k]) for name, k in zip(names, found, strict=True)], warnings, {})


def _seen(value: Value) -> int:
    kind = type(value)
    if kind is int:
        return _SHORT if -(10**15) < value < 10**15 else _LONG if -(2**63) <= value < 2**63 else _TEXT  # type: ignore[operator]
    if kind is float:
        return _DOUBLE if value - value == 0 else _TEXT  # type: ignore[operator]
    if kind is datetime:
        return _DAY if _midnight(value) else _MOMENT  # type: ignore[arg-type]
    return _SEEN[kind]


def _midnight(moment: datetime) -> bool:
    return moment.time() == time()


def _kind(held: int) -> str:
    if held == _BOOLEAN:
        return "BOOLEAN"
    if held and not held & ~(_SHORT | _LONG):
        return "BIGINT"
    if held & _DOUBLE and not held & ~(_SHORT | _DOUBLE):
        return "DOUBLE"
    if held == _DAY:
        return "DATE"
    return "TIMESTAMP" if held and not held & ~(_DAY | _MOMENT) else "VARCHAR"


def text_of(value: Value) -> str | None:
    """A value as text, as CSV would have it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.date().isoformat() if _midnight(value) else value.isoformat(" ")
    return repr(value) if isinstance(value, float) else str(value)


class _Batches:
    """The rows as Arrow batches; `failure` is what stopped them, since the engine would only pass on its text."""

    def __init__(
        self, engine: Engine, rows: Rows, columns: Sequence[int], found: Sequence[str], asked: Mapping[str, str]
    ) -> None:
        names = [rows.names[n] for n in columns]
        self.schema = pa.schema([(name, ARROW[kind]) for name, kind in zip(names, found, strict=True)])
        self.failure: LakehouseError | None = None
        self._engine, self._rows, self._columns, self._found, self._asked = engine, rows, columns, found, asked
        self._bad: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        done = 0
        try:
            for batch in self._rows.batches():
                arrays = [self._column(*column, batch) for column in zip(self._columns, self._found, strict=True)]
                if not self._bad:
                    yield pa.record_batch(arrays, schema=self.schema)
                if len(self._bad) >= LISTED:
                    break
                done += len(batch)
                self._engine.at(60 + 35 * done / self._rows.count, "writing Parquet")
            if self._bad:
                raise listed(sorted(self._bad, key=lambda row: row["line"]))
        except LakehouseError as error:
            self.failure = error
            raise

    def _column(self, n: int, kind: str, batch: list[tuple[int, list[Value]]]) -> pa.Array:
        name = self._rows.names[n]
        values: list[Any] = [row[n] for _, row in batch]
        if name in self._asked:
            values = [self._converted(name, kind, value, line) for value, (line, _) in zip(values, batch, strict=True)]
        elif kind == "VARCHAR":
            values = [text_of(value) for value in values]
        elif kind == "DATE":
            values = [value.date() if isinstance(value, datetime) else value for value in values]
        elif kind == "TIMESTAMP":
            values = [datetime.combine(v, time()) if type(v) is date else v for v in values]
        return pa.array(values, ARROW[kind])

    def _converted(self, name: str, kind: str, value: Value, line: int) -> Any:
        try:
            return None if value is None else _as(kind, value, line)
        except (ValueError, TypeError, KeyError, OverflowError):
            shown = (text_of(value) or "")[:VALUE_CHARS]
            reason = f"{shown!r} is not a {kind}"
            self._bad.append({"line": line, "column": name, "value": shown, "reason": reason})
            return None


def _as(kind: str, value: Value, line: int) -> Any:
    """A value as a type asked for. Raises ValueError, TypeError, KeyError or OverflowError where it is none."""
    if isinstance(value, datetime) and kind == "TIMESTAMP":
        return value
    if isinstance(value, date | time | timedelta):
        return convert(kind, text_of(value), line)
    return convert(kind, text_of(value) if kind == "VARCHAR" else value, line)
