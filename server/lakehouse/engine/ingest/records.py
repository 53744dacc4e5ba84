"""The objects of a JSON file, one at a time: JSON Lines, an array of objects, or objects one after the other."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lakehouse.engine.ingest.plain import CHUNK, Limits, bad_utf8, not_utf8
from lakehouse.errors import InvalidInput, TooLarge

_ESCAPE = 16  # characters; longer than any token that can be cut in two, but a string
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Number:
    """A number that neither a 64-bit integer nor a double can hold, as it was written."""

    text: str


def _integer(text: str) -> int | Number:
    return int(text) if len(text) < 4000 else Number(text)  # int() of more digits is refused or takes minutes


def _double(text: str) -> float | Number:
    value = float(text)
    return value if value - value == 0 else Number(text)


class _NotJson(Exception):
    """A word that Python reads and JSON does not have."""


def _no_constant(text: str) -> None:
    raise _NotJson(text)


_FAST = json.JSONDecoder(parse_constant=_no_constant)
_EXACT = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer, parse_float=_double)


@dataclass(frozen=True)
class Record:
    """One object: the line it starts on, how long it is, and what it holds."""

    line: int
    size: int
    values: dict[str, Any]


def records(path: Path, limits: Limits, *, exact: bool = False) -> Iterator[Record]:
    """The file's objects in order. With `exact`, numbers too large for a double come as `Number`, not as infinity.

    Raises InvalidInput naming the line of what is not JSON, not UTF-8 or not an object, TooLarge for an over-long one.
    """
    decoder = _EXACT if exact else _FAST
    with path.open("rb") as file:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        start = file.tell()
        first = file.readline(limits.max_cell)
        file.seek(start)
        if _is_object(first):
            yield from _lines(file, limits, decoder)
        else:
            yield from _stream(file, path, limits, decoder)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False  # which of them it is, the reading says


def _lines(file: IO[bytes], limits: Limits, decoder: json.JSONDecoder) -> Iterator[Record]:
    number = 0
    while raw := file.readline(limits.max_cell + 1):
        number += 1
        if len(raw) > limits.max_cell:
            raise _too_long(number, limits)
        if raw.isspace():
            continue
        yield Record(number, len(raw), value_of(number, raw, decoder))


def value_of(number: int, raw: bytes, decoder: json.JSONDecoder = _EXACT) -> dict[str, Any]:
    """The object that is a line of a file. Raises InvalidInput, naming the line, when it is none."""
    try:
        return _object(_read(decoder.decode, _EXACT.decode, number, raw.decode("utf-8").strip()), number)
    except UnicodeDecodeError as error:
        raise not_utf8(number, raw[error.start : error.end]) from None
    except json.JSONDecodeError as error:
        raise _bad(number, error.msg) from None


def _stream(file: IO[bytes], path: Path, limits: Limits, decoder: json.JSONDecoder) -> Iterator[Record]:
    text = _Text(file, path)
    in_array = text.peek() == "["
    text.at += in_array
    comma_due = False
    while mark := text.peek():
        if in_array and mark == "]" and (comma_due or text.count == 0):
            text.at += 1
            if text.peek():
                raise _bad(text.line, "there is something after the end of the array")
            return
        if in_array and comma_due:
            if mark != ",":
                raise _bad(text.line, "a comma or the end of the array was expected")
            text.at += 1
            comma_due = False
            continue
        if mark != "{":
            raise _not_object(text.line)
        yield text.take(decoder, limits)
        comma_due = True
    if in_array:
        raise _bad(text.line, "the array is not closed")


class _Text:
    """A window on the file's text: `at` is the next character in `buffer`, `line` its line, `count` objects taken."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.buffer, self.at, self.line, self.count = "", 0, 1, 0
        self._file, self._path = file, path
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._ended = False

    def peek(self) -> str:
        """The next character that is not space, or nothing at the end."""
        while True:
            match = _SPACE.match(self.buffer, self.at)
            assert match
            self._pass(match.end())
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._fill():
                return ""

    def take(self, decoder: json.JSONDecoder, limits: Limits) -> Record:
        """The object that starts here."""
        while True:
            try:
                value, end = _read(decoder.raw_decode, _EXACT.raw_decode, self.line, self.buffer, self.at)
            except json.JSONDecodeError as error:
                # Cut off by the end of the window? Then read it again in a window twice as large.
                if error.pos > len(self.buffer) - _ESCAPE or error.msg.startswith("Unterminated"):
                    if len(self.buffer) - self.at > limits.max_cell:
                        raise _too_long(self.line, limits) from None
                    if self._fill():
                        continue
                where = self.line + self.buffer.count("\n", self.at, max(self.at, error.pos))
                raise _bad(where, error.msg) from None
            if end - self.at > limits.max_cell:
                raise _too_long(self.line, limits)
            record = Record(self.line, end - self.at, value)
            self._pass(end)
            self.count += 1
            return record

    def _pass(self, end: int) -> None:
        self.line += self.buffer.count("\n", self.at, end)
        self.at = end

    def _fill(self) -> bool:
        if self._ended:
            return False
        self.buffer, self.at = self.buffer[self.at :], 0
        block = self._file.read(max(CHUNK, len(self.buffer)))
        self._ended = not block
        try:
            self.buffer += self._decode(block, final=self._ended)
        except UnicodeDecodeError:
            raise bad_utf8(self._path) or not_utf8(self.line, block[:4]) from None
        return not self._ended


def _read(fast: Callable[..., Any], exact: Callable[..., Any], line: int, *args: Any) -> Any:
    try:
        try:
            return fast(*args)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than Python converts
            return exact(*args)
    except _NotJson as error:
        raise _bad(line, f"it has no {error}") from None
    except RecursionError:
        raise InvalidInput(f"line {line}: the JSON is nested too deeply.", fix="Flatten it.") from None


def _object(value: Any, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _not_object(line)
    return value


def _not_object(line: int) -> InvalidInput:
    return InvalidInput(
        f"line {line}: an object was expected.", fix='Write rows as {"column": value}, in an array or one a line.'
    )


def _bad(line: int, reason: str) -> InvalidInput:
    return InvalidInput(f"line {line}: this is not JSON: {reason}.", fix="Mend the line.", data={"line": line})


def _too_long(line: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"line {line}: an object is over {limits.max_cell} bytes, or does not end.", fix="Raise ingest.max_cell_bytes."
    )
