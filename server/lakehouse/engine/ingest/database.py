"""A Postgres table or query to Parquet: one read-only transaction, a server-side cursor, 8,192 rows at a time.

Integers become int64; float4 and float8 double; numeric(p, s) of up to 15 digits double, which holds them all, and of
up to 38 an exact decimal. A numeric of no declared size becomes double, and a whole number in it that a double does not
hold is an error. Booleans, dates and timestamps are what they are; everything else is text as Postgres writes it.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.string import TextLoader

from lakehouse.engine import files
from lakehouse.engine.ingest import dsn, kinds
from lakehouse.engine.ingest.engine import Engine, Report
from lakehouse.engine.ingest.memory import bound
from lakehouse.engine.ingest.parquet import written_columns
from lakehouse.errors import InvalidInput, LakehouseError, NotFound, TimedOut, TooLarge, Upstream

_FETCHED = 8192
_DOUBLE_DIGITS, _DECIMAL_DIGITS = 15, 38
_NUMERIC = 1700
_TYPES = {
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23, 26), pa.int64()),  # int8, int2, int4, oid
    **dict.fromkeys((700, 701), pa.float64()),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", tz="UTC"),
}


def ingest(setup: Mapping[str, Any], request: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Write what a request names as data.parquet, and answer its facts.

    Raises InvalidInput for a query the server refuses, NotFound for a table that is not there, Forbidden for an address
    that may not be reached, TimedOut, and Upstream when the server cannot be reached or fails.
    """
    bound(setup["max_bytes"], setup["memory_limit"])
    text, seconds = request["dsn"], request["timeout_secs"]
    parameters = dsn.parameters(text, request["internal"], seconds)
    report(0, "connecting")
    try:
        with psycopg.connect(**parameters) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(int(seconds * 1000)),))
            connection.execute("SET LOCAL DateStyle = 'ISO'; SET LOCAL TimeZone = 'UTC'")
            _plain_text(connection)
            try:
                return _written(setup, request, report, connection)
            finally:
                connection.rollback()  # some functions write even so, before version 16
    except psycopg.Error as error:
        raise _translated(error, text, seconds) from None


def _plain_text(connection: "psycopg.Connection[Any]") -> None:
    """Have values of all types but those of _TYPES come as the server writes them."""
    for kind in connection.adapters.types:
        for oid in (kind.oid, kind.array_oid):
            if oid and oid not in _TYPES and oid != _NUMERIC:
                connection.adapters.register_loader(oid, TextLoader)


def _written(
    setup: Mapping[str, Any], request: Mapping[str, Any], report: Report, connection: "psycopg.Connection[Any]"
) -> dict[str, Any]:
    engine = Engine(Path(setup["folder"], "none"), setup["memory_limit"], setup["threads"], report)
    source = _Source(connection, _statement(request), setup["max_cell_bytes"], engine)
    first = source.open()
    if not first:
        raise InvalidInput("there is no row.", fix="An empty table cannot be stored.")
    row_bytes = sum(len(str(value)) for row in first for value in row) // len(first)

    def begin() -> None:
        if source.begun:
            source.open()  # the same rows once more: the transaction sees the database as it was when it began
        source.begun = True
        engine.register("source_rows", pa.RecordBatchReader.from_batches(source.schema, iter(source)))

    try:
        rows = engine.write("SELECT * FROM source_rows", row_bytes, begin)
    except duckdb.Error:
        if source.failure is not None:
            raise source.failure from None
        raise
    sha256, size = files.sha256_of(engine.target), engine.target.stat().st_size
    return {
        "rows": rows,
        "columns": written_columns(engine.target),
        "warnings": source.warnings,
        "sha256": sha256,
        "bytes": size,
        # What came has no bytes of its own: those of the rows as they are stored.
        "source": {"sha256": sha256, "bytes": size},
    }


def _statement(request: Mapping[str, Any]) -> sql.Composable:
    if request["table"] is None:
        return sql.SQL(request["query"])
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(*request["table"].split(".")))


class _Source:
    """The rows as Arrow batches; `failure` is what stopped them, since the engine would only pass on its text."""

    def __init__(
        self, connection: "psycopg.Connection[Any]", statement: sql.Composable, max_cell: int, engine: Engine
    ) -> None:
        self.failure: BaseException | None = None
        self.warnings: list[str] = []
        self.schema = pa.schema([])
        self.begun = False
        self._connection, self._statement, self._max_cell, self._engine = connection, statement, max_cell, engine
        self._loose: set[str] = set()  # columns of numeric without a declared size

    def open(self) -> list[tuple[Any, ...]]:
        """Ask for the rows; the first of them."""
        self._cursor = self._connection.cursor(name="lakehouse")
        self._cursor.execute(self._statement)  # type: ignore[arg-type]  # a caller's own query
        columns = self._cursor.description or []
        kinds.check_names([column.name for column in columns], "the result")
        self.schema = pa.schema([(column.name, self._kind(column)) for column in columns])
        self._first = self._cursor.fetchmany(_FETCHED)
        return self._first

    def _kind(self, column: psycopg.Column) -> pa.DataType:
        if column.type_code != _NUMERIC:
            return _TYPES.get(column.type_code, pa.string())
        digits, scale = column.precision, column.scale or 0
        if digits is None:
            self._loose.add(column.name)
        elif digits > _DOUBLE_DIGITS:
            return pa.decimal128(digits, scale) if digits <= _DECIMAL_DIGITS and 0 <= scale <= digits else pa.string()
        return pa.float64()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows, done = self._first, 0
        try:
            while rows:
                arrays = [self._array(n, field, rows) for n, field in enumerate(self.schema)]
                yield pa.record_batch(arrays, schema=self.schema)
                done += len(rows)
                self._engine.at(min(95, done / 1_000_000), f"{done} rows read")
                rows = self._cursor.fetchmany(_FETCHED)
        except (LakehouseError, psycopg.Error) as error:
            self.failure = error
            raise
        finally:
            self._cursor.close()

    def _array(self, n: int, field: pa.Field, rows: list[tuple[Any, ...]]) -> pa.Array:
        values: list[Any] = [row[n] for row in rows]
        if pa.types.is_string(field.type):
            values = [value if value is None or isinstance(value, str) else str(value) for value in values]
            if any(value is not None and len(value) > self._max_cell for value in values):
                raise TooLarge(
                    f"column {field.name!r}: a value has over {self._max_cell} characters.",
                    fix="Raise ingest.max_cell_bytes, or leave the column out.",
                )
        elif pa.types.is_floating(field.type) and any(isinstance(value, Decimal) for value in values):
            loose = field.name in self._loose
            values = [value and self._double(field.name, value, loose) for value in values]
        elif pa.types.is_timestamp(field.type) and field.type.tz:
            values = [value and value.astimezone(UTC) for value in values]
        try:
            return pa.array(values, field.type)
        except (pa.ArrowException, OverflowError, ValueError):
            raise InvalidInput(
                f"column {field.name!r}: a value does not fit {field.type}.", fix="Cast it to text in a query."
            ) from None

    def _double(self, name: str, value: Decimal, loose: bool) -> float:
        number = float(value)
        if loose and value.is_finite() and value == value.to_integral_value() and number != value:
            raise InvalidInput(
                f"column {name!r}: the number {str(value)[:60]} would lose digits as a double.",
                fix="Cast it in a query, to numeric(38, 0) or to text.",
            )
        return number


def _translated(error: psycopg.Error, text: str, seconds: float) -> LakehouseError:
    """A failure of the server or on the way to it, in its own words but for what the connection string says."""
    words = error.diag.message_primary or " ".join(str(error).split())
    words = dsn.hidden(words, text)[:300].rstrip(".")
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.ConnectionTimeout):
        return TimedOut(
            f"the database took over {seconds:g} seconds.", fix="Ask for less, or raise ingest.remote_timeout_secs."
        )
    if isinstance(error, psycopg.errors.UndefinedTable):
        return NotFound(f"the database says: {words}.", fix="Check the name and its schema: schema.table.")
    if isinstance(error, psycopg.DataError):
        return InvalidInput(
            f"the database says: {words}.", fix="Leave such values out in a query, or cast them to text."
        )
    if isinstance(error, psycopg.OperationalError) or error.sqlstate is None:
        return Upstream(f"the database cannot be used: {words}.", fix="Check the connection string and the server.")
    return InvalidInput(f"the database says: {words}.", fix="Mend the query.")
