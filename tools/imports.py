"""Bring a folder of Parquet files in, all at once."""

from pathlib import Path
from typing import Annotated

from lakehouse import Lakehouse, tool
from lakehouse.engine.imports import Imported


@tool(
    "writes",
    name="import_datasets",
    route="/v1/import",
    title="Import a folder of datasets",
    toolset="data",
    long=True,
    idempotent=True,
    short="import FOLDER",
)
async def folder(
    lake: Lakehouse,
    folder: Annotated[Path, "With Parquet files or folders of them, or an older catalog."],
    plan: Annotated[bool, "Only say what would be imported."] = False,
) -> Imported:
    """Make each Parquet file of a folder, and each folder in it, a dataset of its name.

    For one dataset of many files use ingest_file. Example: {"folder": "exports", "plan": true}
    """
    from lakehouse.engine.imports import run

    return await run(
        lake.datasets,
        lake.ingest,
        lake.config.ingest,
        folder,
        plan=plan,
        anywhere=lake.via in ("python", "cli"),
        remote=lake.caller.remote,
        progress=lake.progress,
    )
