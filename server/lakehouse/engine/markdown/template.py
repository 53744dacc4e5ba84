"""Texts with `{path}` in them: a value of the data, escaped, stands there. Nothing in them is ever run."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from lakehouse.engine.markdown.escaping import inline
from lakehouse.errors import InvalidInput, did_you_mean

ABSENT = object()
_FIELD = re.compile(r"\{\{|\}\}|\{(?P<path>[^{}]*)\}|[{}]")
_PATH = re.compile(r"(?P<path>\.|[\w-]+(?:\.[\w-]+)*)(?::(?P<digits>\d))?(?P<optional>\?)?")


def filled(template: str, data: Any, where: str) -> str:
    """The template with its values. `{a.0.b}` goes into mappings and lists, `{.}` is the data itself, `{a?}` may be
    absent, `{a:2}` has two decimals, `{{` is a brace. Raises InvalidInput naming `where` and the path.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found["path"] is None:
            raise InvalidInput(f"{where}: a brace stands alone in {template[:80]!r}.", fix="Write {{ or }} for one.")
        return inline(shown(found["path"], data, where))

    return _FIELD.sub(value, template)


def shown(path: str, data: Any, where: str, *, optional: bool = False) -> str:
    """The text of the value at a path; empty for one that is absent and may be. Raises InvalidInput."""
    read = _PATH.fullmatch(path.strip())
    if read is None:
        raise InvalidInput(
            f"{where}: {path[:80]!r} is no path.", fix="Write names and numbers with dots: results.0.id."
        )
    found = at(read["path"], data)
    if found is ABSENT:
        if optional or read["optional"]:
            return ""
        raise _absent(read["path"], data, where)
    if read["digits"] and isinstance(found, float | int) and not isinstance(found, bool) and math.isfinite(found):
        return f"{found:.{int(read['digits'])}f}"
    return plain(found)


def value_at(path: str, data: Any, where: str) -> Any:
    """The value at a path; None for one that is absent behind a `?`. Raises InvalidInput."""
    optional = path.endswith("?")
    found = at(path.strip().rstrip("?"), data)
    if found is not ABSENT:
        return found
    if optional:
        return None
    raise _absent(path, data, where)


def at(path: str, data: Any) -> Any:
    """The value at a path, or ABSENT."""
    if path == ".":
        return data
    for name in path.split("."):
        if isinstance(data, Mapping) and name in data:
            data = data[name]
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            data = data[int(name)]
        else:
            return ABSENT
    return data


def plain(value: Any) -> str:
    """A value as text: texts as they are, nothing for null, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _absent(path: str, data: Any, where: str) -> InvalidInput:
    there = list(data) if isinstance(data, Mapping) else []
    fix = did_you_mean(path.split(".")[0], there, f"There are: {', '.join(map(str, there[:20]))}." if there else "")
    return InvalidInput(
        f"{where}: there is no {path[:80]!r} in the data.", fix=fix or "Write `?` behind what may lack."
    )
