"""The column types of text sources: how each is recognised, what it is called in Arrow, how a caller may ask for it."""

from collections.abc import Mapping, Sequence

from lakehouse.errors import InvalidInput, did_you_mean

# DuckDB type -> str(arrow_type) of the Parquet column it becomes.
ARROW = {
    "BOOLEAN": "bool",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "DATE": "date32[day]",
    "TIMESTAMP": "timestamp[us]",
    "TIMESTAMPTZ": "timestamp[us, tz=UTC]",
    "VARCHAR": "string",
}

# Whether a cell {c} is of a type, as SQL, narrowest type first; a column has the first type that all its cells fit.
# DuckDB's own casts take more than these: 0x1F, NaN, yes, epoch, 2024/1/2, hour 24. What they would change is text.
_MOMENT = r"\d{{4}}-\d{{2}}-\d{{2}}[T ]([01]\d|2[0-3]):\d{{2}}(:\d{{2}}(\.\d{{1,6}})?)?"
FITS = {
    "BOOLEAN": "lower({c}) IN ('true', 'false')",
    "BIGINT": "CAST(TRY_CAST({c} AS BIGINT) AS VARCHAR) = trim({c})",
    "DOUBLE": (
        r"regexp_full_match({c}, ' *-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)? *')"
        # An integer of 16 digits and more would lose some of them.
        r" AND isfinite(TRY_CAST({c} AS DOUBLE)) AND NOT regexp_full_match({c}, ' *-?\d{{16,}} *')"
    ),
    "DATE": "length({c}) = 10 AND CAST(TRY_CAST({c} AS DATE) AS VARCHAR) = {c}",
    "TIMESTAMP": (
        f"regexp_full_match({{c}}, '{_MOMENT}') AND {{c}} > '0001' AND TRY_CAST({{c}} AS TIMESTAMP) IS NOT NULL"
    ),
    "TIMESTAMPTZ": (
        f"regexp_full_match({{c}}, '{_MOMENT}(Z|[+-]\\d{{{{2}}}}(:\\d{{{{2}}}})?)') AND {{c}} > '0001'"
        " AND TRY_CAST({c} AS TIMESTAMPTZ) IS NOT NULL"
    ),
}


KIND = {arrow: kind for kind, arrow in ARROW.items()}  # the other way round
# A cell of these types keeps its value in a column of that one.
_TAKES = {"TIMESTAMP": ("TIMESTAMP", "DATE")}


def keeps(kind: str, cell: str) -> str:
    """The SQL condition that a filled cell keeps its value in a dataset's column of a type."""
    if kind == "VARCHAR":
        return "true"
    return f"({' OR '.join(f'coalesce({fits(one, cell)}, false)' for one in _TAKES.get(kind, (kind,)))})"


def fits(kind: str, cell: str) -> str:
    """The SQL condition that a filled cell, named by an SQL name, fits a type."""
    # The longest that any type takes has 40 characters or so; long text need not be looked at.
    return f"CASE WHEN strlen({cell}) < 400 THEN {FITS[kind].format(c=cell)} ELSE false END"


_SPELLINGS = {
    "BOOLEAN": ("bool", "boolean"),
    "BIGINT": ("bigint", "int64", "int", "integer", "long"),
    "DOUBLE": ("double", "float64", "float", "real"),
    "DATE": ("date", "date32", "date32[day]"),
    "TIMESTAMP": ("timestamp", "timestamp[us]", "datetime"),
    "TIMESTAMPTZ": ("timestamptz", "timestamp with time zone", "timestamp[us, tz=utc]"),
    "VARCHAR": ("varchar", "string", "text", "str"),
}
_BY_SPELLING = {word: kind for kind, words in _SPELLINGS.items() for word in words}


def wanted(types: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """A caller's `types=` as DuckDB types by column name.

    Raises InvalidInput for a column that is not there and for a type that is not offered.
    """
    found = {}
    for name, spelled in types.items():
        if name not in names:
            columns = f"The columns are: {', '.join(names[:50])}."
            raise InvalidInput(f"types: there is no column {name!r}.", fix=did_you_mean(name, names, columns))
        found[name] = spelled_as(name, spelled)
    return found


def spelled_as(name: str, spelled: str) -> str:
    """The DuckDB type that a caller asks for. Raises InvalidInput for one that is not offered."""
    kind = _BY_SPELLING.get(spelled.strip().lower())
    if kind is None:
        raise InvalidInput(
            f"types: {spelled!r} for column {name!r} is not a type to ask for.",
            fix=f"Use one of {', '.join(ARROW)}.",
        )
    return kind


def empty(names: Sequence[str]) -> list[str]:
    """The warning that columns hold nothing: their type is a default, and data that comes later may have another."""
    shown = ", ".join(repr(name[:80]) for name in names[:10]) + (", …" if len(names) > 10 else "")
    return [f"no value in {shown}; stored as string (types= sets another type)"] if names else []


MAX_COLUMNS = 10_000


def check_names(names: Sequence[str], where: str) -> None:
    """Raises InvalidInput listing names that are empty, hold control marks, or are equal when case is ignored."""
    if not names:
        raise InvalidInput(f"{where} has no columns.", fix="A dataset needs at least one.")
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(f"{where} has {len(names)} columns; {MAX_COLUMNS} is the most.", fix="Split the table.")
    problems, places = [], dict[str, list[int]]()
    for position, name in enumerate(names, 1):
        if not name.strip():
            problems.append(f"column {position} has no name")
        elif any(mark in name for mark in "\x00\x1e\x1f"):
            problems.append(f"the name of column {position} holds a control character")
        else:
            places.setdefault(name.lower(), []).append(position)
    for found in places.values():
        if len(found) > 1:
            spelled = " and ".join(dict.fromkeys(repr(names[p - 1][:80]) for p in found))
            problems.append(f"columns {', '.join(map(str, found))} are all called {spelled}")
    if problems:
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InvalidInput(
            f"{where}: {'; '.join(problems[:20])}{more}.",
            fix="Give each column a name of its own; SQL does not tell upper from lower case.",
        )
