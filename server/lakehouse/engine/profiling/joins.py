"""Columns of different tables that likely name the same things: by name, type, and what values they have."""

from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse.engine.profiling.facts import ColumnFacts, Profile
from lakehouse.engine.profiling.measure import is_number

_MOST = 200
_BARE = ("id", "key", "code", "uuid", "no", "nr")
_WORDS = ("VARCHAR", "UUID", "DATE")


@dataclass(frozen=True)
class Join:
    """`many` names rows of another table by its unique column `one`; both are (table, column)."""

    many: tuple[str, str]
    one: tuple[str, str]


def joins(profiles: Sequence[Profile]) -> list[Join]:
    """Likely joins, each once, sorted: a column called as another table's unique one (customer_id), or as that table
    and its id (customers.id), of the same kind of type, whose values lie within the other's."""
    ones: dict[str, list[tuple[Profile, ColumnFacts]]] = {}
    for profile in profiles:
        for column in profile.columns:
            if column.unique:
                for name in _called(profile.name, column.name):
                    ones.setdefault(name, []).append((profile, column))
    found: dict[tuple[str, str, str, str], Join] = {}
    for profile in profiles:
        for column in profile.columns:
            for other, one in ones.get(_plain(column.name), ()):
                if other.name == profile.name or not _alike(column, one):
                    continue
                many, single = (profile.name, column.name), (other.name, one.name)
                if (*single, *many) not in found:  # of two unique ones, each names the other
                    found[*many, *single] = Join(many, single)
    return sorted(found.values(), key=lambda join: (join.many, join.one))[:_MOST]


def _called(table: str, column: str) -> set[str]:
    """How columns of other tables call a unique column."""
    plain = _plain(column)
    if plain not in _BARE:
        return {plain}
    whole = _plain(table)
    singular = whole[:-3] + "y" if whole.endswith("ies") else whole[:-1] if whole.endswith("s") else whole
    return {f"{name}{end}" for name in (whole, singular) for end in (plain, "")}


def _plain(name: str) -> str:
    return "".join(mark for mark in name.lower() if mark.isalnum())


def _alike(many: ColumnFacts, one: ColumnFacts) -> bool:
    if is_number(many.type) != is_number(one.type):
        return False
    if not is_number(many.type) and (many.type != one.type or many.type not in _WORDS):
        return False
    ends = (many.min, many.max, one.min, one.max)
    if any(end is None or isinstance(end, bool) for end in ends) or len({isinstance(end, str) for end in ends}) != 1:
        return True  # nothing is known against it
    return bool(ends[0] <= ends[3] and ends[1] >= ends[2])
