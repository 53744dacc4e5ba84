"""Runs that are forgotten: which ones the settings do not keep, and folders that no run is left to name."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import anyio.to_thread

from lakehouse import config
from lakehouse.engine.workflows.runs.record import OVER, RunRecord
from lakehouse.engine.workflows.runs.store import Store
from lakehouse.errors import Conflict

_PAGE = 500
Claim = Callable[[str], AbstractContextManager[None]]
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten, or would be: runs, those below them among them, and bytes of their folders."""

    runs: tuple[str, ...] = ()
    bytes: int = 0


async def forget(store: Store, settings: config.Workflows, claim: Claim, *, dry_run: bool = False) -> Forgotten:
    """Forget the runs over `keep_runs`, counted from the newest, and those that began over `keep_days` ago.

    Runs that are paused, interrupted or run now stay, and so does what is below them. Folders of runs that are not in
    the file go, too. `claim` keeps others from going on with a run meanwhile, and raises Conflict where one runs.
    """
    with ExitStack() as claimed:
        return await _forgotten(store, settings, claim, claimed, dry_run)


async def _forgotten(
    store: Store, settings: config.Workflows, claim: Claim, claimed: ExitStack, dry_run: bool
) -> Forgotten:
    def free(run: str) -> bool:
        try:
            claimed.enter_context(claim(run))
        except Conflict:
            return False
        return True

    chosen: list[str] = []
    if settings.keep_runs or settings.keep_days:
        kept = 0
        oldest = time.time() - settings.keep_days * DAY if settings.keep_days else 0.0
        page: list[RunRecord] = []
        while page := await store.runs(_PAGE, roots=True, before=page[-1].id if page else None):
            for record in page:
                kept += 1
                old = record.started_at < oldest or (settings.keep_runs and kept > settings.keep_runs)
                if old and record.status in OVER and free(record.id):
                    chosen.append(record.id)
    found = list(chosen)
    for run in chosen:
        found += [record.id for record in await store.below(run)]
    strays = await _strays(store, free)
    size = await anyio.to_thread.run_sync(lambda: sum(map(store.outputs.size, [*found, *strays])))
    if not dry_run:
        await store.remove(found)
        await anyio.to_thread.run_sync(store.outputs.remove, *strays)
    return Forgotten(tuple(found), size)


async def _strays(store: Store, free: Callable[[str], bool]) -> list[str]:
    folders = await anyio.to_thread.run_sync(store.outputs.folders)
    return [run for run in folders if await store.find(run) is None and free(run)]
