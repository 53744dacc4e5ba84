"""JSON to Parquet: columns are the union of all keys, typed by what JSON says the values are.

The file is read twice: once for the columns and their types, once for the values, a batch at a time.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.plain import Limits
from lakehouse.engine.ingest.records import Number, Record, records
from lakehouse.engine.ingest.rejects import LISTED, VALUE_CHARS, listed
from lakehouse.errors import InvalidInput, LakehouseError

_BATCH_ROWS = 8192
_BATCH_BYTES = 8 * 2**20

ARROW = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "VARCHAR": pa.string(),
}

# What a column was seen to hold; its type is decided from the sum. A LONG integer is not safe in a double.
_BOOLEAN, _SHORT, _LONG, _HUGE, _DOUBLE, _TEXT, _NESTED = (1 << n for n in range(7))
_SEEN = {type(None): 0, bool: _BOOLEAN, float: _DOUBLE, str: _TEXT, dict: _NESTED, list: _NESTED, Number: _HUGE}
_INFINITE = float("inf")


def ingest(engine: Engine, limits: Limits, types: Mapping[str, str], held: Mapping[str, str] = {}) -> Table:
    """Write the engine's source, a plain UTF-8 file of JSON objects, as typed Parquet.

    `types` are asked for, `held` those of a dataset's columns; of the latter, only those that are here matter.

    Raises InvalidInput for what is not JSON, naming the line, and listing up to 100 values that contradict a type
    asked for.
    """
    seen, row_bytes = _columns(engine, limits)
    names = list(seen)
    kinds.check_names(names, "the objects")
    asked = {**{name: held[name] for name in names if name in held}, **kinds.wanted(types, names)}
    found = {name: asked.get(name) or _kind(held) for name, held in seen.items()}
    batches = _Batches(engine, limits, found, set(asked), seen)

    def begin() -> None:
        engine.register("source_rows", pa.RecordBatchReader.from_batches(batches.schema, iter(batches)))

    try:
        rows = engine.write("SELECT * FROM source_rows", row_bytes, begin)
    except duckdb.Error:
        if batches.failure is not None:
            raise batches.failure from None
        raise
    warnings = kinds.empty([name for name, held in seen.items() if not held and name not in asked])
    return Table(rows, [(name, kinds.ARROW[kind]) for name, kind in found.items()], warnings, {})


def _columns(engine: Engine, limits: Limits) -> tuple[dict[str, int], int]:
    """What each column holds, in the order the keys first come, and the bytes an object takes on average."""
    seen: dict[str, int] = {}
    done = count = 0
    total = engine.source.stat().st_size
    for count, record in enumerate(records(engine.source, limits), 1):
        done += record.size
        for key, value in record.values.items():
            kind = type(value)
            if kind is int:
                held = _SHORT if -(10**15) < value < 10**15 else _LONG if -(2**63) <= value < 2**63 else _HUGE
            elif kind is float and abs(value) == _INFINITE:
                held = _HUGE
            else:
                held = _SEEN[kind]
            seen[key] = seen.get(key, 0) | held
        if count % _BATCH_ROWS == 0:
            engine.at(40 * done / total, "finding types")
    if not count:
        raise InvalidInput("there is no row.", fix="An empty table cannot be stored.")
    return seen, done // count


def _kind(held: int) -> str:
    if held == _BOOLEAN:
        return "BOOLEAN"
    if held and not held & ~(_SHORT | _LONG):
        return "BIGINT"
    if held & _DOUBLE and not held & ~(_SHORT | _DOUBLE):
        return "DOUBLE"
    return "VARCHAR"


class _Batches:
    """The rows as Arrow batches; `failure` is what stopped them, since the engine would only pass on its text."""

    def __init__(
        self, engine: Engine, limits: Limits, found: dict[str, str], asked: set[str], seen: Mapping[str, int]
    ) -> None:
        self.schema = pa.schema([(name, ARROW[kind]) for name, kind in found.items()])
        self.failure: LakehouseError | None = None
        self._engine, self._limits = engine, limits
        self._found, self._asked = found, asked
        self._not_all_text = {name for name, held in seen.items() if held & ~_TEXT}
        self._exact = any(held & _HUGE for held in seen.values())
        self._bad: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._grouped():
                columns = [self._column(name, kind, batch) for name, kind in self._found.items()]
                if not self._bad:
                    yield pa.record_batch(columns, schema=self.schema)
                if len(self._bad) >= LISTED:
                    break
            if self._bad:
                raise listed(sorted(self._bad, key=lambda row: row["line"]))
        except LakehouseError as error:
            self.failure = error
            raise

    def _grouped(self) -> Iterator[list[Record]]:
        batch: list[Record] = []
        size = done = 0
        total = self._engine.source.stat().st_size
        for record in records(self._engine.source, self._limits, exact=self._exact):
            batch.append(record)
            size += record.size
            if len(batch) == _BATCH_ROWS or size > _BATCH_BYTES:
                yield batch
                done += size
                self._engine.at(40 + 55 * done / total, "writing Parquet")
                batch, size = [], 0
        if batch:
            yield batch

    def _column(self, name: str, kind: str, batch: list[Record]) -> pa.Array:
        values = [record.values.get(name) for record in batch]
        if name in self._asked:
            values = [self._converted(name, kind, value, record) for value, record in zip(values, batch, strict=True)]
        elif kind == "VARCHAR" and name in self._not_all_text:
            values = [_text(value, record.line) for value, record in zip(values, batch, strict=True)]
        try:
            return pa.array(values, ARROW[kind])
        except UnicodeEncodeError as error:
            line = next(r.line for r, v in zip(batch, values, strict=True) if v is not None and not _encodes(v))
            raise InvalidInput(
                f"line {line}, column {name!r}: {error.object[error.start]!r} is half of a character.",
                fix="Write characters beyond \\uffff as a whole pair.",
            ) from None

    def _converted(self, name: str, kind: str, value: Any, record: Record) -> Any:
        try:
            return None if value is None else convert(kind, value, record.line)
        except (ValueError, TypeError, KeyError, OverflowError):
            shown = _text(value, record.line)[:VALUE_CHARS]
            reason = f"{shown!r} is not a {kind}"
            self._bad.append({"line": record.line, "column": name, "value": shown, "reason": reason})
            return None


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: Any, line: int) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Number):
        return value.text
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"line {line}: a number inside a list or object is too large.", fix="Write it as a string."
        ) from None
    except RecursionError:
        raise InvalidInput(f"line {line}: the JSON is nested too deeply.", fix="Flatten it.") from None


def convert(kind: str, value: Any, line: int) -> Any:
    """A value as a type asked for. Raises ValueError, TypeError or OverflowError where it is none."""
    if kind == "VARCHAR":
        return _text(value, line)
    if kind == "BOOLEAN":
        return value if isinstance(value, bool) else {"true": True, "false": False, "": None}[str(value).lower()]
    if isinstance(value, (bool, dict, list)):
        raise TypeError
    if value == "":
        return None
    if kind == "BIGINT":
        whole = int(value)
        if (isinstance(value, float) and value != whole) or not -(2**63) <= whole < 2**63:
            raise ValueError
        return whole
    if kind == "DOUBLE":
        number = float(value)
        if abs(number) == _INFINITE or number != number or (isinstance(value, int) and int(number) != value):
            raise ValueError
        return number
    if kind == "DATE":
        return date.fromisoformat(value)
    moment = datetime.fromisoformat(value)
    if (moment.tzinfo is None) == (kind == "TIMESTAMPTZ"):
        raise ValueError
    return moment.astimezone(UTC) if moment.tzinfo else moment
