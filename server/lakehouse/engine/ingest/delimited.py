"""CSV and its like to Parquet: types guessed from the first rows, and every cell held to them while it is copied.

A guess is the narrowest type that the first rows fit, so one that all rows fit is the narrowest for the file. Where a
later cell breaks it, the whole file is looked at and copied again. That is one pass over most files, where a sniffer
takes two: of the 1.6 s of a raw strict copy of 350 MB, 0.57 go to `sniff_csv`.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from lakehouse.engine.ingest import kinds, rejects
from lakehouse.engine.ingest.dialect import Dialect, examine
from lakehouse.engine.ingest.engine import Engine, Table, literal_path
from lakehouse.engine.ingest.plain import Limits, bad_utf8, mixes_ends, uniform
from lakehouse.engine.quoting import identifier, literal
from lakehouse.errors import InvalidInput

_FIRST_ROWS = (256, 20_480)  # the few rule out most types, the many most of what would break later
_AT_ONCE = 500  # columns, or tests of them: a statement takes time and memory by the square of how many it has
_BUFFER = 32 * 2**20  # the reader's default of 16 lines a buffer is 256 MB at a limit of 16 MB a line


@dataclass(frozen=True)
class Reading:
    """One way to read the file: `read_csv` with everything pinned, columns named c0, c1, … and no types."""

    path: Path
    dialect: Dialect
    limits: Limits
    parallel: bool = True
    held: Mapping[str, str] = field(default_factory=dict)
    # No cell is NULL to the reader: it drops a surplus cell that is, so `1,2,` would pass under a header of two.
    null: str = field(default_factory=lambda: secrets.token_hex(16))

    def sql(self, types: Mapping[int, str] | None = None, more: str = "") -> str:
        """The table function; columns in `types` are read as those types and their empty cells are NULL."""
        columns = ", ".join(f"c{n}: {literal((types or {}).get(n, 'VARCHAR'))}" for n in range(len(self.dialect.names)))
        null = "" if types else self.null
        return (
            f"read_csv({literal_path(self.path)}, auto_detect = false, hive_partitioning = false, compression = 'none',"
            f" header = true, strict_mode = true,"
            f" delim = {literal(self.dialect.delimiter)}, quote = '\"', escape = '\"', nullstr = {literal(null)},"
            f" max_line_size = {self.limits.max_cell}, buffer_size = {max(_BUFFER, self.limits.max_cell)},"
            f" parallel = {str(self.parallel).lower()}, columns = {{{columns}}}{more})"
        )


def ingest(
    engine: Engine, limits: Limits, delimiter: str | None, types: Mapping[str, str], held: Mapping[str, str] = {}
) -> Table:
    """Write the engine's source, a plain UTF-8 file, as typed Parquet.

    `types` are asked for: cells are converted, as the engine does. `held` are the types of a dataset's columns: of
    those that are here, a cell that would not keep its value is an error.

    Raises InvalidInput for a file that is not consistently delimited, listing up to 100 bad rows in `data["rows"]`,
    and for values that contradict a type asked for.
    """
    dialect = examine(engine.source, delimiter)
    held = {name: held[name] for name in dialect.names if name in held and name not in types}
    asked = {**kinds.wanted(types, dialect.names), **held}
    reading = Reading(engine.source, dialect, limits, held=held)
    while True:
        try:
            return _written(engine, reading, asked)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            reading = _other_way(engine, reading, asked, error)


def _written(engine: Engine, reading: Reading, asked: Mapping[str, str]) -> Table:
    names = reading.dialect.names
    with engine.step("finding types", 0, 5):
        guessed, row_bytes = _guessed(engine, reading, asked)
    try:
        with engine.step("writing Parquet", 5, 95):
            rows = engine.write(_copied(reading, asked, guessed, check=True), row_bytes)
        found = guessed
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        with engine.step("finding types", 5, 20):
            found = _found(engine, reading, asked)
        if found == guessed:
            raise
        with engine.step("writing Parquet", 20, 95):
            rows = engine.write(_copied(reading, asked, found, check=False), row_bytes)
    if not reading.parallel and (lost := rejects.uncounted(reading, rows)):
        raise lost
    columns = [(column, kinds.ARROW[kind or "VARCHAR"]) for column, kind in zip(names, found, strict=True)]
    warnings = kinds.empty([column for column, kind in zip(names, found, strict=True) if kind is None])
    return Table(rows, columns, warnings, {"delimiter": reading.dialect.delimiter})


def _copied(reading: Reading, asked: Mapping[str, str], found: Sequence[str | None], *, check: bool) -> str:
    """The query for the typed rows; with `check`, a cell that its column's guessed type does not fit is an error."""
    cells = []
    for n, (column, kind) in enumerate(zip(reading.dialect.names, found, strict=True)):
        cell = f"c{n}"
        if check and kind != "VARCHAR" and column not in asked:
            fits = kinds.fits(kind, cell) if kind else "false"
            cell = f"CASE WHEN {cell} = '' OR {fits} THEN {cell} ELSE error('a cell breaks the guess') END"
        if column in reading.held:
            keeps = kinds.keeps(reading.held[column], cell)
            cell = f"CASE WHEN {cell} = '' OR {keeps} THEN {cell} ELSE error('a cell would change') END"
        cell = f"NULLIF({cell}, '')"
        cells.append(f"{cell if kind in (None, 'VARCHAR') else f'CAST({cell} AS {kind})'} AS {identifier(column)}")
    return f"SELECT {', '.join(cells)} FROM {reading.sql()}"


def _guessed(engine: Engine, reading: Reading, asked: Mapping[str, str]) -> tuple[list[str | None], int]:
    """The types that the first rows have, None for a column that is empty there, and the bytes of a row in them.

    Raises InvalidInput when there are no rows.
    """
    possible = _candidates(reading, asked)
    rows, total, fits = _first_fits(engine, reading)
    if not rows:
        raise (None if reading.parallel else rejects.uncounted(reading, 0)) or InvalidInput(
            "there is a header and no row.", fix="Add rows; an empty table cannot be stored."
        )
    possible = {n: [kind for kind in fitting if fits[n, kind] is not False] for n, fitting in possible.items()}
    fits = _fits(engine, f"(SELECT * FROM {reading.sql()} LIMIT {_FIRST_ROWS[1]})", possible)
    possible = {n: [kind for kind in fitting if fits[n, kind] is not False] for n, fitting in possible.items()}
    return _narrowest(reading, asked, possible, fits), total // rows


def _first_fits(engine: Engine, reading: Reading) -> tuple[int, int, dict[tuple[int, str], bool | None]]:
    """The number of the very first rows, their bytes, and what each column's cells fit in them."""
    # One row a cell: the tests are then the same few for any number of columns.
    tests = ", ".join(_fitting(kind, "cell") for kind in kinds.FITS)
    rows = total = 0
    fits: dict[tuple[int, str], bool | None] = {}
    for start in range(0, len(reading.dialect.names), _AT_ONCE):
        columns = range(start, min(start + _AT_ONCE, len(reading.dialect.names)))
        cells = ", ".join(f"c{n}" for n in columns)
        for n, count, size, *each in engine.rows(
            f"SELECT n, count(*), sum(strlen(cell)), {tests} FROM"
            f" (SELECT unnest(range({columns.start}, {columns.stop})) AS n, unnest([{cells}]) AS cell"
            f" FROM (SELECT {cells} FROM {reading.sql()} LIMIT {_FIRST_ROWS[0]})) GROUP BY n"
        ):
            rows, total = int(count), total + int(size)
            fits.update({(int(n), kind): fit for kind, fit in zip(kinds.FITS, each, strict=True)})
    return rows, total, fits


def _found(engine: Engine, reading: Reading, asked: Mapping[str, str]) -> list[str | None]:
    """The types that all rows have, None for a column that is empty."""
    possible = _candidates(reading, asked)
    fits = _fits(engine, reading.sql(), possible)
    return _narrowest(reading, asked, possible, fits)


def _candidates(reading: Reading, asked: Mapping[str, str]) -> dict[int, list[str]]:
    return {n: list(kinds.FITS) for n, column in enumerate(reading.dialect.names) if column not in asked}


def _narrowest(
    reading: Reading,
    asked: Mapping[str, str],
    possible: Mapping[int, Sequence[str]],
    fits: Mapping[tuple[int, str], bool | None],
) -> list[str | None]:
    found: list[str | None] = []
    for n, column in enumerate(reading.dialect.names):
        empty = column not in asked and bool(possible[n]) and fits[n, possible[n][0]] is None
        narrowest = next((kind for kind in possible.get(n, ()) if fits[n, kind]), "VARCHAR")
        found.append(None if empty else asked.get(column, narrowest))
    return found


def _fits(engine: Engine, table: str, possible: Mapping[int, Sequence[str]]) -> dict[tuple[int, str], bool | None]:
    """Whether every filled cell of a column fits a type; None where all are empty."""
    tests = [(n, kind) for n, fitting in possible.items() for kind in fitting]
    fits: dict[tuple[int, str], bool | None] = {}
    for start in range(0, len(tests), _AT_ONCE):
        part = tests[start : start + _AT_ONCE]
        asked = ", ".join(_fitting(kind, f"c{n}") for n, kind in part)
        fits.update(zip(part, engine.rows(f"SELECT {asked} FROM {table}")[0], strict=True))
    return fits


def _fitting(kind: str, cell: str) -> str:
    """The aggregate that is whether all filled cells fit a type, NULL where there are none."""
    # Not FILTER: each one holds buffers for the arguments of all, 1.3 GB for a thousand.
    return f"bool_and(CASE WHEN {cell} <> '' THEN coalesce({kinds.fits(kind, cell)}, false) END)"


def _other_way(engine: Engine, reading: Reading, asked: Mapping[str, str], error: duckdb.Error) -> Reading:
    """After a failure: another way to read the file if it may be sound, else the error that says where it is not."""
    problem = bad_utf8(reading.path)
    if problem is not None:
        raise problem from None
    if reading.path == engine.source and mixes_ends(reading.path):
        # The reader knows one kind of line end; files glued together from two systems have two.
        return replace(reading, path=uniform(reading.path, reading.limits))
    # Reading in parallel fails on sound files whose quoted cells look like rows. The other way is slower, and
    # silently drops a last row whose quote is never closed: then the rows are counted.
    careful = replace(reading, parallel=False)
    try:
        bad = rejects.find(engine, careful, asked) or rejects.changed(engine, careful)
    except duckdb.InvalidInputException:
        raise InvalidInput(
            "the rows cannot be told apart: quotes and line ends do not match up.",
            fix="Export it again with every cell that holds a quote, a delimiter or a line end in quotes.",
        ) from error
    if bad is not None:
        raise bad from None
    if reading.parallel:
        return careful
    raise error
