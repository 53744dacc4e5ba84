"""Parquet to our Parquet: read in the child and written anew, since a crafted file must never be served as it came."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet

from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.engine import Engine, Table, literal_path
from lakehouse.engine.ingest.rejects import LISTED, VALUE_CHARS, listed
from lakehouse.engine.quoting import identifier
from lakehouse.errors import InvalidInput


def ingest(engine: Engine, types: Mapping[str, str]) -> Table:
    """Write the engine's source anew, its types kept but where others are asked for.

    Raises InvalidInput when the file is damaged, and listing up to 100 values that contradict a type asked for; their
    `line` is the row.
    """
    try:
        with pa.parquet.ParquetFile(engine.source) as file:
            names = file.schema_arrow.names
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            row_bytes = sum(group.total_byte_size for group in groups) // max(1, file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(
            f"the file cannot be read as Parquet: {str(error)[:200].rstrip('.')}.", fix="Write the file again."
        ) from None
    kinds.check_names(names, "the schema")
    asked = kinds.wanted(types, names)
    cells = [f"CAST({identifier(c)} AS {asked[c]}) AS {identifier(c)}" if c in asked else identifier(c) for c in names]
    table = f"read_parquet({literal_path(engine.source)}, hive_partitioning = false, file_row_number = {{}})"
    with engine.step("writing Parquet", 0, 95):
        try:
            rows = engine.write(f"SELECT {', '.join(cells)} FROM {table.format('false')}", row_bytes)
        except duckdb.ConversionException:
            bad = _misfits(engine, table.format("true"), asked)
            if bad:
                raise listed(bad) from None
            raise
    return Table(rows, written_columns(engine.target), [], {})


def written_columns(path: Path) -> list[tuple[str, str]]:
    """The columns of a Parquet file by name and str(arrow_type)."""
    return [(field.name, str(field.type)) for field in pa.parquet.read_schema(path)]


def _misfits(engine: Engine, table: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    bad: list[dict[str, Any]] = []
    for column, kind in asked.items():
        cell = identifier(column)
        found = engine.rows(
            f"SELECT file_row_number + 1, left(CAST({cell} AS VARCHAR), {VALUE_CHARS}) FROM {table}"
            f" WHERE {cell} IS NOT NULL AND TRY_CAST({cell} AS {kind}) IS NULL LIMIT {LISTED}"
        )
        bad += [
            {"line": line, "column": column, "value": value, "reason": f"{value!r} is not a {kind}"}
            for line, value in found
        ]
    return sorted(bad, key=lambda row: row["line"])[:LISTED]
