"""Sound rows apart from the others: a source of which some rows cannot be read becomes one of those that can.

Runs in the reading process. The rows set aside are `rejects.parquet` in its folder, in the order of the source.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.delimited import Reading
from lakehouse.engine.ingest.dialect import examine
from lakehouse.engine.ingest.documents import convert
from lakehouse.engine.ingest.engine import Engine, Table, literal_path
from lakehouse.engine.ingest.plain import Limits, uniform
from lakehouse.engine.ingest.rejects import LISTED, VALUE_CHARS, listed
from lakehouse.engine.ingest.rows import Fault, Row, delimited, objects
from lakehouse.engine.quoting import identifier, literal
from lakehouse.errors import InvalidInput

REJECTS = Path("rejects.parquet")
SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
_BATCH = 4096
_SIFTED = ("csv", "tsv", "json", "jsonl", "parquet")
Read = Callable[[Mapping[str, str]], Table]


@dataclass(frozen=True)
class Text:
    """How a source is read: its format, and the delimiter where that is known."""

    source: str
    limits: Limits
    delimiter: str | None

    @property
    def json(self) -> bool:
        """Whether it is one of JSON objects."""
        return self.source in ("json", "jsonl")


def ingest(
    engine: Engine, text: Text, types: Mapping[str, str], held: Mapping[str, str], read: Read
) -> tuple[Table, int]:
    """Write the sound rows of the engine's source as Parquet by `read(types)`; they and how many were set aside.

    A value that is not of a type asked for (`types`), or of the dataset's column (`held`), is no sound one.
    Raises InvalidInput when no row is sound, and when the rows cannot be told apart.
    """
    if text.source not in _SIFTED:
        return read(types), 0
    if text.source == "parquet":
        types = {**_other_types(engine, held), **types}
    try:
        return read(types), 0
    except InvalidInput:
        if text.source == "parquet":
            rejected = _sift_parquet(engine, types)
        else:
            rejected = _sift_text(engine, text, types, held)
        if not rejected:
            raise
    return read(types), rejected


def rows_of(path: Path, text: Text) -> Iterator[Row]:
    """The rows of a plain text source in their order, sound or not."""
    if text.json:
        return objects(path, text.limits, _one_a_line(path, text.source))
    dialect = examine(path, text.delimiter, lenient=True)
    with path.open("rb") as file:
        head = file.read(2**20)
    if b"\r" in head and b"\n" not in head:
        path = uniform(path, text.limits)
    return delimited(path, dialect.delimiter, dialect.names, text.limits)


def _one_a_line(path: Path, source: str) -> bool:
    """Whether a JSON file has an object a line: one that is called so, or whose first line is one of several."""
    if source == "jsonl":
        return True
    with path.open("rb") as file:
        first = file.readline(2**20).strip()
        return first.startswith(b"{") and first.endswith(b"}") and bool(file.readline(2**20).strip())


def _sift_text(engine: Engine, text: Text, types: Mapping[str, str], held: Mapping[str, str]) -> int:
    original = engine.source
    if text.json:
        spelled = {**held, **{column: kinds.spelled_as(column, kind) for column, kind in types.items()}}
        engine.source, count = _split(
            rows_of(original, text), Path("sound.jsonl"), b"", lambda _, row: _misfit(row, spelled)
        )
        return count
    dialect = examine(original, text.delimiter, lenient=True)
    asked = kinds.wanted(types, dialect.names)
    header, misfits = _header(dialect.names, dialect.delimiter), dict[int, Fault]()
    sound, count = _split(rows_of(original, text), Path("sound.csv"), header, lambda n, _: misfits.get(n))
    engine.source = sound
    held = {column: kind for column, kind in held.items() if column not in asked}
    misfits |= _misfits(engine, Reading(sound, dialect, text.limits), asked, held)
    if misfits:
        sound, count = _split(rows_of(original, text), Path("sound.csv"), header, lambda n, _: misfits.get(n))
    return count


def _split(
    rows: Iterable[Row], sound: Path, header: bytes, fault: Callable[[int, Row], Fault | None]
) -> tuple[Path, int]:
    """Write the sound rows as a file, the others as rejects; the file, and how many the others are."""
    kept = sound_rows = 0
    with sound.open("wb") as file, Rejects(REJECTS) as rejects:
        file.write(header)
        for row in rows:
            found = row.fault or fault(kept + 1, row)
            kept += row.fault is None
            if found is None:
                sound_rows += 1
                file.write(row.raw + b"\n")
            else:
                rejects.add(row.line, found, row.raw.decode("utf-8", "replace"))
    if not sound_rows and rejects.count:
        raise none_sound()
    return sound, rejects.count


def none_sound() -> InvalidInput:
    """The error for a source of which nothing would be left; without quarantine, it is said what is wrong."""
    rows = pq.ParquetFile(REJECTS).read_row_group(0).slice(0, LISTED).select(["line", "column", "value", "reason"])
    error = listed(rows.to_pylist())
    return InvalidInput(f"no row can be stored: {error.detail}", fix="Check delimiter and types.", data=error.data)


class Rejects:
    """A file of rows set aside, written a batch at a time."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._batch: list[tuple[int, str | None, str, str, str]] = []

    def add(self, line: int, fault: Fault, raw: str) -> None:
        """One more row."""
        self.count += 1
        self._batch.append((line, fault.column, fault.value[:VALUE_CHARS], fault.reason, raw))
        if len(self._batch) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        columns = [
            pa.array(values, field.type) for values, field in zip(zip(*self._batch, strict=True), SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self._batch.clear()

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *_: object) -> None:
        if self._batch:
            self._flush()
        self._writer.close()


def _header(names: tuple[str, ...], delimiter: str) -> bytes:
    import csv

    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _misfits(engine: Engine, reading: Reading, asked: Mapping[str, str], held: Mapping[str, str]) -> dict[int, Fault]:
    """The rows of a sound file, by number, with a cell that is not of the type its column is to have."""
    found: dict[int, Fault] = {}
    for n, name in reversed([*enumerate(reading.dialect.names)]):
        kind = asked.get(name) or held.get(name, "VARCHAR")
        if kind == "VARCHAR":
            continue
        fits = f"TRY_CAST(cell AS {kind}) IS NOT NULL" if name in asked else kinds.keeps(kind, "cell")
        for way in (reading, replace(reading, parallel=False)):
            numbered = f"SELECT row_number() OVER () AS place, c{n} AS cell FROM {way.sql()}"
            try:
                rows = engine.rows(f"SELECT * FROM ({numbered}) WHERE cell <> '' AND NOT ({fits})")
                break
            except (duckdb.InvalidInputException, duckdb.ConversionException):
                # Reading in parallel fails on sound files whose quoted cells look like rows.
                if not way.parallel:
                    raise
        for place, cell in rows:
            shown = str(cell)[:VALUE_CHARS]
            found[int(place)] = Fault(name, shown, f"{shown!r} is not a {kind}")
    return found


def _misfit(row: Row, types: Mapping[str, str]) -> Fault | None:
    for name, kind in types.items():
        value = row.values.get(name)
        if value is None:
            continue
        try:
            convert(kind, value, row.line)
        except (ValueError, TypeError, KeyError, OverflowError):
            shown = str(value)[:VALUE_CHARS]
            return Fault(name, shown, f"{shown!r} is not a {kind}")
    return None


def _other_types(engine: Engine, held: Mapping[str, str]) -> dict[str, str]:
    """Of a dataset's types, those that a Parquet file's columns do not have."""
    try:
        fields = pq.read_schema(engine.source)
    except (pa.ArrowException, OSError):
        return {}  # reading it says what is wrong
    return {
        field.name: held[field.name]
        for field in fields
        if kinds.KIND.get(str(field.type)) != held.get(field.name, "") and field.name in held
    }


def _sift_parquet(engine: Engine, types: Mapping[str, str]) -> int:
    """Rows of a Parquet file whose values are not of the types asked for are set aside; their line is their number."""
    if not types:
        return 0
    names = pq.read_schema(engine.source).names
    asked = kinds.wanted(types, names)
    table = f"read_parquet({literal_path(engine.source)}, hive_partitioning = false, file_row_number = {{}})"
    cells = {column: identifier(column) for column in asked}
    tests = {c: f"({cells[c]} IS NOT NULL AND TRY_CAST({cells[c]} AS {kind}) IS NULL)" for c, kind in asked.items()}
    text = {column: f"left(CAST({cells[column]} AS VARCHAR), {VALUE_CHARS})" for column in asked}
    said = {c: " || ".join([literal("'"), text[c], literal(f"' is not a {kind}")]) for c, kind in asked.items()}
    named = ", ".join(f"{literal(name)}: {identifier(name)}" for name in names)

    def first(values: Mapping[str, str]) -> str:
        return "CASE " + " ".join(f"WHEN {test} THEN {values[c]}" for c, test in tests.items()) + " END"

    some = " OR ".join(tests.values())
    rejects = (
        f'SELECT file_row_number + 1 AS line, {first({c: literal(c) for c in asked})} AS "column",'
        f" {first(text)} AS value, {first(said)} AS reason, CAST(to_json({{{named}}}) AS VARCHAR) AS raw"
        f" FROM {table.format('true')} WHERE {some} ORDER BY line"
    )
    count = int(engine.rows(f"COPY ({rejects}) TO {literal(str(REJECTS))} (FORMAT parquet, COMPRESSION zstd)")[0][0])
    if count and not int(engine.rows(f"SELECT count(*) FROM {table.format('false')} WHERE NOT ({some})")[0][0]):
        raise none_sound()
    if count:
        sound = Path("sound.parquet")
        query = f"SELECT * FROM {table.format('false')} WHERE NOT ({some})"
        engine.rows(f"COPY ({query}) TO {literal(str(sound))} (FORMAT parquet)")
        engine.source = sound
    return count
