"""Which rows of a table break which expectation, found by a desk that has the table open."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from lakehouse.engine.expectations.failures import LISTED
from lakehouse.engine.expectations.rules import Expectation
from lakehouse.engine.quoting import identifier
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.tables import Desk

VALUE_CHARS = 80


@dataclass(frozen=True)
class Data:
    """What is judged: a table of the desk; what comes in beside a version that stays, where `present` says its columns.

    That one is the table `present`. Of its rows those stay whose `key` no row that comes in has.
    """

    table: str = "data"
    present: Sequence[str] = ()
    key: Sequence[str] = ()

    @property
    def kept(self) -> str:
        """The rows that stay, as SQL."""
        if not self.key:
            return "present"
        return (
            f"(SELECT * FROM present ANTI JOIN {identifier(self.table)} USING ({', '.join(map(identifier, self.key))}))"
        )


WHOLE = Data()


class Row(BaseModel):
    """One row that breaks an expectation."""

    row: int = Field(description="Its number in the data that was looked at, the first is 1.")
    line: int | None = Field(None, description="Its line in the file, where that has lines.")
    column: str | None = Field(None, description="The column.")
    value: Any = Field(None, description="What stands there, cut.")
    rule: str = Field(description="What it breaks.")


class Finding(BaseModel):
    """One expectation and how the data holds it."""

    expectation: str = Field(description="The expectation, in a line.")
    severity: str = Field(description="error or warn.")
    holds: bool = Field(description="Whether it holds.")
    count: int = Field(0, description="Rows that break it.")
    words: str = Field("it holds", description="What is wrong.")
    rows: list[Row] = Field(default_factory=list, description="Up to 100 of them.")


async def judge(desk: "Desk", expectations: Sequence[Expectation], data: Data = WHOLE) -> list[Finding]:
    """How data holds each expectation, in their order; rows are numbered from 1 in the table looked at.

    Raises InvalidInput for one that cannot be asked of this table, naming it: a range of dates of a number, a
    condition that is no condition.
    """
    return [await _judged(desk, each, data) for each in expectations]


async def _judged(desk: "Desk", each: Expectation, data: Data) -> Finding:
    try:
        if each.rule == "row_count":
            return await _row_count(desk, each, data)
        return await _rows(desk, each, data)
    except InvalidInput as error:
        reason = error.detail.removeprefix("sql: ")
        raise InvalidInput(f"expectations: {each.text}: {reason}", fix=error.fix) from None


async def _row_count(desk: "Desk", each: Expectation, data: Data) -> Finding:
    parts = [identifier(data.table), *([data.kept] if data.present else [])]
    count = sum([int((await desk.rows(f"SELECT count(*) FROM {part}"))[0][0]) for part in parts])
    holds = (each.min is None or count >= int(each.min)) and (each.max is None or count <= int(each.max))
    found = Finding(expectation=each.text, severity=each.severity, holds=holds)
    return found if holds else found.model_copy(update={"words": f"there are {count} rows"})


async def _rows(desk: "Desk", each: Expectation, data: Data) -> Finding:
    foreign = each.rule == "sql"
    conditions = {"sql": each.sql or ""} if foreign else {}
    count, rows = 0, list[Row]()
    for column, counted, listed in statements(each, data):
        broke = int((await desk.rows(counted, foreign=foreign, conditions=conditions))[0][0])
        count += broke
        if broke and len(rows) < LISTED:
            found = await desk.rows(
                f"SELECT _row, left(_it, {VALUE_CHARS}) FROM ({listed}) ORDER BY _row LIMIT {LISTED - len(rows)}",
                foreign=foreign,
                conditions=conditions,
            )
            rows += [Row(row=int(row), column=column or None, value=value, rule=each.text) for row, value in found]
    if not count:
        return Finding(expectation=each.text, severity=each.severity, holds=True)
    first = rows[0]
    words = f"row {first.row}" + (f", column {first.column!r}" if first.column else "")
    words += " is null" if first.value is None else f" has {first.value!r}"
    words += f", and {count - 1} more" if count > 1 else ""
    return Finding(expectation=each.text, severity=each.severity, holds=False, count=count, words=words, rows=rows)


def statements(each: Expectation, data: Data) -> Iterator[tuple[str, str, str]]:
    """For each column of an expectation about rows: its name, the query that counts what breaks it, and the query
    of those rows as `_row` (its number) and `_it` (the value, as text)."""
    table = identifier(data.table)
    if each.rule == "unique":
        columns = ", ".join(map(identifier, each.columns))
        shown = f"CAST({columns} AS VARCHAR)" if len(each.columns) == 1 else f"CAST(({columns}) AS VARCHAR)"
        repeats = _repeats(each, data)
        yield (
            ", ".join(each.columns),
            f"SELECT count(*) FROM ({repeats})",
            f"SELECT _row, {shown} AS _it FROM ({repeats})",
        )
        return
    for column in each.columns or ("",):
        condition = each.broken(column)
        shown = identifier(column) if column else "to_json(_t)"  # what a condition is about is the row
        numbered = (
            f"SELECT row_number() OVER () AS _row, {condition} AS _broke, CAST({shown} AS VARCHAR) AS _it"
            f" FROM {table} _t"
        )
        yield (
            column,
            f"SELECT count(*) FROM {table} WHERE {condition}",
            f"SELECT _row, _it FROM ({numbered}) WHERE _broke",
        )


def _repeats(each: Expectation, data: Data) -> str:
    """A query of the rows, numbered as `_row`, whose values an earlier row has, or one that stays beside them."""
    columns = ", ".join(map(identifier, each.columns))
    filled = " AND ".join(f"{identifier(column)} IS NOT NULL" for column in each.columns)
    numbered = f"SELECT row_number() OVER () AS _row, {columns} FROM {identifier(data.table)}"
    # Most values are there once: only the others are numbered and sorted.
    often = f"SELECT {columns} FROM {identifier(data.table)} WHERE {filled} GROUP BY {columns} HAVING count(*) > 1"
    found = (
        f"SELECT _row, {columns} FROM ({numbered}) SEMI JOIN ({often}) USING ({columns})"
        f" QUALIFY row_number() OVER (PARTITION BY {columns} ORDER BY _row) > 1"
    )
    if data.present and set(each.columns) <= set(data.present):
        found += f" UNION SELECT _row, {columns} FROM ({numbered}) SEMI JOIN {data.kept} USING ({columns})"
    return found
