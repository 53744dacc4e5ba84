"""The references that stand in a text: where, to what, and the text with something else in their place."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MESSAGE = ("ARGUMENTS", "USER_MESSAGE")
CONTEXT = ("CONTEXT", "EXTERNAL_CONTEXT", "ISSUE_CONTEXT")
# What somebody outside has a say in: a shell gets these from its environment, never as a part of its source.
CALLERS = (*MESSAGE, *CONTEXT, "LOOP_USER_INPUT", "LOOP_PREV_OUTPUT", "REJECTION_REASON")
OURS = ("WORKFLOW_ID", "ARTIFACTS_DIR", "STATE_DIR", "BASE_BRANCH", "DOCS_DIR")

_ID = r"[A-Za-z_][A-Za-z0-9_-]*"
_FIELD = r"(?:\.[A-Za-z_]\w*)?"
_DEEP = r"(?:\.\w+)*"
_VARIABLES = "|".join(sorted((*CALLERS, *OURS), key=len, reverse=True))


def _pattern(path: str) -> "re.Pattern[str]":
    inner = path if path == _DEEP else ""
    return re.compile(
        rf"\$(?:(?P<variable>{_VARIABLES})(?!\w)"
        rf"|INPUTS\.(?P<input>{_ID})(?P<inner>{inner})"
        rf"|LOOP_PREV\.(?P<previous>{_ID})\.output(?P<before>{path})"
        rf"|(?P<output>{_ID})\.output(?P<path>{path}))",
        re.ASCII,
    )


# As Markdown has it: a block between fences, or a piece of one line between backticks.
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_SHALLOW, _ANY_DEPTH = _pattern(_FIELD), _pattern(_DEEP)


@dataclass(frozen=True)
class Reference:
    """One reference. `path` are the fields it asks for: at most one, but in the arguments of a mode."""

    kind: Literal["variable", "input", "previous", "output"]
    name: str
    path: tuple[str, ...] = ()
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        path = "".join(f".{part}" for part in self.path)
        if self.kind == "output":
            return f"${self.name}.output{path}"
        if self.kind == "previous":
            return f"$LOOP_PREV.{self.name}.output{path}"
        return f"$INPUTS.{self.name}{path}" if self.kind == "input" else f"${self.name}"


def references(template: str, *, deep: bool = False) -> Iterator[Reference]:
    """The references in a text, in order. `deep`: with as many fields as stand there."""
    for match in (_ANY_DEPTH if deep else _SHALLOW).finditer(template):
        yield _reference(match)


def replaced(template: str, put: Callable[[Reference], str | None], *, deep: bool = False) -> str:
    """The text with what `put` gives for each reference; None leaves one as it is.

    What is put in is not looked at again: an output that holds `$a.output` stays as it is.
    """

    def one(match: "re.Match[str]") -> str:
        found = put(_reference(match))
        return match[0] if found is None else found

    return (_ANY_DEPTH if deep else _SHALLOW).sub(one, template)


def quotes(template: str) -> Callable[[Reference], bool]:
    """Whether a reference of this text stands in Markdown code, where it may be an example of one."""
    spans = [match.span() for match in _CODE.finditer(template)] if "`" in template else []
    starts = [start for start, _ in spans]

    def within(reference: Reference) -> bool:
        before = bisect_right(starts, reference.start)
        return before > 0 and reference.start < spans[before - 1][1]

    return within


def sole(text: str, *, deep: bool = False) -> Reference | None:
    """The reference that a text consists of, if it is exactly one."""
    match = (_ANY_DEPTH if deep else _SHALLOW).fullmatch(text)
    return _reference(match) if match else None


def _reference(match: "re.Match[str]") -> Reference:
    start, end = match.span()
    if match["output"] is not None:
        return Reference("output", match["output"], _parts(match["path"]), start, end)
    if match["input"] is not None:
        return Reference("input", match["input"], _parts(match["inner"]), start, end)
    if match["previous"] is not None:
        return Reference("previous", match["previous"], _parts(match["before"]), start, end)
    return Reference("variable", match["variable"], (), start, end)


def _parts(path: str | None) -> tuple[str, ...]:
    return tuple(path[1:].split(".")) if path else ()
