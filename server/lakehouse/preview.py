"""A value too long to show becomes a shorter one of the same shape."""

from typing import Any

from pydantic_core import to_json


def compact(value: Any) -> bytes:
    """JSON without spaces; NaN and infinities, which JSON does not have, become null."""
    return to_json(value, inf_nan_mode="null")


def scrubbed(value: Any) -> Any:
    """A copy in which lone surrogates, which UTF-8 cannot hold, are question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {scrubbed(key): scrubbed(inner) for key, inner in value.items()}
    return [scrubbed(inner) for inner in value] if isinstance(value, list) else value


def shortened(value: dict[str, Any], limit: int) -> dict[str, Any]:
    """A copy whose compact JSON is at most `limit` bytes: the longest lists and texts in it lose their tails.

    Same keys, same types, so it still fits the schema of the whole.
    """
    while (size := len(compact(value))) > limit:
        path, length = _longest(value, ())
        kept = max(0, int(length * min(0.9, 0.95 * limit / size)))
        if length == 0:
            return value
        value = _cut(value, path, kept)
    return value


def _longest(node: Any, path: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
    """Where the list or text that weighs most stands, and how many items it has."""
    best: tuple[int, tuple[Any, ...], int] = (0, path, 0)
    items = node.items() if isinstance(node, dict) else ()
    for key, inner in items:
        if isinstance(inner, list | str) and inner:
            weight = len(compact(inner))
            # One item is opened up rather than dropped, so that a preview is never empty.
            deeper = isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], dict | list | str)
            if deeper:
                found, length = _longest(dict(enumerate(inner)), (*path, key))
                best = max(best, (weight, found, length), key=lambda b: b[0])
            else:
                best = max(best, (weight, (*path, key), len(inner)), key=lambda b: b[0])
        elif isinstance(inner, dict) and inner:
            found, length = _longest(inner, (*path, key))
            if length:
                best = max(best, (len(compact(inner)), found, length), key=lambda b: b[0])
    return best[1], best[2]


def _cut(node: Any, path: tuple[Any, ...], kept: int) -> Any:
    if not path:
        return node[:kept]
    copy = node.copy()
    copy[path[0]] = _cut(node[path[0]], path[1:], kept)
    return copy
