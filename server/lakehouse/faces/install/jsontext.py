"""A JSON file of somebody else's, changed in one place: every other byte stays, the way it is written is kept."""

import json
import re
from dataclasses import dataclass
from typing import Any

BOM = "\ufeff"
_SPACE = re.compile(r"[ \t\r\n]*")


class NotPlain(Exception):
    """The text is not what can be changed safely; the message says why."""


@dataclass(frozen=True)
class Members:
    """Where an object's members are: by name the beginning and end of the value."""

    opened: int
    closed: int
    values: dict[str, tuple[int, int]]
    first: int  # of the first name; `closed` where there is none
    last: int  # behind the last value; behind the bracket where there is none


class JsonText:
    """The text of one JSON object. Raises NotPlain for comments, trailing commas, names that stand there twice."""

    def __init__(self, text: str) -> None:
        self._bom = BOM if text.startswith(BOM) else ""
        self.text = text.removeprefix(BOM)
        if not self.text.strip():
            self.text = "{}\n"
        self.newline = "\r\n" if "\r\n" in self.text else "\n"
        if not isinstance(self.value, dict):
            raise NotPlain("it holds no JSON object")
        root = self._members(self._skip(0))
        margin = self._margin(root)
        self._unit = margin or "  "
        # One that is written in a single line stays so.
        self._flat = margin is None and bool(root.values)

    @property
    def whole(self) -> str:
        """The text as it goes into the file."""
        return self._bom + self.text

    @property
    def value(self) -> Any:
        """What the text says."""
        try:
            return json.loads(self.text, object_pairs_hook=_once, parse_constant=_refuse)
        except RecursionError:
            raise NotPlain("it is nested too deeply") from None
        except ValueError as error:
            raise NotPlain(f"it is not strict JSON: {error}") from None

    def put(self, path: list[str], value: Any) -> None:
        """Set a member, replacing what is there; objects on the way are made."""
        expected = self.value
        inner = expected
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
        at, depth = self._skip(0), 1
        for place, name in enumerate(path):
            found = self._members(at)
            rest = path[place + 1 :]
            if rest and name in found.values:
                at, depth = found.values[name][0], depth + 1
                continue
            for step in reversed(rest):
                value = {step: value}
            self._set(found, name, value, depth)
            break
        if self.value != expected:
            raise NotPlain("it cannot be changed in one place")

    def append(self, name: str, item: Any) -> None:
        """Put an item at the end of a list of the root's; it is made where there is none."""
        expected = self.value
        root = self._members(self._skip(0))
        if name not in root.values:
            self.put([name], [item])
            return
        expected[name].append(item)
        begin, end = root.values[name]
        place = self._skip(begin + 1)
        first, last = place, begin + 1
        while self.text[place] != "]":
            _, last = json.JSONDecoder().raw_decode(self.text, place)
            place = self._skip(last)
            if self.text[place] == ",":
                place = self._skip(place + 1)
        before = self.text[begin + 1 : first]
        margin = before.rpartition("\n")[2] if "\n" in before and last > begin + 1 else None
        if last == begin + 1:
            self.text = self.text[:begin] + self._written([item], self._margin(root)) + self.text[end:]
        elif margin is None:
            self.text = self.text[:last] + ", " + self._written(item, None) + self.text[last:]
        else:
            self.text = self.text[:last] + f",{self.newline}{margin}" + self._written(item, margin) + self.text[last:]
        if self.value != expected:
            raise NotPlain("it cannot be changed in one place")

    def _set(self, found: Members, name: str, value: Any, depth: int) -> None:
        margin = self._margin(found)
        if name in found.values:
            begin, end = found.values[name]
            self.text = self.text[:begin] + self._written(value, margin) + self.text[end:]
            return
        if self._flat or (margin is None and found.values):
            member = f"{json.dumps(name)}: {self._written(value, None)}"
            self.text = self.text[: found.last] + (", " if found.values else "") + member + self.text[found.last :]
            return
        prefix = self._unit * depth if margin is None else margin
        member = f"{self.newline}{prefix}{json.dumps(name)}: {self._written(value, prefix)}"
        if found.values:
            self.text = self.text[: found.last] + "," + member + self.text[found.last :]
        else:
            below = self.newline + self._unit * (depth - 1)
            self.text = self.text[: found.opened + 1] + member + below + self.text[found.closed :]

    def _written(self, value: Any, prefix: str | None) -> str:
        if self._flat or prefix is None:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, indent=self._unit)
        return text.replace("\n", self.newline + prefix)

    def _margin(self, found: Members) -> str | None:
        """What stands before the first name in its line; None where it has no line of its own."""
        before = self.text[found.opened + 1 : found.first] if found.values else ""
        return before.rpartition("\n")[2] if "\n" in before else None

    def _members(self, at: int) -> Members:
        if self.text[at] != "{":
            raise NotPlain("there is something else in the place of an object")
        decoder, values = json.JSONDecoder(), {}
        place = first = self._skip(at + 1)
        last = at + 1
        while self.text[place] != "}":
            name, place = decoder.raw_decode(self.text, place)
            begin = self._skip(self._skip(place) + 1)
            _, last = decoder.raw_decode(self.text, begin)
            values[name] = (begin, last)
            place = self._skip(last)
            if self.text[place] == ",":
                place = self._skip(place + 1)
        return Members(at, place, values, first, last)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        assert found
        return found.end()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise NotPlain(f"{twice!r} stands there twice")
    return found


def _refuse(constant: str) -> Any:
    raise NotPlain(f"it is not strict JSON: {constant}")


__all__ = ["JsonText", "NotPlain"]
