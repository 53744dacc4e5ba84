"""Conditions on one JSON value and how they join: what each operator means, said once for one item.

| operator                | holds when the field is there and its value            | a missing field |
|-------------------------|--------------------------------------------------------|-----------------|
| eq, in                  | equals the operand, one of the operands                | no              |
| ne, nin                 | equals no operand                                      | no              |
| gt gte lt lte           | is a number as the operand is, or a text as it is      | no              |
| prefix, contains, regex | is a text that does (contains: or a list with that)    | no              |
| exists                  | is there, null too; with false: is not there           | exists: false   |
| not                     | is the opposite of the condition below it              | the opposite    |

Equality is JSON's: 1 is 1.0, true is not 1, "1" is not 1, whole lists and objects are compared. Texts are compared by
code points. What columns of typed values answer (engine/vectors/masks.py) is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lakehouse.errors import InvalidInput

ABSENT: Any = object()


@dataclass(frozen=True)
class Test:
    """One operator on one field. `place` names it in messages, as in `filter.age.$gte`."""

    path: str
    op: str
    operand: Any  # of `in` and `nin` a tuple; of `ne`, none: it is nin
    place: str

    def holds(self, metadata: dict[str, Any]) -> bool:
        """Whether an item with this metadata meets it. Regular expressions import pyarrow."""
        value = at(metadata, self.path)
        if self.op == "exists":
            return (value is not ABSENT) is self.operand
        if value is ABSENT:
            return False
        if self.op in ("in", "nin"):
            return any(equal(value, operand) for operand in self.operand) == (self.op == "in")
        if self.op == "contains":
            if isinstance(value, list):
                return any(equal(member, self.operand) for member in value)
            return isinstance(value, str) and isinstance(self.operand, str) and self.operand in value
        if self.op == "prefix":
            return isinstance(value, str) and value.startswith(self.operand)
        if self.op == "regex":
            return isinstance(value, str) and self._found(value)
        return self._ordered(value)

    def _ordered(self, value: Any) -> bool:
        if not (_number(value) and _number(self.operand)) and not (
            isinstance(value, str) and isinstance(self.operand, str)
        ):
            return False
        if self.op == "gt":
            return bool(value > self.operand)
        if self.op == "gte":
            return bool(value >= self.operand)
        if self.op == "lt":
            return bool(value < self.operand)
        return bool(value <= self.operand)

    def _found(self, value: str) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        return bool(pc.match_substring_regex(pa.scalar(value), pattern=self.operand).as_py())

    def check(self) -> None:
        """Raises InvalidInput for a pattern that RE2 does not take. Imports pyarrow: call it in a worker thread."""
        if self.op == "regex" and (problem := _refusal(self.operand)):
            raise InvalidInput(
                f"{self.place}: {problem}",
                fix="Write an RE2 expression, as in ^IL-[0-9]+$; it has no look-around and no back-references.",
            )


@dataclass(frozen=True)
class Every:
    """All of the conditions hold."""

    of: tuple["Condition", ...]


@dataclass(frozen=True)
class Some:
    """At least one of the conditions holds."""

    of: tuple["Condition", ...]


@dataclass(frozen=True)
class Opposite:
    """The condition does not hold."""

    of: "Condition"


Condition = Test | Every | Some | Opposite


def holds(condition: Condition, metadata: dict[str, Any]) -> bool:
    """Whether an item with this metadata meets a condition."""
    if isinstance(condition, Test):
        return condition.holds(metadata)
    if isinstance(condition, Opposite):
        return not holds(condition.of, metadata)
    join = all if isinstance(condition, Every) else any
    return join(holds(part, metadata) for part in condition.of)


def tests(condition: Condition) -> Iterator[Test]:
    """Every test in it."""
    if isinstance(condition, Test):
        yield condition
    elif isinstance(condition, Opposite):
        yield from tests(condition.of)
    else:
        for part in condition.of:
            yield from tests(part)


def at(metadata: dict[str, Any], path: str) -> Any:
    """The value a path names, ABSENT when there is none: a field of just that name, else by objects, dot by dot."""
    if path in metadata:
        return metadata[path]
    found: Any = metadata
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return ABSENT
        found = found[name]
    return found


def equal(some: Any, other: Any) -> bool:
    """JSON equality."""
    if isinstance(some, bool) or isinstance(other, bool):
        return some is other
    if isinstance(some, list) and isinstance(other, list):
        return len(some) == len(other) and all(map(equal, some, other))
    if isinstance(some, dict) and isinstance(other, dict):
        return some.keys() == other.keys() and all(equal(value, other[name]) for name, value in some.items())
    return bool(some == other)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@lru_cache(256)
def _refusal(pattern: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.scalar(""), pattern=pattern)
    except pa.ArrowInvalid as error:
        return f"{error}."
    return ""
