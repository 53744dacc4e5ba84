"""Remove what is not needed any more; verify what is stored."""

from typing import Annotated

from lakehouse import Lakehouse, tool
from lakehouse.engine.upkeep.fsck import Checked, Damage
from lakehouse.engine.upkeep.gc import Collected


@tool(
    "destroys",
    name="gc",
    route="/v1/upkeep/gc",
    toolset="admin",
    title="Remove what is not needed",
    long=True,
    idempotent=True,
    short="gc",
)
async def gc(lake: Lakehouse, dry_run: Annotated[bool, "Only list what would go, and why."] = False) -> Collected:
    """Remove data files that no version names, and versions and runs that [datasets] and [workflows] do not keep
    (default: all).

    Look with dry_run first: what is removed cannot be restored.
    """
    from lakehouse.engine.upkeep.gc import collect

    # Whatever runs longer than a call may is over by then.
    grace = max(3600.0, 2 * lake.config.server.long_timeout_secs)
    settings = lake.config.datasets
    with lake.storage.removals.alone():
        done = await collect(lake.datasets, settings, dry_run=dry_run, grace=grace, progress=lake.progress)
    forgotten = await lake.workflows.collect(dry_run=dry_run)
    done.runs, done.bytes = len(forgotten.runs), done.bytes + forgotten.bytes
    if not dry_run:
        after = done.model_dump(include={"versions", "files", "runs", "bytes"})
        await lake.record("gc", "home", "datasets", after=after)
    return done


@tool(name="fsck", route="/v1/upkeep/fsck", toolset="admin", title="Verify everything stored", long=True, short="fsck")
async def fsck(lake: Lakehouse) -> Checked:
    """Read manifests, data files, vector indexes, journal, profiles, runs against their hashes; names what is damaged.

    It reads every stored byte. For the installation itself use doctor.
    """
    from lakehouse.engine.upkeep.fsck import check

    done = await check(lake.storage, lake.datasets, lake.vectors, progress=lake.progress)
    done.damaged += [Damage(bucket="", key=key, what=what) for key, what in await lake.workflows.store.faults()]
    done.ok = not done.damaged
    return done
