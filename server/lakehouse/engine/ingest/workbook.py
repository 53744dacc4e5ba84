"""Excel workbooks (.xlsx, .xlsm) to Parquet: one sheet, typed by what its cells are, never by what they look like.

The reader takes the values that formulas had when the file was last saved. Only the first cell of merged ones has a
value; a cell with an error has none. Both are told as warnings.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lakehouse.engine.ingest import kinds, spool
from lakehouse.engine.ingest.engine import Engine, Table
from lakehouse.engine.ingest.memory import bound
from lakehouse.engine.ingest.plain import CHUNK, Limits
from lakehouse.errors import InvalidInput, LakehouseError, NotInstalled, TooLarge, did_you_mean

_LAST_ROW, _LAST_COLUMN = 2**20, 2**14  # Excel's own limits: a number beyond them is a crafted one
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]*ref=\"([A-Z0-9:]{1,40})\"")
_SHOWN = 5


def ingest(
    engine: Engine,
    limits: Limits,
    types: Mapping[str, str],
    held: Mapping[str, str],
    sheet: str | None,
    header_row: int | None,
) -> Table:
    """Write one sheet as typed Parquet: the one named, or of that number from 1, or the first that is not hidden.

    The column names are in `header_row`, or in the first row that is not empty. Empty rows and columns are left out.

    Raises NotInstalled without the extra, InvalidInput for a damaged workbook, a sheet that is not there or a header
    that cannot name columns, TooLarge for one that unpacks to too much.
    """
    try:
        import openpyxl
    except ImportError:
        raise NotInstalled(
            "reading Excel files takes openpyxl.", fix="Install the extra: pip install 'lakehouse-mcp[excel]'."
        ) from None
    bound(limits.max_bytes, engine.memory_limit)
    with _translated():
        _check_size(engine.source, limits)
        book = openpyxl.load_workbook(engine.source, read_only=True, data_only=True, keep_links=False)
        try:
            chosen, others = _sheet(book.worksheets, sheet)
            table, notes = _rows(engine, chosen, header_row)
        finally:
            book.close()
        notes += _merged(engine.source, chosen._worksheet_path)
    columns = _columns(table)
    written = spool.write(engine, table, columns, types, held)
    if sheet is None and others:
        notes.append(f"sheet {chosen.title!r} was read; there is also {', '.join(map(repr, others[:_SHOWN]))} (sheet=)")
    return Table(written.rows, written.columns, written.warnings + notes, {"sheet": chosen.title})


def _check_size(path: Path, limits: Limits) -> None:
    """Raises TooLarge for a file that unpacks to too much: what an archive says of its members binds its reader."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > limits.max_bytes:
        raise TooLarge(f"the workbook unpacks to over {limits.max_bytes} bytes.", fix="Raise ingest.max_path_bytes.")


def _sheet(sheets: Sequence[Any], asked: str | None) -> tuple[Any, list[str]]:
    """The sheet to read, and the names of the other visible ones."""
    visible = [sheet for sheet in sheets if sheet.sheet_state == "visible"]
    names = [sheet.title for sheet in sheets]
    if not sheets:
        raise InvalidInput("the workbook has no sheet with cells.", fix="Save it with one.")
    if asked is None:
        chosen = (visible or sheets)[0]
        return chosen, [sheet.title for sheet in visible if sheet is not chosen]
    if asked in names:
        return sheets[names.index(asked)], []
    if asked.isdecimal() and 0 < int(asked) <= len(sheets):
        return sheets[int(asked) - 1], []
    raise InvalidInput(f"sheet: there is no sheet {asked[:80]!r}.", fix=did_you_mean(asked, names))


def _rows(engine: Engine, sheet: Any, header_row: int | None) -> tuple[spool.Rows, list[str]]:
    """The rows below the header, as wide as the widest, and what was left out of them."""
    found: spool.Rows | None = None
    failed: list[str] = []
    failures = 0
    beyond: tuple[int, int] | None = None
    for number, cells in enumerate(_cells(sheet), 1):
        if number > _LAST_ROW or len(cells) > _LAST_COLUMN:
            raise InvalidInput("the sheet has cells beyond Excel's last row or column.", fix="Save the file again.")
        if header_row is not None and number < header_row:
            continue
        row = [None if cell.data_type == "e" or cell.value == "" else cell.value for cell in cells]
        if found is None:
            if header_row is not None or any(value is not None for value in row):
                found = spool.Rows([(spool.text_of(value) or "").strip() for value in row])
            continue
        if any(cell.data_type == "e" for cell in cells):
            wrong = [f"{_letter(n)}{number}" for n, cell in enumerate(cells) if cell.data_type == "e"]
            failures += len(wrong)
            failed += wrong[: _SHOWN - len(failed)]
        if all(value is None for value in row):
            continue
        width = len(found.names)
        if any(value is not None for value in row[width:]) and beyond is None:
            beyond = number, next(n for n in range(width, len(row)) if row[n] is not None)
        found.add(number, (row + [None] * (width - len(row)))[:width])
        if number % 10_000 == 0:
            engine.at(min(55.0, number / 10_000), "reading the sheet")
    if found is None:
        raise InvalidInput("the sheet is empty.", fix="Name another with sheet=, or check header_row.")
    found.close()
    if beyond is not None:
        raise _unnamed(*beyond)
    if not found.count:
        raise InvalidInput("there is a header and no row.", fix="Add rows; an empty table cannot be stored.")
    more = ", …" if failures > len(failed) else ""
    notes = [f"{failures} cells with errors are null: {', '.join(failed)}{more}"] if failures else []
    return found, notes


def _cells(sheet: Any) -> Iterator[Sequence[Any]]:
    sheet.reset_dimensions()  # what a sheet says of its size need not be so
    yield from sheet.iter_rows()


def _columns(table: spool.Rows) -> list[int]:
    """The columns that have a name. Raises InvalidInput for one that has only values, and for bad names."""
    named = [n for n, name in enumerate(table.names) if name]
    unnamed = next((n for n, name in enumerate(table.names) if not name and table.held[n]), None)
    if unnamed is not None:
        raise _unnamed(None, unnamed)
    kinds.check_names([table.names[n] for n in named], "the header")
    return named


def _unnamed(row: int | None, column: int) -> InvalidInput:
    where = f"cell {_letter(column)}{row} has" if row else f"column {_letter(column)} has"
    return InvalidInput(
        f"{where} a value and no name in the header.", fix="Name it there, or give the header's row with header_row=."
    )


def _merged(path: Path, sheet: str) -> list[str]:
    found: list[str] = []
    count, tail = 0, b""
    with zipfile.ZipFile(path) as archive, archive.open(sheet) as file:
        while block := file.read(CHUNK):
            block = tail + block
            end = 0
            for match in _MERGED.finditer(block):
                count, end = count + 1, match.end()
                found += [match[1].decode()][: _SHOWN - len(found)]
            tail = block[max(end, len(block) - 200) :]
    if not count:
        return []
    more = ", …" if count > _SHOWN else ""
    return [f"merged cells have their value in the first one only: {', '.join(found)}{more}"]


def _letter(column: int) -> str:
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


@contextmanager
def _translated() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which hold no rows
            yield
    except (LakehouseError, MemoryError):
        raise
    # The library trusts its input: damaged XML surfaces as whatever the parser trips over.
    except Exception as error:
        raise InvalidInput(
            f"the file cannot be read as an Excel workbook ({type(error).__name__}).", fix="Save it again as .xlsx."
        ) from error
