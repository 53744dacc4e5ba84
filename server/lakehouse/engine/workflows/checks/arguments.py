"""The arguments of a mode, held against what it takes; a reference fits anything."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from lakehouse.engine.workflows.checks.level import Findings, Level
from lakehouse.engine.workflows.checks.places import texts
from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.ports import KEY
from lakehouse.engine.workflows.references.templates import references

_SIMPLE: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_SAYS_NOTHING = frozenset({"type", "description", "default", "title", "examples"})


def check_arguments(level: Level, node: Node, mode: str, findings: Findings) -> None:
    """Find a mode that is not there; arguments unknown, missing, or of the wrong type."""
    facts = level.mode(mode)
    if facts is None:
        fix = findings.meant(mode, level.modes.modes())
        findings.error(level.place(node.id, "mode"), f"there is no mode {mode}.", fix)
        return
    schema = facts.input_schema
    known: Mapping[str, Any] = schema.get("properties") or {}
    required = [name for name in schema.get("required") or () if name != KEY]
    for name, value in node.given.items():
        if name not in known:
            if not schema.get("additionalProperties"):
                where = level.place(node.id, f"with.{name}")
                fix = findings.meant(name, known, f"It takes: {', '.join(known) or 'nothing'}.")
                findings.error(where, f"{facts.name} takes no {name}.", fix)
        elif not _refers(value):
            optional = value is None and name not in required
            if not optional and not _fits(value, known[name], schema):
                where = level.place(node.id, f"with.{name}")
                findings.error(
                    where, f"{_told(value)} is no {name} of {facts.name}.", _wanted(value, known[name], schema)
                )
    missing = [name for name in required if name not in node.given]
    if missing:
        what = f"{facts.name} needs {', '.join(missing)}."
        findings.error(level.place(node.id, "with"), what, f"Add {missing[0]}: to with:.")


def _refers(value: Any) -> bool:
    return any("$" in text and next(references(text, deep=True), None) is not None for text in texts(value))


def _fits(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    if not isinstance(schema, Mapping):
        return schema is not False
    wanted = _SIMPLE.get(str(schema.get("type")))
    if wanted is not None and schema.keys() <= _SAYS_NOTHING and isinstance(value, wanted):
        return wanted == (bool,) or not isinstance(value, bool)
    plain = to_jsonable_python(value, fallback=str)
    if _problem(plain, schema, root) is None:
        return True
    # A text that is JSON is read as such where no text is wanted.
    if isinstance(plain, str):
        try:
            return _problem(json.loads(plain), schema, root) is None
        except (ValueError, RecursionError):
            return False
    return False


def _problem(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    from jsonschema import Draft202012Validator

    whole = {**schema, "$defs": root.get("$defs", {})}
    found = next(Draft202012Validator(whole).iter_errors(value), None)
    return None if found is None else f"{found.json_path}: {found.message}"


def _wanted(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    problem = _problem(to_jsonable_python(value, fallback=str), schema, root) or ""
    return f"{problem[:200].removeprefix('$: ')}." if problem else ""


def _told(value: Any) -> str:
    told = json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
    return told if len(told) <= 60 else f"{told[:60]}…"
