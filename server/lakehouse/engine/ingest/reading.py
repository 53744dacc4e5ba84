"""A source read by a child process: the Parquet file it wrote, and what there is to say of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse import config
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.ingest.options import Options
from lakehouse.engine.manifests import Column
from lakehouse.errors import Upstream


@dataclass(frozen=True)
class Read:
    """A finished Parquet file that nothing names yet. `source` tells what it was read from: sha256, bytes and more."""

    path: Path
    rows: int
    bytes: int
    sha256: str
    columns: tuple[Column, ...]
    warnings: tuple[str, ...]
    source: Mapping[str, Any]


async def read(
    path: Path, options: Options, folder: Path, settings: config.Ingest, held: Mapping[str, str] | None = None
) -> Read:
    """Have a child write a source as folder/data.parquet.

    `held` are the types of a dataset's columns: those that the source has are read as these, or not at all.

    Raises what it finds wrong with the source, and Upstream when it ends without an answer.
    """
    request = {
        "path": str(path),
        "source": options.source,
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "types": dict(options.types),
        "held": dict(held or {}),
        "sheet": options.sheet,
        "header_row": options.header_row,
        "source_column": options.source_column,
        "filename": options.provenance.get("file", path.name),
        **options.request,
    }
    setup = {
        "folder": str(folder),
        "max_bytes": settings.max_path_bytes,
        "max_cell_bytes": settings.max_cell_bytes,
        "memory_limit": settings.memory_limit,
        "threads": os.cpu_count() or 1,
    }
    child = await Child.start("lakehouse.engine.ingest.worker", setup)
    try:
        await child.send(request)
        while True:
            answer, _ = await child.receive()
            if "progress" not in answer:
                break
            percent, what = answer["progress"]
            await options.progress(percent, 100, what)
    except ChildDied:
        raise Upstream(
            "the process that reads the file ended without an answer.",
            fix="The file may be damaged in a way its reader does not survive, or memory ran out; "
            "write the file anew, or lower ingest.memory_limit.",
        ) from None
    finally:
        await child.aclose()
    return Read(
        folder / "data.parquet",
        answer["rows"],
        answer["bytes"],
        answer["sha256"],
        tuple(Column(column, kind) for column, kind in answer["columns"]),
        tuple(answer["warnings"]),
        answer["source"],
    )
