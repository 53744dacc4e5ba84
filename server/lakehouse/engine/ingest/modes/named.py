"""Rows that come with a call, and rows that are only named, by their key."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.engine.manifests import Manifest
from lakehouse.engine.relation import DELETED, fresh
from lakehouse.errors import Conflict, InvalidInput


def json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON Lines. Raises InvalidInput for what is not JSON."""
    try:
        return b"".join(json.dumps(dict(row), allow_nan=False).encode() + b"\n" for row in rows)
    except ValueError as error:
        raise InvalidInput(f"rows: {error}.", fix="Give objects of JSON values.") from None


def named_rows(manifest: Manifest, keys: Sequence[Any]) -> tuple[str, bytes]:
    """Rows to remove, as JSON Lines, and their column that says so.

    A key is an object of the key's columns, or the value itself where the key is one column.

    Raises Conflict when the dataset has no key, InvalidInput for what is none.
    """
    if not manifest.key:
        raise Conflict(f"keys: the rows of dataset {manifest.name!r} have none.", fix="Say which rows with where.")
    if not keys:
        raise InvalidInput("keys: there are none.", fix="Name at least one row.")
    column = fresh(DELETED, [column.name for column in manifest.columns])
    found: dict[str, Mapping[str, Any]] = {}
    for number, key in enumerate(keys, 1):
        values = key if isinstance(key, Mapping) else {manifest.key[0]: key} if len(manifest.key) == 1 else {}
        if set(values) != set(manifest.key) or any(value is None for value in values.values()):
            example = {name: "…" for name in manifest.key}
            raise InvalidInput(
                f"keys: number {number} does not name a row.", fix=f"Write each as {json.dumps(example)}."
            )
        found[json.dumps(values, sort_keys=True, default=str)] = {**values, column: True}
    return column, json_lines(list(found.values()))
