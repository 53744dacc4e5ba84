"""Places in a text: which line a character is on, which names are taken, where a long part is cut."""

import re
from bisect import bisect_right

from lakehouse.engine.chunks.windows import spans

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\u2028\u2029]+")
LONGEST_NAME = 200


class Lines:
    """The lines of a text; only LF ends one, so that every editor counts the same."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def number(self, place: int) -> int:
        """The line a character is on, from 1."""
        return bisect_right(self.starts, place)

    def fields(self, start: int, end: int) -> dict[str, int]:
        """What the metadata says of a part of the text that is not empty."""
        return {"line_start": self.number(start), "line_end": self.number(end - 1)}

    def windows(self, start: int, end: int, limit: int, overlap: int) -> list[tuple[int, int]]:
        """A part of the text as parts of at most `limit` characters; none when it is blank.

        White space around them is left out, but for the indentation of the first line.
        """
        found = [(start + one, start + two) for one, two in spans(self.text[start:end], limit, overlap)]
        return [(max(self._indented(one, start), two - limit), two) for one, two in found]

    def _indented(self, place: int, first: int) -> int:
        first = max(first, place - LONGEST_NAME)
        line = self.text.rfind("\n", first, place) + 1 or first
        return line if line < place and self.text[line:place].isspace() else place


class Names:
    """Keys given so far; the second of a name is `name~2`."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, key: str) -> str:
        """The key, or what tells it from those of that name before."""
        wanted = key
        while wanted in self._taken:
            self._taken[key] += 1
            wanted = f"{key}~{self._taken[key]}"
        self._taken[wanted] = 1
        return wanted


def named(text: str) -> str:
    """A heading or symbol fit to be shown: one line, of at most LONGEST_NAME characters."""
    return _UNPRINTABLE.sub(" ", text[: 4 * LONGEST_NAME]).strip()[:LONGEST_NAME].rstrip()
