"""The whole data directory as one file."""

from pathlib import Path
from typing import Annotated

from lakehouse import Lakehouse, tool
from lakehouse.engine.backup import BackedUp


@tool(
    "writes",
    name="backup",
    route="/v1/backup",
    toolset="admin",
    title="Back up everything",
    long=True,
    short="backup PATH",
)
async def write(
    lake: Lakehouse,
    path: Annotated[Path, "As lake.tar.zst."],
    with_remote: Annotated[bool, "Remote buckets' objects, too."] = False,
    overwrite: Annotated[bool, "Replace a file."] = False,
) -> BackedUp:
    """Write the whole data directory, less credentials and caches, into one file, while work goes on.
    `lakehouse restore FILE --home NEW` makes a new one of it."""
    anywhere = lake.via in ("python", "cli")
    return await lake.backup.write(
        path,
        with_remote=with_remote,
        overwrite=overwrite,
        anywhere=anywhere,
        remote=lake.caller.remote,
        progress=lake.progress,
    )
