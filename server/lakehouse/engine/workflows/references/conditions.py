"""`when:`: comparisons joined by `&&` and `||`, read and decided."""

import re
from collections.abc import Callable
from typing import NamedTuple

from lakehouse.engine.workflows.references.templates import Reference

MAX_TOLD = 120
NEVER = "false"  # what is left of a condition of which no alternative could hold
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ATOM = re.compile(
    r"\$(?:INPUTS\.(?P<input>[A-Za-z_][\w-]*)"
    r"|LOOP_PREV\.(?P<previous>[A-Za-z_][\w-]*)\.output(?:\.(?P<before>[A-Za-z_]\w*))?"
    r"|(?P<node>[A-Za-z_][\w-]*)\.(?P<first>[A-Za-z_]\w*)(?:\.(?P<second>[A-Za-z_]\w*))?)"
    r"\s*(?P<operator>==|!=|<=|>=|<|>)\s*"
    r"(?:'(?P<quoted>[^']*)'|(?P<bare>-?\d+(?:\.\d+)?|true|false))",
    re.ASCII,
)


class Malformed(ValueError):
    """A text that is no condition."""


class Held(NamedTuple):
    """Whether a condition holds; if not, the `reason` of the skip, and what was wrong with it as a `warning`."""

    held: bool
    reason: str = ""
    warning: str = ""

    def __bool__(self) -> bool:
        return self.held


class Atom(NamedTuple):
    """One comparison: what a reference stands for, against a literal."""

    reference: Reference
    operator: str
    literal: str

    def holds(self, actual: str) -> bool:
        """Whether it holds of this text. Raises Malformed for an ordering of what are no numbers."""
        if self.operator == "==":
            return actual == self.literal
        if self.operator == "!=":
            return actual != self.literal
        left, right = _number(actual), _number(self.literal)
        if self.operator == "<":
            return left < right
        if self.operator == ">":
            return left > right
        return left <= right if self.operator == "<=" else left >= right


def parsed(condition: str) -> list[list[Atom]]:
    """The alternatives of a condition, each a list of what must hold together. Raises Malformed."""
    if condition.strip() == NEVER:
        return []
    return [[_atom(part) for part in _split(clause, "&&")] for clause in _split(condition, "||")]


def decided(condition: str, text_of: Callable[[Reference], str]) -> Held:
    """Whether a condition holds; no more of it is looked up than is needed.

    Malformed conditions and orderings of what are no numbers do not hold. Raises what `text_of` raises.
    """
    try:
        held = any(all(atom.holds(text_of(atom.reference)) for atom in clause) for clause in parsed(condition))
    except Malformed as error:
        return Held(False, "when_condition_parse_error", str(error))
    return Held(held, "" if held else "when_condition")


def _atom(text: str) -> Atom:
    match = _ATOM.fullmatch(text)
    if match is None or match["node"] == "INPUTS":
        raise Malformed(f"{text[:MAX_TOLD]!r} is no comparison such as $node.output.field == 'text'.")
    literal = match["quoted"] if match["quoted"] is not None else match["bare"]
    if match["input"] is not None:
        return Atom(Reference("input", match["input"]), match["operator"], literal)
    if match["previous"] is not None:
        path = (match["before"],) if match["before"] else ()
        return Atom(Reference("previous", match["previous"], path), match["operator"], literal)
    first, second = match["first"], match["second"]
    if first != "output" and second is not None:
        raise Malformed(f"{text[:MAX_TOLD]!r} asks for a field of a field; write $node.output.field.")
    field = second if first == "output" else first
    return Atom(Reference("output", match["node"], (field,) if field else ()), match["operator"], literal)


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of quotes."""
    parts, start, place, quoted = [], 0, 0, False
    while place < len(text):
        if text[place] == "'":
            quoted = not quoted
        elif not quoted and text.startswith(separator, place):
            parts.append(text[start:place].strip())
            place += len(separator)
            start = place
            continue
        place += 1
    return [*parts, text[start:].strip()]


def _number(text: str) -> float:
    stripped = text.strip()
    value = float(stripped) if len(stripped) < 400 and _NUMBER.fullmatch(stripped) else float("inf")
    if abs(value) == float("inf"):
        raise Malformed(f"{text[:MAX_TOLD]!r} is not a finite number.")
    return value
