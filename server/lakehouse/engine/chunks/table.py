"""Tables as text, CSV, TSV or markdown: rows in groups, the header above each group."""

import re
from collections.abc import Iterator

from lakehouse.engine.chunks.piece import Piece
from lakehouse.engine.chunks.places import Lines, Names

_DELIMITERS = ",\t;|"
_SEPARATOR = re.compile(r"\s*\|?(?:\s*:?-+:?\s*\|)*\s*:?-*:?\s*")


def table(text: str, path: str, max_chars: int, overlap: int) -> list[Piece]:
    """Rows as they stand, as many as fit with the header, called by the number of the first.

    Quoted line ends belong to their row. A row that does not fit is cut into windows, each under the header; a header
    longer than half a piece stands alone, before the rows.
    """
    lines, names = Lines(text), Names()
    records = list(_records(lines, path))
    if not records:
        return []
    top = records[0][1]
    if len(records) > 1 and _separates(text[slice(*records[0])], text[slice(*records[1])]):
        top = records.pop(1)[1]
    start, header = records[0][0], text[records[0][0] : top].rstrip()
    pieces = []
    above = f"{header}\n"
    if len(records) == 1 or len(above) > max_chars // 2:
        for place, span in enumerate(lines.windows(start, top, max_chars, overlap)):
            key = "header" if not place else f"header:{place + 1}"
            pieces.append(Piece(text[slice(*span)], names.take(key), dict(lines.fields(*span))))
        above = ""
    limit = max_chars - len(above)
    for first, last, start, end in _groups(records[1:], limit):
        for place, span in enumerate(lines.windows(start, end, limit, overlap)):
            pieces.append(
                Piece(
                    above + text[slice(*span)],
                    names.take(f"row{first}" if not place else f"row{first}:{place + 1}"),
                    {"row_start": first, "row_end": last, **lines.fields(*span)},
                )
            )
    return pieces


def _groups(records: list[tuple[int, int]], limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows that fit together: the first and the last one's number, and where they begin and end."""
    first = 0
    for row, (_, end) in enumerate(records):
        if row > first and end - records[first][0] > limit:
            yield first + 1, row, records[first][0], records[row - 1][1]
            first = row
    if records:
        yield first + 1, len(records), records[first][0], records[-1][1]


def _records(lines: Lines, path: str) -> Iterator[tuple[int, int]]:
    """Where each row that is not blank begins and ends."""
    text, ends = lines.text, [*(start - 1 for start in lines.starts[1:]), len(lines.text)]
    mark = _delimiter(text, path)
    quoted = re.compile(rf'(?:^|{re.escape(mark)})\s*"')
    closes, number = True, 0
    while number < len(ends):
        start, end = lines.starts[number], ends[number]
        if closes and text.count('"', start, end) % 2 and quoted.search(text[start:end]):
            last = number + 1
            while last < len(ends) and text.count('"', lines.starts[last], ends[last]) % 2 == 0:
                last += 1
            # A quotation mark without its fellow: from here on a line is a row.
            closes = last < len(ends)
            number = last if closes else number
        end = ends[number]
        if text[start:end].strip():
            yield start, len(text[:end].rstrip("\r")) if text[end - 1] == "\r" else end
        number += 1


def _delimiter(text: str, path: str) -> str:
    if path.lower().endswith(".tsv"):
        return "\t"
    first = text.lstrip().split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def _separates(header: str, line: str) -> bool:
    """Whether this is the line of dashes below a markdown table's header."""
    return "|" in header and "-" in line and len(line) < 10_000 and _SEPARATOR.fullmatch(line) is not None
