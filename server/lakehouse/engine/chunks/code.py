"""Code by symbol: each function, method and type is a piece, with its comments and decorators."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lakehouse.engine.chunks.piece import Piece
from lakehouse.engine.chunks.places import Lines, Names, named
from lakehouse.engine.chunks.plain import plain
from lakehouse.engine.symbols import Declaration, declarations, language_of, parse

# What is shorter than this part of a piece, between symbols, goes with a neighbour; a constant stays with its own.
_TINY = 16
_SHORT = 8
# What the line of the class above a method may take of a piece.
_CONTEXT = 4
_LARGEST = 2 * 2**20
_LISTED = 50
_SMALL = {"constant", "variable", "type"}
# Kept whole when they fit: what they hold are signatures.
_WHOLE = {"interface", "trait"}


@dataclass
class _Part:
    """A part of the source that becomes a piece, or several. `of` is the symbol, None for what is between."""

    start: int
    end: int
    above: str
    depth: int
    of: Declaration | None = None
    holds: list[Declaration] = field(default_factory=list)


def code(text: str, path: str, max_chars: int, overlap: int) -> list[Piece]:
    """The symbols in order, called by their qualified names, and what stands between them.

    Of a class there is one piece for its beginning up to the first method, and one for each method, below the line
    that begins the class. Text in no known language, that no grammar makes sense of, and of over 2 MiB, which nobody
    wrote by hand, is cut as plain.
    """
    language = language_of(text, path) if len(text) <= _LARGEST else None
    if language is None:
        return plain(text, path, max_chars, overlap)
    data = text.encode("utf-8", "replace")
    text = data.decode("utf-8")
    tree = parse(data, language)
    if tree is None:
        return plain(text, path, max_chars, overlap)
    found = [one for one in declarations(tree, language) if one.kind != "torn"]
    parts = _merged(_parts(data, found, max_chars), data, max_chars)
    lines, names, at = Lines(text), Names(), _Characters(data)
    pieces: list[Piece] = []
    behind = ""
    for part in parts:
        start, end = at.of(part.start), at.of(part.end)
        key, fields = _called(part, behind)
        key = names.take(key)
        behind = key if part.of is not None else behind
        later = part.above
        if part.of is not None and end - start > max_chars - len(later):
            later += _first_line(data, part.of, max_chars)
        for place, span in enumerate(lines.windows(start, end, max_chars - len(later), overlap)):
            pieces.append(
                Piece(
                    (later if place else part.above) + text[slice(*span)],
                    names.take(f"{key}:{place + 1}") if place else key,
                    {**fields, "language": language, **lines.fields(*span)},
                )
            )
    return pieces


def _called(part: _Part, behind: str) -> tuple[str, dict[str, Any]]:
    """A part's key and what the metadata says of its symbol; between symbols, the constants and types there."""
    one = part.of
    if one is None:
        small = [named(each.qualified) for each in part.holds[:_LISTED]]
        key = "" if not part.start else small[0] if small else f"after {behind}"
        return key, {"symbols": small} if small else {}
    symbol = named(one.qualified)
    fields = {"symbol": symbol, "symbol_kind": one.kind, "parent": named(one.parent)}
    return f"impl {symbol}" if one.kind == "impl" else symbol, {name: value for name, value in fields.items() if value}


def _parts(data: bytes, found: list[Declaration], max_chars: int) -> Iterator[_Part]:
    """The source from its first to its last byte, cut where symbols begin and end."""
    place = 0
    open_: list[tuple[Declaration, str]] = []  # the containers around this place, each with its line
    small: list[Declaration] = []
    begun = False  # the innermost container's own part is still to come

    def until(end: int) -> Iterator[_Part]:
        nonlocal place, small, begun
        if place < end:
            own = open_[-1][0] if open_ else None
            first, begun = begun, False
            above = "".join(line for _, line in (open_[:-1] if first else open_))
            above = above[-max_chars // _CONTEXT :]
            yield _Part(place, end, above, len(open_), own if first else None, small)
            place, small = end, []

    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        while open_ and one.start >= open_[-1][0].end:
            yield from until(open_[-1][0].end)
            open_.pop()
        if one.start < place:
            continue  # it is in a part already
        if one.kind in _SMALL and one.end - one.start < max_chars // _SHORT:
            small.append(one)
            continue
        yield from until(max(_indented(data, one.start), place))
        if one.inside is not None and not (one.kind in _WHOLE and one.end - one.start <= max_chars):
            open_.append((one, _first_line(data, one, max_chars)))
            begun = True
            continue
        above = "".join(line for _, line in open_)[-max_chars // _CONTEXT :]
        yield _Part(place, one.end, above, len(open_), one)
        place = one.end
    while open_:
        yield from until(open_[-1][0].end)
        open_.pop()
    yield from until(len(data))


def _indented(data: bytes, place: int) -> int:
    """The beginning of the line, when there is only white space before this place."""
    while place and data[place - 1] in b" \t":
        place -= 1
    return place


def _first_line(data: bytes, one: Declaration, max_chars: int) -> str:
    """How a symbol begins, on one line: `class Store(Base):`, `impl<T> Store<T> {`."""
    end = one.inside[0] + 1 if one.inside is not None else one.end
    first = data[one.head : min(end, one.head + max_chars)].decode("utf-8", "replace").strip()
    first = first.split("\n", 1)[0] if one.inside is None else first if first.endswith("{") else first[:-1]
    line = named(first)[: max_chars // (2 * _CONTEXT)]
    return f"{line}\n" if line else ""


def _merged(parts: Iterator[_Part], data: bytes, max_chars: int) -> list[_Part]:
    """The parts without those of a few characters: a closing bracket goes with what it closes, `package` with what
    follows, the bare first line of an `impl` with its first method."""
    merged: list[_Part] = []
    waiting: _Part | None = None
    for part in parts:
        size = len(data[part.start : part.end].strip())
        if waiting is not None:
            bare = waiting.of is not None
            part = _Part(waiting.start, part.end, "" if bare else part.above, part.depth, part.of, part.holds)
            waiting = None
        if part.of is None and size < max_chars // _TINY and not (part.holds and size):
            before = merged[-1] if merged and merged[-1].depth == part.depth else None
            if before and (not size or part.end - before.start <= max_chars - len(before.above)):
                before.end = part.end
                continue
            if not merged and size:
                waiting = part
                continue
        elif part.of is not None and part.of.kind in ("impl", "module") and part.of.inside is not None:
            if size < max_chars // _TINY and part.end < part.of.end:
                waiting = part
                continue
        merged.append(part)
    return [*merged, waiting] if waiting is not None else merged


class _Characters:
    """Where a byte of the source is among its characters; asked for in rising order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._byte = self._character = 0

    def of(self, byte: int) -> int:
        if byte < self._byte:
            self._byte = self._character = 0
        self._character += len(self._data[self._byte : byte].decode("utf-8"))
        self._byte = byte
        return self._character
