"""A source read by a child process: the Parquet file it wrote, and what there is to say of it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse import config
from lakehouse.engine import files
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.ingest.options import Options
from lakehouse.engine.manifests import Column
from lakehouse.engine.progress import unheard
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
    rejected: int = 0


async def read(
    path: Path, options: Options, folder: Path, settings: config.Ingest, held: Mapping[str, str] | None = None
) -> Read:
    """Have a child write a source as folder/data.parquet.

    `held` are the types of a dataset's columns: those that the source has are read as these, or not at all.
    With `options.quarantine`, rows that cannot be read are written as folder/rejects.parquet instead.

    Raises what it finds wrong with the source, and Upstream when it ends without an answer.
    """
    request = {
        **_request(path, options),
        "held": dict(held or {}),
        "quarantine": options.quarantine,
    }
    answer = await _answer(request, options, folder, settings)
    return Read(
        folder / "data.parquet",
        answer["rows"],
        answer["bytes"],
        answer["sha256"],
        tuple(Column(column, kind) for column, kind in answer["columns"]),
        tuple(answer["warnings"]),
        answer["source"],
        answer.get("rejected", 0),
    )


async def locate(
    path: Path,
    options: Options,
    folder: Path,
    settings: config.Ingest,
    *,
    rows: Sequence[int] = (),
    merge: bool = False,
) -> dict[int, int]:
    """The lines that rows of folder/data.parquet, by number, have in a source with lines.

    With `merge`, the rows of folder/broken.parquet join folder/rejects.parquet, in the order of the source.
    """
    request = {**_request(path, options), "do": "locate", "rows": sorted(set(rows)), "merge": merge}
    answer = await _answer(request, replace(options, progress=unheard), folder, settings)
    return {int(row): int(line) for row, line in answer["lines"]}


async def rejects_of(folder: Path) -> dict[str, Any]:
    """What there is to say of folder/rejects.parquet: rows, bytes, sha256."""

    def facts() -> dict[str, Any]:
        import pyarrow.parquet

        file = folder / "rejects.parquet"
        rows = pyarrow.parquet.read_metadata(file).num_rows
        return {"rows": rows, "bytes": file.stat().st_size, "sha256": files.sha256_of(file)}

    return await anyio.to_thread.run_sync(facts)


def _request(path: Path, options: Options) -> dict[str, Any]:
    return {
        "path": str(path),
        "source": options.source,
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "types": dict(options.types),
        "sheet": options.sheet,
        "header_row": options.header_row,
        "source_column": options.source_column,
        "filename": options.provenance.get("file", path.name),
        **options.request,
    }


async def _answer(
    request: Mapping[str, Any], options: Options, folder: Path, settings: config.Ingest
) -> dict[str, Any]:
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
                return answer
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
