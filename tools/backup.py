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
    path: Annotated[Path, "The file to write, for instance lake.tar.zst; it must not be there."],
    with_remote: Annotated[bool, "With the objects of buckets that lie elsewhere."] = False,
) -> BackedUp:
    """Write the whole data directory into one file; work goes on meanwhile. `lakehouse restore FILE --home NEW` makes
    a new one of it. Credentials and caches are not in it."""
    anywhere = lake.via in ("python", "cli")
    return await lake.backup.write(
        path, with_remote=with_remote, anywhere=anywhere, remote=lake.caller.remote, progress=lake.progress
    )
