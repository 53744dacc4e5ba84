"""How the files of a dataset's version are read as one table: the SQL of base files, deltas and deletions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lakehouse.engine.quoting import identifier, literal

DELETED = "_deleted"  # the column of a delta that says a row is gone


@dataclass(frozen=True)
class Part:
    """One file as an engine opens it, with what its manifest says of it (see DataFile)."""

    path: str
    role: str = "base"
    lacks: tuple[str, ...] = ()


def fresh(name: str, columns: Iterable[str]) -> str:
    """A name that none of the columns has, as SQL compares names: this one, with underscores before it if need be."""
    taken = {column.lower() for column in columns}
    while name.lower() in taken:
        name = f"_{name}"
    return name


def marker(columns: Sequence[str], lacks: Sequence[str] = ()) -> str:
    """The column of a delta that says a row is gone: `_deleted`, unless the data has a column of that name.

    `columns` are those of the dataset, `lacks` those that were added after the delta was written.
    """
    absent = set(lacks)
    return fresh(DELETED, [column for column in columns if column not in absent])


def relation(parts: Sequence[Part], columns: Sequence[str], key: Sequence[str] = ()) -> str:
    """A SELECT of the rows of a version: for each key the newest delta wins, and none where that says deleted.

    `columns` are those of the version, `parts` its files, oldest first. Deltas need a `key` whose values are never
    null and, within one file, never twice the same. Without deltas the rows have the order of the files.
    """
    listed = ", ".join(map(identifier, columns))
    bases = _rows([part for part in parts if part.role == "base"], columns)
    deltas = [part for part in parts if part.role == "delta"]
    if not deltas:
        return bases
    keys = ", ".join(map(identifier, key))
    return (
        f"WITH _changes AS ({changes(deltas, columns, key)}) "
        f"SELECT {listed} FROM ({bases}) ANTI JOIN _changes USING ({keys}) "
        f"UNION ALL SELECT {listed} FROM _changes WHERE NOT {identifier(marker(columns))}"
    )


def changes(deltas: Sequence[Part], columns: Sequence[str], key: Sequence[str]) -> str:
    """A SELECT of what deltas, oldest first, change in all: the newest row of each key, with its marker."""
    deleted = identifier(marker(columns))
    at = identifier(fresh("_at", columns))
    rows = " UNION ALL ".join(
        f"SELECT {_listed(columns, part.lacks)}, {identifier(marker(columns, part.lacks))} AS {deleted},"
        f" {number} AS {at} FROM {scan([part])}"
        for number, part in enumerate(deltas)
    )
    listed = ", ".join(map(identifier, columns))
    newest = ""
    if len(deltas) > 1:
        # Deltas are small: the newest of each key first, so that the base is joined once.
        keys = ", ".join(map(identifier, key))
        newest = f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {at} DESC) = 1"
    return f"SELECT {listed}, {deleted} FROM ({rows}){newest}"


def _rows(parts: Sequence[Part], columns: Sequence[str]) -> str:
    """The rows of files one after another; a column that a file lacks is null."""
    groups: list[list[Part]] = []
    for part in parts:
        if groups and groups[-1][0].lacks == part.lacks:
            groups[-1].append(part)
        else:
            groups.append([part])
    return " UNION ALL ".join(f"SELECT {_listed(columns, g[0].lacks)} FROM {scan(g)}" for g in groups)


def _listed(columns: Sequence[str], lacks: Sequence[str]) -> str:
    absent = set(lacks)
    return ", ".join(f"NULL AS {identifier(name)}" if name in absent else identifier(name) for name in columns)


def scan(parts: Sequence[Part]) -> str:
    """The table function that reads files one after another, with their own columns."""
    # Options of the reader that would add columns are off: a folder called a=1 above the data must not.
    files = ", ".join(literal(part.path) for part in parts)
    return f"read_parquet([{files}], hive_partitioning = false, filename = false, file_row_number = false)"
