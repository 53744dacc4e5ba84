"""Markdown by heading: a section is a piece, a long one several, a tiny one goes with the next."""

from collections.abc import Iterator
from dataclasses import dataclass

from lakehouse.engine.chunks.headings import headings
from lakehouse.engine.chunks.piece import Piece
from lakehouse.engine.chunks.places import Lines, Names, named

# A section shorter than this part of a piece is joined with the next one of the same parent, or its own first.
_TINY = 8
_HEADING = 4000  # characters a heading may have
# What the headings above a piece may take of it.
_CONTEXT = 4
JOINT = " > "


@dataclass(frozen=True)
class _Section:
    """From a heading to the next; `path` has the headings above it and its own."""

    path: tuple[str, ...]
    level: int
    start: int
    end: int
    bare: bool = False  # nothing stands below its heading

    @property
    def size(self) -> int:
        return self.end - self.start


def markdown(text: str, path: str, max_chars: int, overlap: int) -> list[Piece]:
    """The sections in order, called by their headings.

    A piece's text is the source's. Where it does not itself begin with all the headings it stands under, those
    stand on a line above it (`Guide > Install`): a section on "Options" says little without them.
    """
    lines, names = Lines(text), Names()
    pieces: list[Piece] = []
    for joined in _joined(_sections(lines), max_chars):
        label = max(joined, key=lambda section: section.size)
        above, whole = _context(joined[0].path[:-1], max_chars), _context(label.path, max_chars)
        limit = max_chars - max(len(above), len(whole))
        key = names.take("/".join(label.path))
        fields = {"heading": JOINT.join(label.path)} if label.path else {}
        cuts = lines.windows(joined[0].start, joined[-1].end, limit, overlap)
        for place, (start, end) in enumerate(cuts):
            pieces.append(
                Piece(
                    (whole if place else above) + text[start:end],
                    names.take(f"{key}:{place + 1}") if place else key,
                    {**fields, "level": label.level, **lines.fields(start, end)},
                )
            )
    return pieces


def _sections(lines: Lines) -> Iterator[_Section]:
    found = list(headings(lines))
    ends = [*(heading.start for heading in found[1:]), len(lines.text)]
    if lines.text[: found[0].start if found else len(lines.text)].strip():
        yield _Section((), 0, 0, found[0].start if found else len(lines.text))
    above: list[tuple[int, str]] = []
    for heading, end in zip(found, ends, strict=True) if found else ():
        while above and above[-1][0] >= heading.level:
            above.pop()
        bare = "\n" not in lines.text[heading.start : min(end, heading.start + _HEADING)].strip()
        above.append((heading.level, heading.title))
        yield _Section(tuple(title for _, title in above), heading.level, heading.start, end, bare)


def _joined(sections: Iterator[_Section], max_chars: int) -> Iterator[list[_Section]]:
    """Sections that make one piece."""
    waiting: list[_Section] = []
    size = 0
    for section in sections:
        fits = size + section.size <= max_chars - len(_context(section.path, max_chars))
        parent = section.path[:-1]
        if waiting and not (
            (waiting[-1].bare and parent == waiting[-1].path)
            or (size < max_chars // _TINY and fits and parent in _open(waiting))
        ):
            yield waiting
            waiting, size = [], 0
        waiting.append(section)
        size += section.size
    if waiting:
        yield waiting


def _open(waiting: list[_Section]) -> set[tuple[str, ...]]:
    """The parents whose next section may join those that wait: of the first, of the last, and the last itself."""
    return {waiting[0].path[:-1], waiting[-1].path[:-1], waiting[-1].path}


def _context(path: tuple[str, ...], max_chars: int) -> str:
    """The line above a piece; of a long one the last part, which says most."""
    line = named(JOINT.join(path))[-max_chars // _CONTEXT + 1 :].lstrip() if path else ""
    return f"{line}\n" if line else ""
