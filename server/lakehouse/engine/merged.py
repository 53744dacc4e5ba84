"""The rows of a version whose files are not simply one after another, read a batch at a time."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import Part, relation

if TYPE_CHECKING:
    import pyarrow


def batches(
    manifest: Manifest, paths: Sequence[Path], columns: Sequence[str], size: int, limit: int | None = None
) -> "Generator[pyarrow.RecordBatch, None, None]":
    """Batches of `size` rows of a version, in the same order each time; `paths` are its files. Blocking.

    Raises pyarrow's ArrowException and OSError as reading a Parquet file does.
    """
    import duckdb
    import pyarrow

    from lakehouse.engine.connection import connect

    parts = [Part(str(path), file.role, file.lacks) for path, file in zip(paths, manifest.objects, strict=True)]
    query = relation(parts, [column.name for column in manifest.columns], manifest.key)
    listed = ", ".join(map(identifier, columns))
    most = "" if limit is None else f" LIMIT {limit}"
    # One thread: several give the rows of a join in another order each time.
    db = connect(1, "512MB")
    try:
        db.execute("SET TimeZone = 'UTC'")
        yield from db.sql(f"SELECT {listed} FROM ({query}){most}").to_arrow_reader(size)
    except duckdb.Error as error:
        raise pyarrow.ArrowException(str(error)) from error
    finally:
        db.close()
