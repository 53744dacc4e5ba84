"""Rows as CSV, JSON and JSON Lines, a batch at a time.

CSV is RFC 4180 in UTF-8: lines end in CRLF, a cell with a comma, a quote or a line break is quoted. Null is an empty
cell, empty text a quoted one. Values are spelled as in JSON answers; nested ones are JSON text. Numbers that JSON does
not have are NaN, Infinity and -Infinity in CSV, null in JSON.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from lakehouse.errors import Unprocessable

Rows = list[list[Any]]
_QUOTED = re.compile(r'[",\r\n]')
_ACTIVE = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for the beginning of a formula


def write_csv(file: BinaryIO, names: Sequence[str], batches: Iterable[Rows], guarded: Sequence[bool]) -> Iterator[int]:
    """Write rows as CSV; yields the rows of each batch that is written.

    Texts of `guarded` columns that a spreadsheet would take for a formula begin with an apostrophe.
    """
    file.write(_line(_cell(_guard(name) if any(guarded) else name) for name in names))
    for rows in batches:
        text = bytearray()
        for row in rows:
            if any(guarded):
                row = [_guard(value) if on else value for value, on in zip(row, guarded, strict=True)]
            text += _line(map(_cell, row))
        file.write(text)
        yield len(rows)


def write_json(file: BinaryIO, names: Sequence[str], batches: Iterable[Rows], *, lines: bool) -> Iterator[int]:
    """Write rows as objects, in one array or one a line; yields the rows of each batch that is written.

    Raises Unprocessable where two columns have one name.
    """
    unlike(names)
    first, between = (b"", b"") if lines else (b"[", b",\n")
    file.write(first)
    begun = False
    for rows in batches:
        text = bytearray()
        for row in rows:
            if begun:
                text += between
            text += _dumped(dict(zip(names, row, strict=True)))
            if lines:
                text += b"\n"
            begun = True
        file.write(text)
        yield len(rows)
    file.write(b"" if lines else b"]\n")


def unlike(names: Sequence[str], alike: Callable[[str], str] = str) -> None:
    """Raises Unprocessable where two columns have one name, in a format whose readers go by names."""
    seen: set[str] = set()
    for name in names:
        if alike(name) in seen:
            raise Unprocessable(
                f"two columns are called {name!r}, which this format cannot tell apart.",
                fix="Name each column with AS, or export csv, xlsx or arrow.",
            )
        seen.add(alike(name))


def nested(value: Any) -> Any:
    """A value for a cell: lists and objects as JSON text, all others as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, list | dict) else value


def _line(cells: Iterable[str]) -> bytes:
    try:
        return (",".join(cells) + "\r\n").encode()
    except UnicodeEncodeError:
        raise Unprocessable("a text holds half a character, which CSV cannot.", fix="Export json.") from None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else str(nested(value))
    if text and not _QUOTED.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _guard(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_ACTIVE) else value


def _dumped(row: dict[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # half a character has an escape, but no UTF-8
        return json.dumps(row, separators=(",", ":"), allow_nan=False).encode()
