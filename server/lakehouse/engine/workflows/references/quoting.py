"""Outputs as parts of a bash script: bash never expands, computes or runs what stands in one.

A text of letters, digits and `@%+=:,./-` means itself wherever it stands, and is put there as Archon puts it: in
single quotes. Any other text goes into the environment, and an expansion of that variable is put in its place, with
quotes around it that make the same of it: a word stays one word; in double quotes and here-documents the single
quotes of Archon are part of the text, as there. What bash makes of the variable is never read as bash again, so that
a place that is not read rightly costs a quote at most. Within single quotes it is one word, too, which Archon splits.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from lakehouse.engine.workflows.references.output import plain
from lakehouse.engine.workflows.references.places import read
from lakehouse.engine.workflows.references.standing import HereDocument, Place
from lakehouse.engine.workflows.references.sums import BEGINS
from lakehouse.engine.workflows.references.templates import CALLERS, Reference
from lakehouse.errors import Unprocessable

Spill = Callable[[str], str]

MAX_INLINE = 32 * 1024  # bytes of one value in a variable; longer ones are read from a file
MAX_VARIABLES = 96 * 1024  # bytes of all of them, quotes included
PREFIX = "LAKEHOUSE_OUTPUT_"
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
_NUMBER = re.compile(r"\s*(?:[+-]?[0-9][0-9A-Fa-fxX#.]*)?\s*", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
# Commands whose arguments are read as a script once more.
_SHELLS = re.compile(
    rf"(?:{BEGINS}(?:eval|trap|ssh|xargs|watch|parallel)"
    r"|(?:^|[\s;&|(!/])(?:(?:ba|z|da|k|a)?sh(?:\s+-\w+)*\s+-\w*c|su\s.*-c))\s",
    re.DOTALL,
)


# What runs as a part of a sum: a substitution in the [ ] of a variable, or a variable that others have a say in.
_RUNS = re.compile(r"\[.*[$`]|\b(?:INPUTS_\w+|LAKEHOUSE_\w+|" + "|".join(CALLERS) + r")\b", re.DOTALL)


class Script(NamedTuple):
    """A script that can be run, and the variables that it needs."""

    text: str
    variables: dict[str, str]


class Quoting:
    """Outputs for one script. `spill` writes a text to a file and gives its path; without it all are variables."""

    def __init__(self, spill: Spill | None) -> None:
        self._spill = spill
        self._names: dict[str, str] = {}

    def script(self, template: str, found: Sequence[Reference], values: Sequence[Any]) -> Script:
        """The script with these values in the place of these references. Raises Unprocessable for a NUL byte.

        A value of `Left` leaves its reference as it is, one of `Put` is put there as it is.
        """
        reading = read(template, found)
        rewritten = {
            place.heredoc
            for place, value in zip(reading.places, values, strict=True)
            if place.heredoc is not None and not isinstance(value, Left | Put) and not _means_itself(value)
        }
        edits: list[tuple[int, int, str]] = []
        for reference, place, value in zip(found, reading.places, values, strict=True):
            if isinstance(value, Put):
                edits.append((reference.start, reference.end, value.text))
            elif isinstance(value, Left):
                if place.heredoc in rewritten:
                    edits.append((reference.start, reference.start, "\\"))
            else:
                edits.append((reference.start, reference.end, self._put(value, place, reference)))
        taken = {place for one in found for place in range(one.start, one.end)}
        for number in rewritten:
            edits += _expanding(template, reading.heredocs[number or 0], taken)
        return Script(_joined(template, sorted(edits)), {name: text for text, name in self._names.items()})

    def _put(self, value: Any, place: Place, reference: Reference) -> str:
        text = plain(value)
        if isinstance(value, bool | int | float):
            return text
        if "\0" in text:
            raise Unprocessable(
                f"{reference}: it holds a NUL byte, which no process can be given.", fix="Take it out: tr -d '\\0'."
            )
        own, itself = quoted(text), _means_itself(text)
        if place.taken == "later" and _RUNS.search(text):
            raise Unprocessable(
                f"{reference}: the script computes with it, and bash would run what it holds.",
                fix="Compare texts with ==, or give it a number.",
            )
        if place.taken not in ("text", "later") and not (
            _NUMBER.fullmatch(text) or (place.taken in ("name", "key") and itself)
        ):
            if place.taken in ("element", "key") or "$" in text or "`" in text:
                raise Unprocessable(
                    f"{reference}: bash computes what stands there, and would run what it holds.",
                    fix="Have it put out a number or a word, or compare texts with ==.",
                )
            # In quotes that stay it is no sum and no name: bash says so instead of computing it.
            return _worded(place, self._variable(own, own))
        if itself:
            return own
        if place.kind in ("double", "here", "literal"):
            told = re.sub(r"\n\t+", "\n", own) if place.tabs else own
            return ("\\" if place.escaped else "") + self._variable(text, told)
        if place.kind in ("computed", "unsure", "comment") or place.escaped:
            return self._variable(own, own)
        again = read_again(place.command) == "part"
        return _worded(place, self._variable(own if again else text, own if again else text))

    def _variable(self, text: str, told: str) -> str:
        """An expansion that is `told`, or where it is long, `text` from a file, with no quotes around it."""
        size = len(told.encode())
        used = sum(len(one.encode()) for one in self._names)
        if (
            self._spill is not None
            and told not in self._names
            and (len(text.encode()) > MAX_INLINE or used + size > MAX_VARIABLES)
        ):
            # `$(…)` drops the newlines at the end: those stay in a variable.
            body = text.rstrip("\n")
            rest = self._variable(text[len(body) :], text[len(body) :]) if body != text else ""
            return f"$(cat {quoted(self._spill(body))}){rest}"
        name = self._names.setdefault(told, f"{PREFIX}{len(self._names) + 1}")
        return f"${{{name}}}"


def commented(script: str, found: Sequence[Reference]) -> set[Reference]:
    """Those of the references that stand in comments."""
    if not found or "#" not in script:
        return set()
    return {one for one, place in zip(found, read(script, found).places, strict=True) if place.kind == "comment"}


def read_again(command: str) -> Literal["", "whole", "part"]:
    """Whether a shell reads as a script what stands behind this part of a command: as the whole of it, or a part."""
    command = command.replace("\\", "")
    shell = _SHELLS.search(command)
    if shell is None:
        return ""
    return "part" if command[shell.end() :].strip(" '\"") else "whole"


class Left:
    """A reference that is left to bash."""


class Put(NamedTuple):
    """A text that means itself in any place."""

    text: str


def quoted(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def needs_no_quotes(text: str) -> bool:
    """Whether a text means itself wherever it stands in a script."""
    return _PLAIN.fullmatch(text) is not None


def _worded(place: Place, expansion: str) -> str:
    """An expansion that stays a part of the one word in which it stands."""
    if place.kind == "word":
        return f'"{expansion}"'
    if place.kind in ("single", "ansi"):
        return f"""'"{expansion}"{"$" if place.kind == "ansi" else ""}'"""
    return expansion


def _means_itself(value: Any) -> bool:
    return isinstance(value, bool | int | float) or needs_no_quotes(plain(value))


def _joined(template: str, edits: Sequence[tuple[int, int, str]]) -> str:
    parts, place = [], 0
    for start, end, text in edits:
        parts += [template[place:start], text]
        place = end
    return "".join((*parts, template[place:]))


def _expanding(template: str, heredoc: HereDocument, taken: Collection[int]) -> Iterator[tuple[int, int, str]]:
    """The edits that let bash expand a here-document, of which its own text stays as it is."""
    if _WORD.fullmatch(heredoc.delimiter) is None:
        raise Unprocessable(
            f"the here-document of {heredoc.delimiter[:40]!r}: an output cannot be put into it.",
            fix="Name it with letters and digits: <<'END'.",
        )
    yield heredoc.start, heredoc.end, heredoc.delimiter
    for place in range(heredoc.body, heredoc.over):
        if template[place] in "\\$`" and place not in taken:
            yield place, place, "\\"
