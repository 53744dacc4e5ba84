"""The headings of a markdown text: ATX and setext ones, none in front matter, code fences or comments."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lakehouse.engine.chunks.places import LONGEST_NAME, Lines, named

_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t]|\r?$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\r?$")
_RULE = re.compile(r" {0,3}(?:[-*_][ \t]*){3,}\r?$")
# A line that begins something else than a paragraph.
_OTHER = re.compile(r"[ \t]*\r?$| {4}|\t|[ ]{0,3}(?:>|[-+*](?:[ \t]|\r?$)|\d{1,9}[.)](?:[ \t]|\r?$)|\||<)")
_CLOSED_BY = {"<!--": "-->", "<pre": "</pre>", "<script": "</script>", "<style": "</style>"}
# Lines are told from headings by their beginnings; one longer than this is not a heading.
_LONGEST = 2000


@dataclass(frozen=True)
class Heading:
    """Where the section of a heading begins, and what it is called."""

    start: int
    level: int
    title: str


def headings(lines: Lines) -> Iterator[Heading]:
    """The headings in order."""
    text, starts = lines.text, lines.starts
    number = _behind_front_matter(lines)
    until: str | None = None  # what ends the fence or the comment that this line is in
    paragraph = -1  # the line on which the paragraph began that this line may underline
    while number < len(starts):
        start = starts[number]
        end = starts[number + 1] - 1 if number + 1 < len(starts) else len(text)
        line = text[start : min(end, start + _LONGEST)]
        if until is not None:
            until = None if _ends(line if end - start < _LONGEST else text[start:end], until) else until
            paragraph = -1
        elif (fence := _FENCE.match(line)) and not (fence[1][0] == "`" and "`" in line[fence.end() :]):
            until, paragraph = fence[1], -1
        elif opened := next((mark for mark in _CLOSED_BY if line.lstrip().lower().startswith(mark)), None):
            until, paragraph = _CLOSED_BY[opened], -1
            until = None if until in text[start:end].lower() else until
        elif end - start < _LONGEST and (atx := _ATX.match(line)):
            yield Heading(start, len(atx[1]), named(_unclosed(line[atx.end() :])))
            paragraph = -1
        elif paragraph >= 0 and (under := _UNDERLINE.match(line)):
            # A long paragraph with a line below it is one; its last line is the title.
            at = starts[paragraph] if start - starts[paragraph] <= LONGEST_NAME else starts[number - 1]
            yield Heading(at, 1 if under[1][0] == "=" else 2, named(text[at : min(start, at + _LONGEST)]))
            paragraph = -1
        elif _OTHER.match(line) or (paragraph < 0 and _RULE.match(line)):
            # What follows a list item or a quotation goes on with it.
            paragraph = -1 if not line.strip() else paragraph if paragraph >= 0 and line[:4].isspace() else -2
        elif paragraph == -1:
            paragraph = number
        number += 1


def _behind_front_matter(lines: Lines) -> int:
    """The index of the first line behind `---` … `---` at the beginning, 0 without one."""
    text, starts = lines.text, lines.starts
    if text[: starts[1] if len(starts) > 1 else len(text)].rstrip() not in ("---", "+++"):
        return 0
    mark = text[:3]
    for number in range(1, len(starts)):
        line = text[starts[number] : starts[number] + 5].split("\n")[0].rstrip()
        if line == mark or (line == "..." and mark == "---"):
            return number + 1
    return 0


def _ends(line: str, until: str) -> bool:
    """Whether a line is the end of a fence, at least as long as its beginning, or has the end of a comment."""
    if until[0] not in "`~":
        return until in line.lower()
    fence = _FENCE.match(line)
    return fence is not None and fence[1].startswith(until) and not line[fence.end() :].strip()


def _unclosed(title: str) -> str:
    """A title without the `##` behind it."""
    title = title.strip()
    bare = title.rstrip("#")
    return bare if not bare or bare[-1] in " \t" else title
