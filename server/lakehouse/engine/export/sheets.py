"""Rows as an Excel workbook of one sheet.

A cell holds what Excel keeps exactly: numbers of up to 15 digits, dates and times without a zone from 1900-03-01 on
to the millisecond, true and false. Anything else is text, spelled as in JSON answers. Text is never a formula.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lakehouse.engine.export.texts import Rows, nested
from lakehouse.errors import NotInstalled, TooLarge

MAX_ROWS = 1_048_576  # with the line of names
MAX_COLUMNS = 16_384
MAX_CHARS = 32_767  # UTF-16 units of one cell
_DIGITS = 15
_FIRST_DAY = date(1900, 3, 1)  # Excel counts a 29 February in 1900
# ECMA-376, ST_Xstring: what XML cannot hold, and what looks like such an escape, is written _xHHHH_.
_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]")
_ELSE = "Export csv or parquet, which have no such limit."


def check_size(rows: int, columns: int) -> None:
    """Raises TooLarge, before anything is written, when a sheet cannot hold so many rows or columns."""
    if rows + 1 > MAX_ROWS or columns > MAX_COLUMNS:
        over = f"{rows:,} rows and a line of names" if rows + 1 > MAX_ROWS else f"{columns:,} columns"
        limit = f"{MAX_ROWS:,} rows" if rows + 1 > MAX_ROWS else f"{MAX_COLUMNS:,} columns"
        raise TooLarge(f"{over} do not fit: an Excel sheet has {limit} at most.", fix=f"Ask for fewer. {_ELSE}")


def write_xlsx(
    path: Path, names: Sequence[str], batches: Iterable[Rows], types: Sequence[str], scratch: str
) -> Iterator[int]:
    """Write rows as a workbook; `types` are the columns' DuckDB types, where they have any.

    Raises NotInstalled, and TooLarge naming the row and column of a cell that is too long.
    """
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError:
        raise NotInstalled(
            "writing Excel files needs the extra `excel`.", fix="pip install 'lakehouse-mcp[excel]', or export csv."
        ) from None
    tempfile.tempdir = scratch  # the sheet is written there before it is packed
    book = Workbook(write_only=True)
    sheet = book.create_sheet("rows")

    def cell(value: Any, row: int, column: int, kind: str = "") -> Any:
        if value is None or isinstance(value, bool):
            return value
        value = exact(value, kind)
        if not isinstance(value, str):
            if isinstance(value, Decimal):
                made = WriteOnlyCell(sheet, value)
                made.number_format = "0." + "0" * -int(value.as_tuple().exponent) if value.as_tuple().exponent else "0"
                return made
            return value
        text = _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", value)
        units = max(len(value.encode("utf-16-le", "surrogatepass")) // 2, len(text))
        if units > MAX_CHARS:
            raise TooLarge(
                f"row {row}, column {names[column]!r}: its {units:,} characters do not fit into a cell of Excel, which "
                f"holds {MAX_CHARS:,}.",
                fix=f"Leave the column out. {_ELSE}",
            )
        made = WriteOnlyCell(sheet, text)
        made.data_type = "s"  # else a text that begins with = would be a formula
        return made

    sheet.append([cell(name, 0, place) for place, name in enumerate(names)])
    count = 0
    for rows in batches:
        check_size(count + len(rows), len(names))
        for number, row in enumerate(rows, count + 1):
            sheet.append([cell(value, number, place, types[place]) for place, value in enumerate(row)])
        count += len(rows)
        yield len(rows)
    book.save(path)


def exact(value: Any, kind: str) -> Any:
    """A JSON value of a DuckDB type as what a cell keeps of it without loss: a number, a date, or text."""
    if isinstance(value, int | float):
        return value if isinstance(value, float) or abs(value) < 10**_DIGITS else str(value)
    if not isinstance(value, str):
        return nested(value)
    if kind.startswith("DECIMAL"):
        number = Decimal(value)
        return number if len(number.as_tuple().digits) <= _DIGITS else value
    try:
        if kind == "DATE":
            day = date.fromisoformat(value)
            return day if day >= _FIRST_DAY else value
        # Of a longer fraction than milliseconds a cell would lose the rest.
        if kind.startswith("TIMESTAMP") and kind != "TIMESTAMP WITH TIME ZONE" and len(value.partition(".")[2]) <= 6:
            moment = datetime.fromisoformat(value)
            return moment if moment.date() >= _FIRST_DAY and moment.microsecond % 1000 == 0 else value
    except ValueError:  # a year before 1 or after 9999, infinity
        pass
    return value
