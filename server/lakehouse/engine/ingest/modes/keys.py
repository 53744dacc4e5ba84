"""Keys: the columns whose values name a row, so every row has all of them and no two rows the same."""

from collections.abc import Sequence
from typing import Any

from lakehouse.engine.datasets import Column
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import fresh
from lakehouse.engine.tables import Desk
from lakehouse.errors import Conflict, InvalidInput, did_you_mean

_LISTED = 20
_SHOWN = 3
_VALUE_CHARS = 60


def key_of(current: Manifest | None, asked: Sequence[str], columns: Sequence[Column]) -> tuple[str, ...]:
    """The key of the next version: the dataset's, or the one asked for where it has none.

    Raises InvalidInput when none is known, and for a column that is not there; Conflict when the dataset has another.
    """
    known = current.key if current is not None else ()
    key = tuple(asked) or known
    if not key:
        raise InvalidInput(
            "key: the dataset has none yet.", fix='Name the columns that tell rows apart, for instance key=["id"].'
        )
    if known and set(key) != set(known):
        raise Conflict(
            f"key: the rows of this dataset are named by {', '.join(known)}.",
            fix="Leave key out; mode=replace with another key gives the dataset that one.",
        )
    check_columns(key, columns)
    return known or key


def check_columns(key: Sequence[str], columns: Sequence[Column]) -> None:
    """Raises InvalidInput for a column that is not there or is named twice."""
    names = [column.name for column in columns]
    for name in key:
        if name not in names:
            there = f"The columns are: {', '.join(names[:50])}."
            raise InvalidInput(f"key: there is no column {name!r}.", fix=did_you_mean(name, names, there))
    if len(set(key)) != len(key):
        raise InvalidInput("key: a column is named twice.", fix="Name each once.")


async def check_rows(desk: Desk, table: str, key: Sequence[str], what: str) -> None:
    """Raises InvalidInput listing rows of a table, counted from 1, whose key is incomplete or another row's."""
    columns = ", ".join(map(identifier, key))
    row, count = identifier(fresh("row", key)), identifier(fresh("n", key))
    shown = ", ".join(f"left(CAST({identifier(name)} AS VARCHAR), {_VALUE_CHARS})" for name in key)
    numbered = f"SELECT row_number() OVER () AS {row}, {columns} FROM {identifier(table)}"
    no_value = " OR ".join(f"{identifier(name)} IS NULL" for name in key)
    missing = await desk.rows(f"SELECT {row} FROM ({numbered}) WHERE {no_value} ORDER BY 1 LIMIT {_LISTED + 1}")
    twice = await desk.rows(
        f"SELECT min({row}), max({row}), count(*) AS {count}, {shown} FROM ({numbered}) WHERE NOT ({no_value})"
        f" GROUP BY {columns} HAVING count(*) > 1 ORDER BY 1 LIMIT {_LISTED + 1}"
    )
    bad: list[dict[str, Any]] = [{"row": n, "reason": f"row {n} has no {' or '.join(key)}"} for (n,) in missing]
    for first, last, n, *values in twice:
        named = ", ".join(map(str, values))
        more = " and others" if n > 2 else ""
        bad.append({"row": first, "reason": f"rows {first} and {last}{more} are all {named!r}", "key": values})
    if bad:
        bad.sort(key=lambda one: one["row"])
        more = f"; and {len(bad) - _SHOWN}{' or' if len(bad) > _LISTED else ''} more" if len(bad) > _SHOWN else ""
        raise InvalidInput(
            f"key: {', '.join(key)} does not name the rows of {what}: "
            f"{'; '.join(one['reason'] for one in bad[:_SHOWN])}{more}.",
            fix="Give each row a key of its own; nothing was stored.",
            data={"rows": bad[:_LISTED]},
        )
