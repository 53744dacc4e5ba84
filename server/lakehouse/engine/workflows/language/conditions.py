"""Conditions of nodes as texts: put together, and decided where only constants are left in them."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from lakehouse.engine.workflows.model import From
from lakehouse.engine.workflows.references.conditions import NEVER

MAX_CLAUSES = 64
_ATOM = re.compile(r"\s*\$INPUTS\.([A-Za-z_][A-Za-z0-9_-]*)\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*", re.DOTALL)
_INPUT = re.compile(r"\$INPUTS\.([A-Za-z_][A-Za-z0-9_-]*)")
_SOLE = re.compile(r"\$(?:INPUTS\.[A-Za-z_][A-Za-z0-9_-]*|[A-Za-z_][A-Za-z0-9_-]*\.output(?:\.[A-Za-z_]\w*)?)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def both(first: str, second: str) -> str | None:
    """The condition that holds where both do. None: it would be too long to write without parentheses."""
    if not first or not second:
        return first or second
    if NEVER in (first, second):
        return NEVER
    left, right = split(first, "||"), split(second, "||")
    if len(left) * len(right) > MAX_CLAUSES:
        return None
    return " || ".join(f"{one} && {other}" for one in left for other in right)


def filled(when: str, given: Mapping[str, Any], missing: set[str]) -> tuple[str, str]:
    """A condition with these inputs filled in, and why that cannot be written, if so.

    Comparisons of which both sides are known then are decided: "" always holds, NEVER does not.
    """
    clauses: list[str] = []
    for clause in split(when, "||"):
        left: list[str] = []
        for atom in split(clause, "&&"):
            decided, why = _filled(atom, given, missing)
            if why:
                return when, why
            if decided is False:
                break
            if decided is not True:
                left.append(decided)
        else:
            if not left:
                return "", ""
            clauses.append(" && ".join(left))
    return " || ".join(clauses) or NEVER, ""


def _filled(atom: str, given: Mapping[str, Any], missing: set[str]) -> tuple[str | bool, str]:
    match = _ATOM.fullmatch(atom)
    for name in _INPUT.findall(atom):
        if name not in given:
            missing.add(name)
            return atom, ""
    if match is None:
        return _INPUT.sub(lambda found: text_of(given[found[1]]), atom), ""
    value, operator = given[match[1]], match[2]
    literal = _INPUT.sub(lambda found: text_of(given[found[1]]), match[3])
    said = value.reference if isinstance(value, From) else value
    if isinstance(said, str) and "$" in said:
        if _SOLE.fullmatch(said):
            return f"{said} {operator} {literal}", ""
        return atom, f"$INPUTS.{match[1]} is {said[:60]!r}, and only one reference or a constant can be compared"
    right = literal[1:-1] if len(literal) > 1 and literal[0] == literal[-1] == "'" else literal
    return _holds(text_of(said), operator, right), ""


def _holds(left: str, operator: str, right: str) -> bool:
    if operator in ("==", "!="):
        return (left == right) is (operator == "==")
    if not (_NUMBER.fullmatch(left.strip()) and _NUMBER.fullmatch(right.strip())):
        return False
    one, other = float(left), float(right)
    return {"<": one < other, ">": one > other, "<=": one <= other, ">=": one >= other}[operator]


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of quotes."""
    parts, start, quoted = [], 0, False
    for place, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted and place >= start and text.startswith(separator, place):
            parts.append(text[start:place].strip())
            start = place + len(separator)
    return [*parts, text[start:].strip()]


def text_of(value: Any) -> str:
    """A value of `with:` within a text."""
    if isinstance(value, From):
        return value.reference
    return value if isinstance(value, str) else to_json(value, inf_nan_mode="null").decode()
