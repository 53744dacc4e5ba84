"""A table measured column by column, some columns at a time so that wide ones fit in memory."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse.engine.profiling import pii
from lakehouse.engine.profiling.facts import ColumnFacts, Common
from lakehouse.engine.quoting import identifier
from lakehouse.errors import TooLarge

if TYPE_CHECKING:
    from lakehouse.engine.tables import Desk

TABLE = "data"
CHARS = 200
_AT_ONCE = 40  # columns
_FIRST_ROWS = 200  # that samples and signs of personal data come from
_SAMPLES = 5
_COMMON = 10
_MOST_DISTINCT = 100_000  # beyond, counting each value costs more than it tells
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_REALS = ("UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_NESTED = ("STRUCT", "MAP", "UNION", "LIST", "ARRAY", "VARIANT", "JSON", "GEOMETRY", "BLOB", "BIT")


async def measure(desk: "Desk", rows: int) -> list[ColumnFacts]:
    """The facts of the columns of the desk's table, in their order; values that seem personal are masked."""
    described = [(str(row[0]), str(row[1])) for row in await desk.rows(f"DESCRIBE {TABLE}")]
    found: list[ColumnFacts] = []
    for start in range(0, len(described), _AT_ONCE):
        part = described[start : start + _AT_ONCE]
        facts = await _counted(desk, part, rows)
        first = await _first(desk, facts)
        await _values(desk, facts, rows)
        for column, values in zip(facts, first, strict=True):
            await anyio.to_thread.run_sync(_judged, column, values)
        found += facts
    return found


def is_number(kind: str) -> bool:
    """Whether an SQL type is one of numbers."""
    return kind.partition("(")[0] in (*_NUMBERS, *_REALS)


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.partition("(")[0] in _NESTED


async def _counted(desk: "Desk", columns: Sequence[tuple[str, str]], rows: int) -> list[ColumnFacts]:
    asked = []
    for name, kind in columns:
        cell = identifier(name)
        text = f"CAST({cell} AS VARCHAR)"
        asked += [f"count({cell})", f"approx_count_distinct({text if _is_nested(kind) else cell})"]
        ends = "NULL, NULL" if _is_nested(kind) or kind == "BOOLEAN" else f"min({cell}), max({cell})"
        if kind == "VARCHAR":
            ends = f"left(min({cell}), {CHARS}), left(max({cell}), {CHARS})"
        asked.append(ends)
        asked.append(
            f"avg(CAST({cell} AS DOUBLE)) FILTER (isfinite(CAST({cell} AS DOUBLE)))" if is_number(kind) else "NULL"
        )
    values = (await desk.rows(f"SELECT {', '.join(asked)} FROM {TABLE}"))[0]
    found = []
    for n, (name, kind) in enumerate(columns):
        count, distinct, low, high, mean = values[5 * n : 5 * n + 5]
        distinct = min(int(distinct), int(count))
        found.append(
            ColumnFacts(name=name, type=kind, nulls=rows - int(count), distinct=distinct, min=low, max=high, mean=mean)
        )
    # The estimate is a few percent off: of what may be a key, it is asked for certain.
    likely = [f for f in found if f.nulls == 0 and rows > 0 and f.distinct >= 0.9 * rows and not _is_nested(f.type)]
    for column, count in zip(likely, await _exact(desk, likely), strict=True):
        if count is not None:
            column.distinct, column.unique = count, count == rows
    return found


async def _exact(desk: "Desk", columns: Sequence[ColumnFacts]) -> list[int | None]:
    """How many different values columns have; None where counting them takes more memory than there is."""
    if not columns:
        return []
    # One statement: binding a table of a thousand columns costs more than reading one of them.
    asked = [f"count(DISTINCT {identifier(column.name)})" for column in columns]
    try:
        return [int(count) for count in (await desk.rows(f"SELECT {', '.join(asked)} FROM {TABLE}"))[0]]
    except TooLarge:
        if len(columns) == 1:
            return [None]
        half = len(columns) // 2
        return [*await _exact(desk, columns[:half]), *await _exact(desk, columns[half:])]


async def _first(desk: "Desk", columns: Sequence[ColumnFacts]) -> list[list[str]]:
    """Some filled values of each column, as text: of the first rows, or the first there are."""
    shown = ", ".join(f"left(CAST({identifier(column.name)} AS VARCHAR), {CHARS})" for column in columns)
    rows = await desk.rows(f"SELECT {shown} FROM {TABLE} LIMIT {_FIRST_ROWS}")
    found = [[str(row[n]) for row in rows if row[n] is not None] for n in range(len(columns))]
    for column, values in zip(columns, found, strict=True):
        if not values and column.distinct:
            cell = identifier(column.name)
            sparse = f"SELECT left(CAST({cell} AS VARCHAR), {CHARS}) FROM {TABLE} WHERE {cell} IS NOT NULL LIMIT 20"
            values += [str(row[0]) for row in await desk.rows(sparse)]
    return found


async def _values(desk: "Desk", columns: Sequence[ColumnFacts], rows: int) -> None:
    """The most frequent values, exactly, of columns whose values repeat."""
    parts = []
    for n, column in enumerate(columns):
        filled = rows - column.nulls
        if not filled or column.distinct > min(_MOST_DISTINCT, filled // 2 + 1) or _is_nested(column.type):
            continue
        cell = identifier(column.name)
        value = f"left(value, {CHARS})" if column.type == "VARCHAR" else "value"
        parts.append(
            f"(SELECT {n} AS place, row_number() OVER (ORDER BY n DESC, value) AS rank,"
            f" CAST(to_json({value}) AS VARCHAR) AS text, n FROM"
            f" (SELECT {cell} AS value, count(*) AS n FROM {TABLE} WHERE {cell} IS NOT NULL GROUP BY {cell}"
            f" ORDER BY n DESC, value LIMIT {_COMMON}))"
        )
    if not parts:
        return
    found: dict[int, list[Common]] = {}
    try:
        listed = await desk.rows(f"{' UNION ALL '.join(parts)} ORDER BY 1, 2")
    except TooLarge:
        if len(columns) > 1:
            half = len(columns) // 2
            await _values(desk, columns[:half], rows)
            await _values(desk, columns[half:], rows)
        return
    for place, _, text, n in listed:
        found.setdefault(int(place), []).append(Common(value=json.loads(text), count=int(n)))
    for place, common in found.items():
        columns[place].common = common
        if len(common) < _COMMON:
            columns[place].distinct = len(common)


def _judged(column: ColumnFacts, values: Sequence[str]) -> None:
    """Samples, and what is masked where they seem personal."""
    different = list(dict.fromkeys(values))
    if column.type in ("VARCHAR", "BIGINT", "INTEGER", "HUGEINT", "UBIGINT", "INET"):
        column.pii = pii.hints(column.name, values, number=column.type != "VARCHAR")
    samples = different[:_SAMPLES]
    if column.pii:
        column.min = column.max = column.mean = None
        samples = list(dict.fromkeys(map(pii.masked, different)))[:_SAMPLES]
        for each in column.common:
            each.value = pii.masked(each.value)
    column.samples = samples
