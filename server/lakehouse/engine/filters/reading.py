"""Filters as callers write them, read into conditions."""

import json
from collections.abc import Mapping
from typing import Any

from lakehouse.engine.filters.conditions import Condition, Every, Opposite, Some, Test
from lakehouse.errors import InvalidInput, did_you_mean

MAX_CONDITIONS = 200
MAX_DEPTH = 16
MAX_VALUES = 10_000
MAX_TEXT = 1000  # characters of a field's name, a prefix, a pattern

_JOINS = ("$and", "$or", "$not")
_ORDER = ("$gt", "$gte", "$lt", "$lte")
_TEXT = ("$prefix", "$regex")
OPERATORS = ("$eq", "$ne", "$in", "$nin", *_ORDER, "$prefix", "$contains", "$regex", "$exists", "$not")
_EXAMPLE = 'Write {"state": "IL"}, {"state": ["IL", "WI"]} or {"age": {"$gte": 30}}.'


class Reader:
    """Reads one filter; its limits hold for all of it."""

    def __init__(self) -> None:
        self._conditions = 0
        self._values = 0

    def conditions(self, given: Any, place: str, depth: int = 0) -> Condition:
        """An object of fields and joins, all of which must hold. Raises InvalidInput naming the place."""
        if not isinstance(given, Mapping):
            raise InvalidInput(f"{place}: it is {_kind(given)}, not an object of fields.", fix=_EXAMPLE)
        self._count(place, depth)
        parts: list[Condition] = []
        for name, value in given.items():
            where = f"{place}.{name[:80] if isinstance(name, str) else name}"
            if not isinstance(name, str):
                raise InvalidInput(f"{where}: a field's name is a text.", fix=_EXAMPLE)
            _check_text(name, where)
            if not name.startswith("$"):
                parts.append(self._field(name, value, where, depth + 1))
            elif name == "$not":
                parts.append(Opposite(self.conditions(value, where, depth + 1)))
            elif name in ("$and", "$or"):
                parts.append(self._join(name, value, where, depth + 1))
            else:
                raise _unknown(name, place, _JOINS, 'A field comes first, as in {"age": {"$gte": 30}}.')
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _join(self, name: str, given: Any, place: str, depth: int) -> Condition:
        if not isinstance(given, list | tuple) or not given:
            raise InvalidInput(
                f"{place}: it is {_kind(given)}, not a list of conditions.",
                fix=f'Write {{"{name}": [{{"state": "IL"}}, {{"state": "WI"}}]}}.',
            )
        parts = tuple(self.conditions(part, f"{place}[{i}]", depth + 1) for i, part in enumerate(given))
        return Every(parts) if name == "$and" else Some(parts)

    def _field(self, path: str, given: Any, place: str, depth: int) -> Condition:
        if isinstance(given, Mapping) and any(isinstance(name, str) and name.startswith("$") for name in given):
            self._count(place, depth)
            parts = tuple(self._test(path, op, operand, place, depth) for op, operand in given.items())
            return parts[0] if len(parts) == 1 else Every(parts)
        self._count(place, depth)
        values = given if isinstance(given, list | tuple) else (given,)
        return Test(path, "in", tuple(self._value(one, place) for one in values), place)

    def _test(self, path: str, op: Any, operand: Any, place: str, depth: int) -> Condition:
        self._count(place, depth)
        where = f"{place}.{op}" if isinstance(op, str) and op in OPERATORS else place
        if op == "$not":
            if not isinstance(operand, Mapping) or not operand:
                raise InvalidInput(f"{where}: it is {_kind(operand)}.", fix='Write {"$not": {"$prefix": "IL"}}.')
            return Opposite(self._field(path, operand, where, depth + 1))
        if op not in OPERATORS:
            raise _unknown(op, place, OPERATORS, None)
        if op in ("$in", "$nin"):
            if not isinstance(operand, list | tuple):
                raise InvalidInput(f"{where}: it is {_kind(operand)}, not a list.", fix='Write {"$in": ["IL", "WI"]}.')
            return Test(path, op[1:], tuple(self._value(one, f"{where}[{i}]") for i, one in enumerate(operand)), where)
        if op == "$exists" and not isinstance(operand, bool):
            raise InvalidInput(f"{where}: it is {_kind(operand)}, not true or false.", fix='Write {"$exists": true}.')
        if op in _TEXT and not isinstance(operand, str):
            raise InvalidInput(f"{where}: it is {_kind(operand)}, not a text.", fix=f'Write {{"{op}": "IL-"}}.')
        if op in _TEXT:
            _check_text(operand, where)
        if op in _ORDER and (isinstance(operand, bool) or not isinstance(operand, int | float | str)):
            raise InvalidInput(
                f"{where}: it is {_kind(operand)}, not a number or a text.",
                fix=f'Write {{"{op}": 30}} or {{"{op}": "2026-01-31"}}.',
            )
        value = self._value(operand, where)
        if op in ("$eq", "$ne"):
            return Test(path, "in" if op == "$eq" else "nin", (value,), where)
        return Test(path, op[1:], value, where)

    def _value(self, given: Any, place: str) -> Any:
        """An operand as a JSON value of its own, which nobody else can change."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidInput(f"{place}: the filter has over {MAX_VALUES:,} values.", fix="Use fewer, or SQL.")
        if given is None or isinstance(given, bool) or (isinstance(given, int | float) and abs(given) < 2**63):
            return given
        try:
            text = json.dumps(given, ensure_ascii=False, allow_nan=False)
            text.encode()
            value = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{place}: it is not JSON: {error}.", fix=_EXAMPLE) from None
        if _deep(value, MAX_DEPTH):
            raise InvalidInput(f"{place}: its value is nested over {MAX_DEPTH} deep.", fix="Compare what is in it.")
        return value

    def _count(self, place: str, depth: int) -> None:
        self._conditions += 1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{place[:200]}: it is nested over {MAX_DEPTH} deep.", fix="Write it flatter.")
        if self._conditions > MAX_CONDITIONS:
            raise InvalidInput(f"{place[:200]}: the filter has over {MAX_CONDITIONS} conditions.", fix="Use fewer.")


def _deep(value: Any, most: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not most or any(_deep(one, most - 1) for one in inner)


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"{place[:200]}: {len(text)} characters are over the limit of {MAX_TEXT}.", fix="Cut it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{place!r}: it is not valid Unicode.", fix="Send it as UTF-8.") from None


def _unknown(op: Any, place: str, known: tuple[str, ...], otherwise: str | None) -> InvalidInput:
    word = str(op)[:80]
    fields = "" if word.startswith("$") else " beside operators"
    return InvalidInput(f"{place}: there is no operator {word!r}{fields}.", fix=did_you_mean(word, known, otherwise))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return names.get(type(value), "no JSON value")
