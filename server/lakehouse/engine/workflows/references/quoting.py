"""Values as words of a bash script: what bash receives is byte for byte the value, whatever stands in it."""

import re
from collections.abc import Callable
from typing import Any

from lakehouse.engine.workflows.references.output import plain
from lakehouse.errors import Unprocessable

Spill = Callable[[str], str]

MAX_INLINE = 32 * 1024  # bytes of one value within the script; longer ones are read from a file
MAX_SOURCE = 96 * 1024  # bytes of all of them: Linux takes no argument of 128 KiB
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


class Quoting:
    """Values for one script. `spill` writes a text to a file and gives its path; without it all stay inline."""

    def __init__(self, spill: Spill | None) -> None:
        self._spill = spill
        self._bytes = 0

    def word(self, value: Any, told: str) -> str:
        """A value as one word; numbers and booleans as they are. Raises Unprocessable where it holds a NUL byte."""
        text = plain(value)
        if isinstance(value, bool | int | float):
            return text
        if "\0" in text:
            raise Unprocessable(
                f"{told}: it holds a NUL byte, which no process can be given.", fix="Take it out: tr -d '\\0'."
            )
        size = len(text.encode())
        if self._spill is not None and (size > MAX_INLINE or self._bytes + size > MAX_SOURCE):
            # `$(…)` drops the newlines at the end: those stay here. The quotes keep it one word.
            body = text.rstrip("\n")
            return f'"$(cat {quoted(self._spill(body))})"' + (quoted(text[len(body) :]) if body != text else "")
        self._bytes += size
        return quoted(text)


def quoted(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def needs_no_quotes(text: str) -> bool:
    """Whether a text means itself wherever it stands in a script."""
    return _PLAIN.fullmatch(text) is not None
