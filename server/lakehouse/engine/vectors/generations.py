"""Builds of an index: what is live is sealed and kept, another takes its place. Load it in a worker thread.

One create-only manifest makes the change, and one assignment shows it here: before it the index is what it was, and
searches that began on the former state end on it.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.vectors import lifecycle, seal, snapshot
from lakehouse.engine.vectors.format import Build, Manifest, Number
from lakehouse.engine.vectors.index import Index
from lakehouse.engine.vectors.items import IndexDamaged, IndexNotFound, Swapped
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import Sealed, State
from lakehouse.errors import Conflict, LakehouseError

log = logging.getLogger("lakehouse")
Change = Callable[[State, Build], Manifest]
Spent = list[Segment]  # written for a change, and needless if it does not come about


async def swap(index: Index, number: int, keep: int, epoch: int, *, force: bool = False, back: bool = False) -> Swapped:
    """Make a kept build the live one. A rollback goes `back` to what was, also to one of another dimension.

    `epoch` is for a build whose log may not be that of the live one. Raises Conflict.
    """
    state = await index.state()
    if number == state.manifest.build:
        return swapped(index.name, state.manifest, state.count, Build(number, 0, "cosine", "", "", state.count), True)

    def change(state: State, left: Build) -> Manifest:
        manifest = state.manifest
        target = next((build for build in manifest.retained if build.number == number), None)
        if target is None:
            raise Conflict(f"index {index.name!r} has no generation {number} to go to.", fix=there(manifest))
        if not target.count and not force:
            raise Conflict(
                f"generation {number} of index {index.name!r} is empty.", fix="Say force, if it is to go live."
            )
        same = (target.dimension, target.distance) == (manifest.dimension, manifest.distance)
        if not same and not back:
            raise Conflict(
                f"generation {number} of index {index.name!r} has {target.dimension} dimensions and {target.distance} "
                f"distance, the live one {manifest.dimension} and {manifest.distance}.",
                fix="Go back to the generation before with rollback_index, or build the index again.",
            )
        rest = tuple(build for build in manifest.retained if build.number != number)
        changes: dict[str, Any] = {
            "dimension": target.dimension,
            "distance": target.distance,
            "model": target.model,
            "builder": target.builder,
            "segments": target.segments,
            "build": number,
            "built": target.created,
            "swapped": moment.now(),
            "retained": kept((*rest, left), keep),
        }
        if same and target.model == manifest.model:
            return manifest.successor(log_from=state.log_next.count, **changes)
        # What others add meanwhile is of another kind: it must not come on top of this one.
        after = manifest.successor(log_from=1, **changes)
        return replace(after, number=Number(epoch, 1), prev=None)

    left, after = await turn(index, change)
    return swapped(index.name, after.manifest, after.count, left, left in after.manifest.retained)


async def snapshot_of(index: Index, keep: int) -> Swapped:
    """Keep what the index is now as a build of its own; the index goes on as the next one, with the same content."""

    def change(state: State, left: Build) -> Manifest:
        return state.manifest.successor(
            **following(state.manifest, left, keep), segments=left.segments, log_from=state.log_next.count
        )

    left, after = await turn(index, change)
    return swapped(index.name, after.manifest, after.count, left, left in after.manifest.retained)


async def put_in_place(index: Index, first: Manifest, keep: int) -> None:
    """Make a manifest of a later epoch the index, whatever that was; its build is the next one.

    Raises Conflict when another call has made or replaced the index meanwhile.
    """

    def change(state: State, left: Build) -> Manifest:
        standing = state.manifest
        graphs: dict[str, Any] = {
            "m": standing.m,
            "ef_construction": standing.ef_construction,
            "ef_search": standing.ef_search,
        }
        return replace(first, **following(standing, left, keep), **graphs)

    try:
        await index.state()
    except (IndexNotFound, IndexDamaged):
        async with index.changing, index.committing:
            standing = await lifecycle.standing(index.objects)
            if standing is not None:
                first = replace(first, **following(standing, None, keep))
            await lifecycle.switch(index.objects, first)
            index.forget()
        return
    await turn(index, change)


def following(standing: Manifest, left: Build | None, keep: int) -> dict[str, Any]:
    """What a manifest says of the build that follows another, which is kept if it is whole."""
    now = moment.now()
    number = standing.last + 1
    retained = kept(standing.retained if left is None else (*standing.retained, left), keep)
    return {"build": number, "last": number, "built": now, "swapped": now, "retained": retained}


def kept(builds: tuple[Build, ...], keep: int) -> tuple[Build, ...]:
    """Those of the builds that stay: the ones that were live most recently."""
    return builds[len(builds) - min(keep, len(builds)) :]


def there(manifest: Manifest) -> str:
    """Which builds an index has, for the fix of an error."""
    others = sorted(build.number for build in manifest.retained)
    rest = f", and {', '.join(map(str, others))} beside it" if others else " alone"
    return f"There is {manifest.build}, which is live{rest}."


def swapped(name: str, manifest: Manifest, count: int, left: Build, whole: bool) -> Swapped:
    """The change as callers are told of it."""
    return Swapped(name, manifest.build, left.number, count, left.count, manifest.swapped, whole)


async def turn(index: Index, change: Change) -> tuple[Build, State]:
    """Seal what the index is now, and publish what `change` makes of it; the build left, and the state it is now.

    Nothing is changed by what `change` raises, nor by a failing store.
    """
    async with index.changing:
        await seal.flush(index)  # most of it, while adds go on
        while (done := await _turned(index, change)) is None:
            continue  # another process published; do it on top of its manifest
    await lifecycle.tidy(index.objects)
    return done


async def _turned(index: Index, change: Change) -> tuple[Build, State] | None:
    spent = Spent()
    done: tuple[Build, State] | None = None
    async with index.committing:
        with anyio.CancelScope(shield=True):
            state = await index.newest()
            try:
                left = await present(index, state, spent)
                after = await show(index, state, change(state, left), spent)
            except IndexDamaged:
                if not await behind(index, state):
                    raise
                after = None
            finally:
                await discard(index, spent)
            if after is not None:
                same = after.manifest.number.epoch == state.manifest.number.epoch
                done = (left, after) if same else await _completed(index, state, left, after)
    return done


def _instead(after: State, before: State) -> State:
    return after


async def _completed(index: Index, state: State, left: Build, after: State) -> tuple[Build, State]:
    """Add to the build left what others were told is stored, while the epoch it was of came to its end.

    Whoever puts something there looks for a later epoch before saying so: after the switch nothing more comes.
    """
    spent = Spent()
    try:
        grown = await index.grown(state)
        while (grown.manifest.number, grown.entries) != (state.manifest.number, state.entries):
            manifest = after.manifest
            if left not in manifest.retained:
                break
            whole = replace(await present(index, grown, spent), number=left.number)
            retained = tuple(whole if build == left else build for build in manifest.retained)
            manifest = manifest.successor(retained=retained)
            if await index.publish(manifest):
                spent.clear()
                after = replace(await index.shown(), manifest=manifest)
                await anyio.to_thread.run_sync(index.swap, partial(_instead, after))
                return whole, after
            after = await index.shown()
    except LakehouseError as error:  # the switch is done, whatever comes of this
        log.warning("vectors.left_incomplete %s: %s", index.name, error)
    finally:
        await discard(index, spent)
    return left, after


async def behind(index: Index, state: State) -> bool:
    """Whether another process has published since: it may have cleared away what the state names."""
    generations = await index.objects.generations()
    return generations[-1:] != [state.manifest.number]


async def show(index: Index, state: State, manifest: Manifest, spent: Spent) -> State | None:
    """Publish a manifest without fresh rows and show it; None when another process was faster.

    The caller holds `changing` and `committing`. What was `spent` on it is in use then, and is not to be discarded.
    """
    opened = {segment.doc.id: Sealed(segment) for segment in spent}
    after = snapshot.empty(manifest, await index.sealed(manifest.segments, opened))
    if manifest.number.epoch == state.manifest.number.epoch:
        if not await index.publish(manifest):
            return None
    else:
        await lifecycle.switch(index.objects, manifest)
    spent.clear()
    await anyio.to_thread.run_sync(index.swap, lambda _: after)
    return after


async def discard(index: Index, spent: Spent) -> None:
    """Remove segments that nothing names."""
    while spent:
        await index.objects.remove_segment(spent.pop().doc.id)


async def present(index: Index, state: State, spent: Spent) -> Build:
    """What the index is now, as a build: the rows that are in no segment yet are written into one."""
    manifest, refs = state.manifest, state.manifest.segments
    if state.entries:
        merge, opened = await seal.sealed(index, state, ())
        if opened is not None:
            spent.append(opened)
        refs = (await seal.manifest_of(index, state, merge, opened)).segments
    return Build(
        manifest.build,
        manifest.dimension,
        manifest.distance,
        manifest.built,
        manifest.swapped,
        state.count,
        manifest.model,
        manifest.builder,
        refs,
    )
