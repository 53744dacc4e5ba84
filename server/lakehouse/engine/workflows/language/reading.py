"""A file's text as plain data that knows its lines, and no more of it than a workflow may be.

Scalars are those of YAML 1.2, which Archon reads: `yes` and `on` are texts, `1:30` and dates too. Nothing is
constructed but texts, numbers, booleans, null, lists and mappings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lakehouse.engine.workflows.language.source import Source
from lakehouse.engine.workflows.problems import Problem

MAX_BYTES = 2**20
MAX_DEPTH = 64
MAX_REPEATED = 50_000  # values that aliases and merges may add to those written down
MAX_DIGITS = 300  # of a number; a longer one is taken as text

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(r"[-+]?(?:\d+|\d*\.\d+|\d+\.\d*)(?:[eE][-+]?\d+)?|0x[0-9a-fA-F]+|0o[0-7]+")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_YAML = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"!", *(_YAML + kind for kind in ("str", "int", "float", "bool", "null"))})
_GROUP_TAGS = frozenset({"!", _YAML + "map", _YAML + "seq"})


class Mapped(dict[str, Any]):
    """A mapping as it was written: `lines` are those of its keys, `line` its own."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Listed(list[Any]):
    """A list as it was written."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass
class _Open:
    """A mapping or list that is being read."""

    into: Mapped | Listed
    anchor: str | None
    started: int  # how many values had been read when it began
    key: str | None = None
    key_line: int = 0
    merges: list[Mapped] = field(default_factory=list)


class _Refused(Exception):
    def __init__(self, message: str, line: int, fix: str = "") -> None:
        super().__init__(message)
        self.problem = Problem("file", message, fix, line)


def read(source: Source) -> tuple[Mapped | None, list[Problem], list[Problem]]:
    """The mapping a text holds, what is wrong with it, and what is strange about it. It never raises."""
    import yaml

    refused = _unreadable(source.text)
    if refused is not None:
        return None, [refused], []
    strange: list[Problem] = []
    try:
        found, line = _composed(source.text, strange)
    except _Refused as error:
        return None, [error.problem], strange
    except yaml.MarkedYAMLError as error:
        return None, [_no_yaml(source.text, error)], strange
    except yaml.YAMLError as error:  # a character that YAML does not have
        line = source.text.count("\n", 0, getattr(error, "position", None) or 0) + 1
        return None, [Problem("file", f"it is not YAML: {_flat(str(error))}.", "Take it out.", line)], strange
    if not isinstance(found, Mapped):
        what = "nothing" if found is None else "no mapping"
        return None, [Problem("file", f"it holds {what}.", "Write name:, description: and nodes:.", line)], strange
    return found, [], strange


def plain(value: Any) -> Any:
    """A value without its lines."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _unreadable(text: str) -> Problem | None:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return Problem("file", f"it is over {MAX_BYTES:,} bytes.", "Split it: include parts of it, or run children.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        return Problem("file", "it is not UTF-8.", "Save it as UTF-8.", line)
    at = text.find("\0")
    if at >= 0:
        return Problem("file", "it holds a NUL character.", "Take it out.", text.count("\n", 0, at) + 1)
    return None


def _no_yaml(text: str, error: Any) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = _flat(error.problem or error.context or str(error))
    fix = "Look at this line and the one before it: indentation, quotes, brackets."
    if mark is not None:
        line = text[: mark.index + 1].rpartition("\n")[2] if mark.index is not None else ""
        if "\t" in said or "'\\t'" in said or line.strip(" ").startswith("\t"):
            fix = "Indent with spaces, not with tabs."
        elif "mapping values are not allowed" in said:
            fix = "A text that holds a colon needs quotes around it, or a block (|)."
    return Problem("file", f"it is not YAML: {said}.", fix, mark.line + 1 if mark is not None else 0)


def _flat(said: str) -> str:
    return " ".join(said.split())[:300].rstrip(".")


def _composed(text: str, strange: list[Problem]) -> tuple[Any, int]:
    """The one document of a text and the line it begins on. Built from events: nothing recurses, however deep."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10,000 nodes: 0.4 s in C, 2.5 s in Python
    anchors: dict[str, tuple[Any, int] | None] = {}
    stack: list[_Open] = []
    documents: list[tuple[Any, int]] = []
    count = repeated = 0
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    for event in events:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            line = event.start_mark.line + 1
            as_key = bool(stack) and stack[-1].key is None and type(stack[-1].into) is Mapped
            value = event.value if as_key else _scalar(event, line)
            count += 1
            size = 1
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            line = event.start_mark.line + 1
            if event.tag is not None and event.tag not in _GROUP_TAGS:
                raise _Refused(f"the tag {event.tag[:60]} is not one a workflow may have.", line, "Take it out.")
            if len(stack) >= MAX_DEPTH:
                raise _Refused(f"it is nested deeper than {MAX_DEPTH} levels.", line, "Flatten it.")
            if stack and stack[-1].key is None and type(stack[-1].into) is Mapped:
                raise _Refused("a key is a list or mapping.", line, "Keys are texts.")
            into = Mapped(line) if kind is yaml.MappingStartEvent else Listed(line)
            if event.anchor:
                anchors[event.anchor] = None
            stack.append(_Open(into, event.anchor, count))
            count += 1
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            done = stack.pop()
            repeated += _merged(done)
            value, line, size = done.into, done.into.line, count - done.started
            if done.anchor:
                anchors[done.anchor] = (value, size)
        elif kind is yaml.AliasEvent:
            line = event.start_mark.line + 1
            known = anchors.get(event.anchor)
            if known is None:
                what = "stands within what it repeats" if event.anchor in anchors else "repeats nothing"
                raise _Refused(f"the alias *{event.anchor[:60]} {what}.", line, "Write the anchor (&) before it.")
            value, size = known
            repeated += size
            count += size
        else:
            if kind is yaml.DocumentStartEvent:
                anchors.clear()
            continue
        if repeated > MAX_REPEATED:
            raise _Refused(f"its aliases repeat more than {MAX_REPEATED:,} values.", line, "Write it without them.")
        if not stack:
            documents.append((value, line))
        else:
            _put(stack[-1], value, line, strange)
    if len(documents) > 1:
        raise _Refused(f"it holds {len(documents)} documents.", documents[1][1], "Write each in a file of its own.")
    return documents[0] if documents else (None, 0)


def _put(top: _Open, value: Any, line: int, strange: list[Problem]) -> None:
    into = top.into
    if isinstance(into, Listed):
        into.append(value)
        into.lines.append(line)
    elif top.key is None:
        if not isinstance(value, str):
            raise _Refused("a key is no text.", line, "Keys are texts.")
        top.key, top.key_line = value, line
    else:
        key, top.key = top.key, None
        if key == "<<":
            merged = value if isinstance(value, Listed) else [value]
            if not all(isinstance(one, Mapped) for one in merged):
                raise _Refused("<<: takes mappings.", top.key_line, "Give it an alias of one.")
            top.merges += merged
            return
        if key in into:
            strange.append(
                Problem("file", f"{key[:60]!r} stands twice in a mapping; the second is taken.", "", top.key_line)
            )
        into[key] = value
        into.lines[key] = top.key_line


def _merged(done: _Open) -> int:
    """Put in what `<<:` names, under what is written there itself; how many values that were."""
    added = 0
    for one in done.merges:
        added += len(one)
        for key, value in one.items():
            if key not in done.into:
                assert isinstance(done.into, Mapped)
                done.into[key] = value
                done.into.lines[key] = one.lines[key]
    return added


def _scalar(event: Any, line: int) -> Any:
    text: str = event.value
    if event.tag is not None and event.tag not in _SCALAR_TAGS:
        raise _Refused(f"the tag {event.tag[:60]} is not one a workflow may have.", line, "Take it out.")
    if not event.implicit[0] and event.tag in (None, "!", _YAML + "str"):
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    first = text[0]
    if not (first.isdigit() or first in "-+.") or len(text) > MAX_DIGITS:
        return text
    if _NUMBER.fullmatch(text):
        if text.startswith(("0x", "0o")):
            return int(text, 0)
        return float(text) if any(mark in text for mark in ".eE") else int(text)
    return float(text.replace(".", "", 1)) if _SPECIAL.fullmatch(text) else text
