"""Arguments as a path and a query string spell them, typed by the capability's schema."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from lakehouse.errors import InvalidInput

MAX_FIELDS = 1000
_LITERAL = {"integer", "number", "boolean", "object"}


def arguments_of(text: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in a query string. A list is a repeated name, or JSON; any other name stands once.

    Raises InvalidInput for what cannot be read; a name that the schema does not have is left to whoever checks them.
    """
    try:
        pairs = parse_qsl(
            text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )  # `+` is a space here, unlike in a path
    except UnicodeDecodeError:
        raise InvalidInput("query: it is not UTF-8.", fix="Percent-encode it as UTF-8.") from None
    except ValueError:
        raise InvalidInput(f"query: it has over {MAX_FIELDS} fields.", fix="Send the arguments as JSON.") from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return {name: typed(name, values, schema) for name, values in given.items()}


def typed(name: str, values: list[str], schema: Mapping[str, Any]) -> Any:
    """One argument. What does not look like its type stays text, and is refused where arguments are checked."""
    declared = schema["properties"].get(name, {})
    if declared.get("type") == "array":
        if len(values) == 1 and values[0].lstrip().startswith("["):
            whole = _json(values[0])
            if isinstance(whole, list):
                return whole
        return [_literal(value, declared.get("items", {})) for value in values]
    if len(values) > 1:
        raise InvalidInput(f"{name}: it is given {len(values)} times.", fix="Give it once.")
    return _literal(values[0], declared)


def _literal(text: str, schema: Mapping[str, Any]) -> Any:
    return _json(text) if schema.get("type") in _LITERAL else text


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def _refused(token: str) -> Any:
    raise ValueError(token)
