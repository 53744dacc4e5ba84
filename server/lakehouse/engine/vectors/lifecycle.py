"""How an index begins, ends, is replaced: its first and its last generation. Load it in a worker thread."""

import logging
from contextlib import suppress

from lakehouse.engine import moment
from lakehouse.engine.storage import KeyExists
from lakehouse.engine.vectors import format
from lakehouse.engine.vectors.format import Manifest
from lakehouse.engine.vectors.index import Index
from lakehouse.engine.vectors.items import IndexDamaged, IndexExists, IndexNotFound
from lakehouse.engine.vectors.objects import Objects
from lakehouse.errors import Conflict, LakehouseError

log = logging.getLogger("lakehouse")


async def free_epoch(objects: Objects, after: int) -> int:
    """An epoch for a new index of this name, later than `after`. Raises IndexExists.

    What a deleted index of the name has left is removed first.
    """
    generations = await objects.generations()
    if generations:
        try:
            deleted = (await objects.manifest(generations[-1])).deleted
        except IndexDamaged:
            deleted = False
        if not deleted:
            raise _taken(objects.index)
        await objects.collect()
        after = max(after, generations[-1].epoch)
    return max(format.seconds(), after + 1)


async def later_epoch(objects: Objects, after: int) -> int:
    """An epoch for what is to replace an index, later than the index and `after`, whatever the clock says."""
    generations = await objects.generations()
    return max(format.seconds(), after + 1, *(number.epoch + 1 for number in generations[-1:]))


async def begin(objects: Objects, manifest: Manifest) -> None:
    """Store the first generation of an index. Raises IndexExists when another process was faster."""
    try:
        await objects.put_manifest(manifest)
    except KeyExists:
        raise _taken(objects.index) from None
    # Another process may have created it in another second, under another number: the first one stays.
    if any(number < manifest.number for number in await objects.generations()):
        await objects.bucket.delete(format.manifest_key(objects.index, manifest.number))
        raise _taken(objects.index)


async def end(objects: Objects, index: Index | None) -> int:
    """Store the generation that says the index is deleted; its epoch. Raises IndexNotFound when there is none.

    A damaged index ends like any other.
    """
    while generations := await objects.generations():
        try:
            newest = await objects.manifest(generations[-1])
        except IndexDamaged:
            newest = Manifest(generations[-1], 0, "cosine", moment.now())
        if newest.deleted:
            break
        try:
            await _store(objects, index, newest.successor(deleted=True, segments=(), retained=()))
        except KeyExists:
            continue
        return newest.number.epoch
    raise IndexNotFound(f"there is no vector index called {objects.index!r}.")


async def switch(objects: Objects, manifest: Manifest) -> None:
    """Store the first generation of a later epoch: whatever was there before is replaced in one step.

    Whoever has the index open holds `changing` and `committing`. Raises Conflict when another index was made
    meanwhile, which stays.
    """
    generations = await objects.generations()
    if not generations or generations[-1] < manifest.number:
        with suppress(KeyExists):
            await objects.put_manifest(manifest)
            if (await objects.generations())[-1].epoch == manifest.number.epoch:
                return
            await objects.bucket.delete(format.manifest_key(objects.index, manifest.number))
    raise Conflict(
        f"vector index {objects.index!r} was made anew by another call meanwhile.",
        fix="Do it again, if what is there now is to be replaced too.",
    )


async def standing(objects: Objects) -> Manifest | None:
    """The newest generation that can be read, of an index that is not deleted; None when there is none."""
    for number in reversed(await objects.generations()):
        with suppress(IndexDamaged):
            found = await objects.manifest(number)
            return None if found.deleted else found
    return None


async def tidy(objects: Objects) -> None:
    """Remove what no reader can need; what cannot be removed now is for the next time."""
    try:
        await objects.collect()
    except LakehouseError as error:
        log.warning("vectors.collect_failed %s: %s", objects.index, error)


async def _store(objects: Objects, index: Index | None, manifest: Manifest) -> None:
    if index is None:
        await objects.put_manifest(manifest)
        return
    async with index.changing, index.committing:
        await objects.put_manifest(manifest)
        index.forget()


def _taken(name: str) -> IndexExists:
    return IndexExists(f"there is a vector index called {name!r} already.", fix="Choose another name, or delete it.")
