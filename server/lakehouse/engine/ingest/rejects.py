"""Which rows of a delimited file are bad: the line in the file, the column, the value and the reason for each."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engine.ingest import kinds
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge

if TYPE_CHECKING:
    from lakehouse.engine.ingest.delimited import Reading
    from lakehouse.engine.ingest.engine import Engine

LISTED = 100
VALUE_CHARS = 80
_SHOWN = 3
_CHUNK = 2**20


def find(engine: "Engine", reading: "Reading", asked: Mapping[str, str]) -> LakehouseError | None:
    """The error that lists the first 100 bad rows, or None when the reader accepts them all.

    First cells that do not fit their row, then values that do not fit a type asked for: the reader takes a surplus
    empty cell for none when empty cells are NULL, and types need that.
    """
    bad = _rejected(engine, reading, {})
    if not bad and asked:
        bad = _rejected(engine, reading, {n: asked[c] for n, c in enumerate(reading.dialect.names) if c in asked})
    if not bad:
        return None
    if bad[0]["reason"] == "too long":
        return TooLarge(
            f"line {bad[0]['line']}: the row is over {reading.limits.max_cell} bytes.",
            fix="Raise ingest.max_cell_bytes, or look for a quote that is opened there and never closed.",
            data={"rows": bad[:1]},
        )
    return listed(bad)


def listed(bad: list[dict[str, Any]]) -> InvalidInput:
    """The error for rows of {line, column, value, reason}: the first few in words, all of them as data."""
    shown = [
        f"line {row['line']}" + (f", column {row['column']!r}" if row["column"] else "") + f": {row['reason']}"
        for row in bad[:_SHOWN]
    ]
    more = "" if len(bad) <= _SHOWN else f"; and {len(bad) - _SHOWN}{'' if len(bad) < LISTED else ' or'} more"
    return InvalidInput(
        "; ".join(shown) + more + ".", fix="Mend these rows; nothing was stored.", data={"rows": bad[:LISTED]}
    )


def changed(engine: "Engine", reading: "Reading") -> InvalidInput | None:
    """The error that lists the first 100 cells that would not keep their value in the dataset's column, or None."""
    found: list[tuple[int, str, str, str]] = []
    for n, column in enumerate(reading.dialect.names):
        if (kind := reading.held.get(column, "VARCHAR")) != "VARCHAR":
            rows = engine.rows(
                f"SELECT row, left(c{n}, {VALUE_CHARS}) FROM (SELECT row_number() OVER () AS row, c{n}"
                f" FROM {reading.sql()}) WHERE c{n} <> '' AND NOT {kinds.keeps(kind, f'c{n}')} LIMIT {LISTED}"
            )
            found += [(int(row), column, value, kind) for row, value in rows]
    found = sorted(found)[:LISTED]
    if not found:
        return None
    lines = _lines_of_rows(reading, {row for row, *_ in found})
    return listed(
        [
            {"line": lines.get(row, row + 1), "column": column, "value": value, "reason": f"{value!r} is not a {kind}"}
            for row, column, value, kind in found
        ]
    )


def _lines_of_rows(reading: "Reading", rows: set[int]) -> dict[int, int]:
    """The lines that rows begin on, both counted from 1."""
    csv.field_size_limit(reading.limits.max_cell)
    lines: dict[int, int] = {}
    row, begins = -1, 1
    with reading.path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=reading.dialect.delimiter)
        for record in reader:
            row += bool(record)  # the header is row 0
            if record and row in rows:
                lines[row] = begins
                if len(lines) == len(rows):
                    break
            begins = reader.line_num + 1
    return lines


def uncounted(reading: "Reading", rows: int) -> InvalidInput | None:
    """The error for a file in which Python's own CSV reader finds another number of rows, or None."""
    csv.field_size_limit(reading.limits.max_cell)
    found, begins, last = -1, 1, 1  # the header is no row
    with reading.path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=reading.dialect.delimiter)
        try:
            for record in reader:
                if record:
                    found, last = found + 1, begins
                begins = reader.line_num + 1
        except csv.Error:
            last = begins
    if found == rows:
        return None
    return InvalidInput(
        f"line {last}: a quote is opened and never closed, or the rows before it cannot be told apart.",
        fix="Write every cell that holds a quote, a delimiter or a line end in quotes, its own quotes doubled.",
        data={"rows": [{"line": last, "column": None, "value": "", "reason": "a quote is not closed"}]},
    )


def _rejected(engine: "Engine", reading: "Reading", types: Mapping[int, str]) -> list[dict[str, Any]]:
    used = ", ".join(f"count(c{n})" for n in range(len(reading.dialect.names)))
    engine.rows(f"SELECT {used} FROM {reading.sql(types, f', store_rejects = true, rejects_limit = {LISTED}')}")
    found = engine.rows(
        "SELECT line_byte_position, column_idx, error_type, csv_line FROM reject_errors"
        f" ORDER BY line_byte_position, column_idx LIMIT {4 * LISTED}"
    )
    for table in ("reject_errors", "reject_scans"):
        engine.rows(f"DROP TABLE {table}")
    firsts = {int(place): (index, kind, line or "") for place, index, kind, line in reversed(found)}
    places = sorted(firsts)[:LISTED]
    lines = lines_of(reading.path, places)
    return [
        {"line": line, **_explained(reading, types, *firsts[place])} for place, line in zip(places, lines, strict=True)
    ]


def _explained(reading: "Reading", types: Mapping[int, str], index: int | None, kind: str, line: str) -> dict[str, Any]:
    names = reading.dialect.names
    if kind == "LINE SIZE OVER MAXIMUM":
        return {"column": None, "value": line[:VALUE_CHARS], "reason": "too long"}
    if kind == "UNQUOTED VALUE":
        reason = "a quote is not closed, or text follows the closing quote"
        return {"column": None, "value": line.strip("\r\n")[:VALUE_CHARS], "reason": reason}
    cells = next(csv.reader(io.StringIO(line.strip("\r\n"), newline=""), delimiter=reading.dialect.delimiter), [])
    if kind in ("TOO MANY COLUMNS", "MISSING COLUMNS"):
        return {
            "column": names[len(cells)] if len(cells) < len(names) else None,
            "value": cells[len(names)][:VALUE_CHARS] if len(cells) > len(names) else "",
            "reason": f"the row has {len(cells)} cells, the header {len(names)}",
        }
    at = (index or 1) - 1
    value = cells[at][:VALUE_CHARS] if at < len(cells) else ""
    return {"column": names[at], "value": value, "reason": f"{value!r} is not a {types.get(at, 'value')}"}


def lines_of(path: Path, places: Iterable[int]) -> Iterator[int]:
    """The line of each byte position, both counted from 1, positions ascending.

    The reader's own line numbers count rows, and a quoted cell may span lines.
    """
    line, offset, end = 1, 0, b""
    with path.open("rb") as file:
        for place in places:
            while offset < place - 1:
                block = file.read(min(_CHUNK, place - 1 - offset))
                end = end or (b"\n" if b"\n" in block else b"\r")
                line += block.count(end)
                offset += len(block)
            # After a CRLF the reader's rows begin at its LF.
            starts_with_end = file.read(1) == b"\n"
            file.seek(offset)
            yield line + starts_with_end
