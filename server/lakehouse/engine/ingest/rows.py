"""The rows of a text source as they stand in the file, sound or not: the line each begins on, its bytes, its fault."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lakehouse.engine.ingest.plain import Limits
from lakehouse.engine.ingest.records import Number, records, value_of
from lakehouse.errors import InvalidInput, LakehouseError

Cells = list[str]
_REREAD = 64  # lines of the longest that may be read again after an open quote, before the file is given up


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row: in which column, with which value."""

    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class Row:
    """A row: its first line, its bytes without the line end, and its cells by column, or its fault."""

    line: int
    raw: bytes
    values: Any = None
    fault: Fault | None = None


def delimited(path: Path, delimiter: str, names: tuple[str, ...], limits: Limits) -> Iterator[Row]:
    """The rows of a plain delimited file after its header, blank lines aside; `values` are the cells, a list of text.

    After a quote that is never closed, or is closed within a cell, reading goes on at the next line.
    """
    with path.open("rb") as file:
        lines = _Lines(file, limits.max_cell)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        next(reader)  # the header, which was judged before
        while True:
            lines.taken.clear()
            cells, reason = None, ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                reason = "a quote is not closed, or text follows the closing quote"
            except _TooLong:
                reason = "too long"
            taken = lines.taken[:]
            if cells is None and len(taken) > 1:
                lines.put_back(taken[1:])
                taken = taken[:1]
            if cells == []:
                continue
            yield _row(taken, cells, reason, names)


def _row(taken: list[tuple[int, bytes, bool]], cells: Cells | None, reason: str, names: tuple[str, ...]) -> Row:
    line, raw = taken[0][0], b"".join(part for _, part, _ in taken).rstrip(b"\r\n")
    if any(bad for _, _, bad in taken):
        return Row(line, raw, None, Fault(None, _text(raw), "the bytes are not UTF-8"))
    if cells is None:
        return Row(line, raw, None, Fault(None, _text(raw), reason))
    if len(cells) != len(names):
        short = len(cells) < len(names)
        column, value = (names[len(cells)], "") if short else (None, cells[len(names)])
        return Row(line, raw, None, Fault(column, value, f"the row has {len(cells)} cells, the header {len(names)}"))
    return Row(line, raw, cells)


class _TooLong(Exception):
    """A row is longer than one may be."""


class _Lines:
    """The lines of a file for a CSV reader; `taken` are those it took since it was last cleared."""

    def __init__(self, file: IO[bytes], longest: int) -> None:
        self.taken: list[tuple[int, bytes, bool]] = []
        self._file, self._longest = file, longest
        self._again: list[tuple[int, bytes, bool]] = []
        self._number = self._size = self._reread = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        number, raw, bad = self._again.pop() if self._again else self._read()
        self.taken.append((number, raw, bad))
        self._size = len(raw) if len(self.taken) == 1 else self._size + len(raw)
        if self._size > self._longest:
            raise _TooLong
        # The reader takes a lone carriage return for a line end of its own.
        text = raw.decode("utf-8", "replace") if bad else raw.decode()
        return text.replace("\r\n", "\n") if text.endswith("\r\n") else text

    def put_back(self, lines: list[tuple[int, bytes, bool]]) -> None:
        """Have lines read again."""
        self._reread += sum(len(raw) for _, raw, _ in lines)
        if self._reread > _REREAD * self._longest:
            raise InvalidInput(
                "the rows cannot be told apart: quotes and line ends do not match up.",
                fix="Export it again with every cell that holds a quote, a delimiter or a line end in quotes.",
            )
        self._again += reversed(lines)

    def _read(self) -> tuple[int, bytes, bool]:
        raw = self._file.readline(self._longest + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        if len(raw) > self._longest:
            while (more := self._file.readline(self._longest)) and not more.endswith(b"\n"):
                pass
        if self._number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            raw.decode()
        except UnicodeDecodeError:
            return self._number, raw, True
        return self._number, raw, False


def objects(path: Path, limits: Limits, lines: bool) -> Iterator[Row]:
    """The rows of a plain JSON file; `values` are an object's. Where each line is one, bad ones are rows with a fault.

    Raises InvalidInput for an array that is not JSON: where its next row begins cannot be known.
    """
    if not lines:
        for record in records(path, limits, exact=True):
            yield _checked(Row(record.line, _written(record.values, record.line), record.values))
        return
    with path.open("rb") as file:
        for number, raw in _json_lines(file, limits.max_cell):
            if not raw.strip():
                continue
            if len(raw) > limits.max_cell:
                yield Row(number, raw, None, Fault(None, _text(raw), "too long"))
                continue
            yield _parsed(number, raw.rstrip(b"\r\n"))


def _json_lines(file: IO[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := file.readline(longest + 1):
        number += 1
        if len(raw) > longest:
            while (more := file.readline(longest)) and not more.endswith(b"\n"):
                pass
        yield number, raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw


def _parsed(number: int, raw: bytes) -> Row:
    try:
        return _checked(Row(number, raw, value_of(number, raw)))
    except LakehouseError as error:
        return Row(number, raw, None, Fault(None, _text(raw), error.detail.partition(": ")[2].rstrip(".")))


def _checked(row: Row) -> Row:
    for name, value in row.values.items():
        try:
            f"{name}{value if isinstance(value, str) else ''}".encode()
        except UnicodeEncodeError:
            raw = row.raw.decode("utf-8", "replace").encode()
            return Row(row.line, raw, None, Fault(None, _text(raw), "half of a character"))
    return row


def _written(values: dict[str, Any], line: int) -> bytes:
    """An object as one line of JSON; numbers stay as they were written."""
    try:
        parts = [
            f"{json.dumps(name)}:{value.text if isinstance(value, Number) else json.dumps(value)}"
            for name, value in values.items()
        ]
    except TypeError:
        raise InvalidInput(
            f"line {line}: a number inside a list or object is too large.", fix="Write it as a string."
        ) from None
    return f"{{{','.join(parts)}}}".encode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
