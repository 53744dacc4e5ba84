"""Arguments as callers send them, checked against what a capability declares."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lakehouse.declare import Capability
from lakehouse.engine.places import check_named
from lakehouse.errors import InvalidInput, did_you_mean


def validated(capability: Capability, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, checked; only those that were given, so that the function's own defaults hold.

    Raises InvalidInput that names each bad argument and, for an unknown one, the nearest known name.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput("arguments: they must be an object.", fix='Send {"name": value}.')
    try:
        checked = capability.arguments.model_validate(capability.decoded(given), extra="forbid")  # at any depth
    except ValidationError as error:
        raise _explained(capability, error) from None
    return {name: getattr(checked, name) for name in checked.model_fields_set}


def defaulted(capability: Capability, checked: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The checked arguments of a search, with what a profile says where the caller said nothing."""
    if capability.effect != "reads" or "retrieval" not in capability.facts.toolsets:
        return checked
    absent = {name: value for name, value in defaults.items() if name in capability.arguments.model_fields}
    return absent | checked


def anchored(capability: Capability, given: Mapping[str, Any], folder: str | None) -> Mapping[str, Any]:
    """The arguments with relative paths meant from a folder: the caller's working directory may not be ours."""
    if folder is None or not isinstance(given, Mapping):
        return given
    properties = capability.input_schema["properties"]
    paths = [name for name, schema in properties.items() if schema.get("format") == "path"]
    return {**given, **{n: str(Path(folder, given[n])) for n in paths if isinstance(given.get(n), str) and given[n]}}


def check_paths(checked: Mapping[str, Any]) -> None:
    """Raises Forbidden when one of the arguments is a path that the caller may not name. It blocks."""
    for path in paths_of(checked):
        check_named(path)


def paths_of(checked: Mapping[str, Any]) -> list[Path]:
    """The arguments that are paths of this machine."""
    given = [value if isinstance(value, list | tuple) else [value] for value in checked.values()]
    return [path for values in given for path in values if isinstance(path, Path)]


def _explained(capability: Capability, error: ValidationError) -> InvalidInput:
    known = list(capability.arguments.model_fields)
    lines, hints = [], []
    problems = error.errors(include_url=False, include_input=False)
    for problem in problems[:5]:
        where = ".".join(str(part) for part in problem["loc"])[:100] or "arguments"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: there is no such argument")
            names = _known_at(capability.input_schema, problem["loc"][:-1])
            hints.append(did_you_mean(str(problem["loc"][-1]), names, f"Known are: {', '.join(names) or 'none'}."))
        elif problem["type"] == "missing":
            lines.append(f"{where}: it is required")
            within = problem["loc"][:-1]
            if within and (names := _known_at(capability.input_schema, within)):
                hints.append(f"{'.'.join(map(str, within))} takes: {', '.join(names)}.")
        else:
            lines.append(f"{where}: {problem['msg'][:200]}")
            hints += _meant(capability.input_schema, str(problem["loc"][0]) if problem["loc"] else "")
    if len(problems) > 5:
        lines.append(f"and {len(problems) - 5} more")
    fix = " ".join(dict.fromkeys(hints)) or f"{capability.name} takes: {', '.join(known) or 'nothing'}."
    return InvalidInput("; ".join(lines) + ".", fix=fix)


def _meant(schema: Mapping[str, Any], argument: str) -> list[str]:
    """What an argument is for, so that one whose value does not do need not be looked up."""
    words = schema.get("properties", {}).get(argument, {}).get("description")
    return [f"{argument} is: {words}"] if words else []


def _known_at(schema: Mapping[str, Any], place: Sequence[int | str]) -> list[str]:
    """The fields there are at a place within the arguments, which may be an item of a list."""
    for part in place:
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
    return list(schema.get("properties", {}))
