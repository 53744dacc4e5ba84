"""The inputs of a run: those that were given, as the types they are declared with, and the defaults of the others."""

import json
from collections.abc import Mapping
from typing import Any

from lakehouse.engine.workflows.model import Input
from lakehouse.errors import InvalidInput, did_you_mean

_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def checked_inputs(declared: Mapping[str, Input], given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run: those given, and the defaults. Raises InvalidInput for unknown, missing and mistyped ones.

    A text given for an input of another type is read as JSON: `--input count=3` is a number where one is declared.
    """
    for name in given:
        if name not in declared:
            raise InvalidInput(
                f"input: there is no input {name[:80]!r}.",
                fix=did_you_mean(name, declared, None if declared else "It takes none."),
            )
    missing = [name for name, one in declared.items() if one.required and name not in given]
    if missing:
        fix = "Give " + "; ".join(f"{name} ({_wanted(declared[name])})" for name in missing) + "."
        raise InvalidInput(f"input: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} required.", fix=fix)
    defaults = {name: one.default if one.has_default else "" for name, one in declared.items()}
    return defaults | {name: _typed(declared[name], value) for name, value in given.items()}


def _wanted(declared: Input) -> str:
    about = " ".join(declared.description.split()).rstrip(".")
    return f"{declared.type}: {about}" if about else declared.type


def _typed(declared: Input, value: Any) -> Any:
    wanted = _TYPES.get(declared.type)
    if wanted is None:
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        article = "an" if declared.type[0] in "aio" else "a"
        raise InvalidInput(
            f"input.{declared.name}: it is not of type {declared.type}.", fix=f"Give {article} {declared.type}."
        )
    return value
