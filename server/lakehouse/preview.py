"""A value too long to show becomes a shorter one of the same shape."""

from typing import Any

from pydantic_core import to_json

_FEW = 64  # items of a list that are looked at one by one


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
        kept = max(int(length > 1), int(length * min(0.9, 0.95 * limit / size)))
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
            found, length = _within(inner, weight, (*path, key)) if isinstance(inner, list) else (path, 0)
            if not length:
                found, length = (*path, key), len(inner)
            best = max(best, (weight, found, length), key=lambda b: b[0])
        elif isinstance(inner, dict) and inner:
            found, length = _longest(inner, (*path, key))
            if length:
                best = max(best, (len(compact(inner)), found, length), key=lambda b: b[0])
    return best[1], best[2]


def _within(items: list[Any], weight: int, path: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
    """The same within an item that is most of its list; length 0 when none is.

    Such an item is opened up rather than dropped: a preview is never empty, and a row with one long text keeps its
    other columns.
    """
    if len(items) <= _FEW:
        for place, item in enumerate(items):
            if isinstance(item, dict | list | str) and 2 * len(compact(item)) > weight:
                return _longest({place: item}, path)
    return path, 0


def _cut(node: Any, path: tuple[Any, ...], kept: int) -> Any:
    if not path:
        return node[:kept]
    copy = node.copy()
    copy[path[0]] = _cut(node[path[0]], path[1:], kept)
    return copy
