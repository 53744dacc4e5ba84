"""Whether an open lake can be used now, and what of its data is damaged. Cheap enough to be asked every second."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import anyio

from lakehouse.errors import LakehouseError, NotFound
from lakehouse.lake import Lakehouse

LIMIT_SECS = 5.0


@dataclass(frozen=True)
class Part:
    """One thing a lake needs. Without a `required` one that is ok nothing works."""

    name: str
    ok: bool
    detail: str
    required: bool = True


async def readiness(lake: Lakehouse, limit: float | None = LIMIT_SECS) -> list[Part]:
    """The data directory, the storage and the catalog; each is given `limit` seconds. It raises nothing."""
    if not (held := await _within(limit, "data directory", lambda: _held(lake))).ok or lake.attached_to:
        return [held]
    stored = await _within(limit, "storage", lambda: _stored(lake))
    if not stored.ok:
        return [held, stored]
    return [held, stored, await _within(limit, "catalog", lambda: _known(lake)), _journalled(lake)]


async def _held(lake: Lakehouse) -> Part:
    await lake.start()
    # Not who: its command line is nobody's business over the network.
    how = "attached to the process that owns it" if lake.attached_to else "owned by this process"
    return Part("data directory", True, how)


async def _stored(lake: Lakehouse) -> Part:
    try:
        await lake.storage.bucket.head(f"_probe/{uuid4().hex}")  # it is not there: the store has answered
    except NotFound:
        pass
    return Part("storage", True, f"bucket {lake.storage.bucket.name} answers")


async def _known(lake: Lakehouse) -> Part:
    found = await lake.datasets.list()
    problems = lake.datasets.problems + [f"index {name}: {why}" for name, why in sorted(lake.vectors.problems.items())]
    if problems:
        return Part("catalog", False, " ".join(problems), required=False)
    return Part("catalog", True, f"{len(found)} datasets")


def _journalled(lake: Lakehouse) -> Part:
    problems = lake.journal.problems
    return Part("journal", not problems, " ".join(problems) or "every change is on record", required=False)


async def _within(limit: float | None, name: str, look: Callable[[], Awaitable[Part]]) -> Part:
    with anyio.move_on_after(limit):
        try:
            return await look()
        except LakehouseError as error:
            return Part(name, False, f"{error.detail} {error.fix}".strip())
    return Part(name, False, f"it did not answer within {limit:g} seconds")
