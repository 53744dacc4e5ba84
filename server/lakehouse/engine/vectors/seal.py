"""Fresh rows become a segment, small segments become one: planned, written, swapped in. Load it in a worker thread.

A segment is merged while it is no more than twice as large as what is merged already, so each row is rewritten a
logarithmic number of times and the number of segments stays logarithmic; larger ones than MERGE_ROWS are left alone.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pyarrow as pa

from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import format, segment, snapshot
from lakehouse.engine.vectors.batch import Batch, Rows, deletes
from lakehouse.engine.vectors.format import Manifest, SegmentRef
from lakehouse.engine.vectors.index import Index
from lakehouse.engine.vectors.merging import joined_texts, places_after, split
from lakehouse.engine.vectors.objects import Objects
from lakehouse.engine.vectors.quantise import encode
from lakehouse.engine.vectors.rowset import inside
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import Sealed, State
from lakehouse.engine.vectors.work import Work

MERGE_ROWS = 65_536
_STEP = 8192


@dataclass(frozen=True)
class Merge:
    """Which segments go into the new one with the fresh rows, and where their rows went (-1: nowhere)."""

    places: tuple[int, ...]
    moved: tuple[Rows, ...]  # one map for each of `places`, then the fresh rows'


def plan(state: State, busy: Set[str] = frozenset()) -> tuple[int, ...]:
    """The places of the segments to merge, with the fresh rows or each other.

    Those that have a graph are left to compaction, and so are the `busy` ones, which it works on.
    """
    total = state.fresh.live
    chosen: list[int] = []
    free = [place for place, s in enumerate(state.sealed) if not (s.live and (s.graph or s.segment.doc.id in busy))]
    for place in sorted(free, key=lambda place: state.sealed[place].live):
        live = state.sealed[place].live  # a segment without any is dropped without being read
        if live and total and (live > 2 * total or total + live > MERGE_ROWS):
            break
        if live:
            chosen.append(place)
            total += live
    return tuple(sorted(chosen)) if state.fresh.live or len(chosen) > 1 else ()


async def seal(index: Index) -> None:
    """Write the fresh rows into a segment and publish a generation with it; adds and searches go on meanwhile.

    At most one runs per index; a second call returns at once. When another process publishes first, its generation
    is taken over and nothing of this is kept.
    """
    try:
        index.changing.acquire_nowait()
    except anyio.WouldBlock:
        return
    try:
        await flush(index)
    finally:
        index.changing.release()


async def flush(index: Index) -> None:
    """The same for a caller who holds `changing`."""
    frozen = await index.state()
    if not frozen.entries:
        return
    merge, opened = await sealed(index, frozen, plan(frozen, index.busy))
    manifest = await manifest_of(index, frozen, merge, opened)
    with anyio.CancelScope(shield=True):
        async with index.committing:
            if not index.stands_on(frozen.manifest.number) or not await index.publish(manifest):
                if opened is not None:  # another process was faster, or the index is gone
                    await index.objects.remove_segment(opened.doc.id)
                return
            await anyio.to_thread.run_sync(index.swap, lambda state: _after(state, frozen, merge, opened, manifest))
    await index.objects.collect()


async def sealed(index: Index, frozen: State, places: tuple[int, ...]) -> tuple[Merge, Segment | None]:
    """Store the fresh rows, and the live ones of some segments, as a segment; none where there are no such rows."""
    if not (frozen.fresh.live or places):
        return Merge((), (np.full(frozen.fresh.count, -1),)), None
    async with index.storage.scratch() as folder:
        doc, check, merge = await anyio.to_thread.run_sync(_write, folder, frozen, places)
        await index.objects.put_segment(doc, folder)
    return merge, await index.objects.segment(SegmentRef(doc.id, check, doc.rows, doc.vectors), trusted=True)


def _write(folder: Path, state: State, places: tuple[int, ...]) -> tuple[format.SegmentDoc, str, Merge]:
    """Write the live rows of the chosen segments and of the fresh ones, those with a vector first."""
    manifest, fresh = state.manifest, state.fresh
    chosen = [state.sealed[place] for place in places]
    kept = [split(sealed.live_rows, sealed.segment.doc.vectors) for sealed in chosen]
    blind = inside(fresh.live_rows, fresh.blind)
    kept.append((fresh.live_rows[~blind], fresh.live_rows[blind]))
    moved = places_after(kept, [*(s.segment.rows for s in chosen), fresh.count])
    texts = [(s.segment.ids, s.segment.metas) for s in chosen]
    texts.append(tuple(pa.array(each[: fresh.count], pa.large_string()) for each in (fresh.rows.ids, fresh.rows.metas)))
    ids, metas = joined_texts(texts, kept)
    sources = [*(sealed.segment.coded for sealed in chosen), fresh.coded]
    doc, check = segment.write(
        folder,
        format.new_id(manifest.number.epoch),
        manifest.dimension,
        manifest.distance,
        ids,
        metas,
        sum(len(rows) for rows, _ in kept),
        segment.gathered((coded, rows) for coded, (rows, _) in zip(sources, kept, strict=True)),
    )
    return doc, check, Merge(places, moved)


async def manifest_of(index: Index, frozen: State, merge: Merge, opened: Segment | None) -> Manifest:
    """The next generation. Its bitmaps are those of the moment the log is cut at: later entries repeat later deaths."""
    noted = {ref.id: ref for ref in frozen.manifest.segments}
    refs = []
    for place, sealed in enumerate(frozen.sealed):
        if not _stays(frozen, merge, place):
            continue
        doc, dead = sealed.segment.doc, sealed.dead
        ref = noted.get(doc.id, SegmentRef(doc.id, sealed.segment.check, doc.rows, doc.vectors))
        if len(dead) != (ref.tomb.dead if ref.tomb else 0):
            ref = replace(ref, tomb=await index.objects.put_tomb(frozen.manifest.number.epoch, doc.rows, dead))
        refs.append(ref)
    if opened is not None:
        refs.append(SegmentRef(opened.doc.id, opened.check, opened.doc.rows, opened.doc.vectors))
    return frozen.manifest.successor(segments=tuple(refs), log_from=frozen.log_next.count)


def _stays(frozen: State, merge: Merge, place: int) -> bool:
    return place not in merge.places and (place >= len(frozen.sealed) or frozen.sealed[place].live > 0)


def _after(state: State, frozen: State, merge: Merge, opened: Segment | None, manifest: Manifest) -> State:
    """The present state on the new generation: what died since it was frozen is dead in the new segment too."""
    count = frozen.fresh.count
    pairs = [(state.sealed[place].dead, frozen.sealed[place].dead) for place in merge.places]
    pairs.append((state.fresh.dead[state.fresh.dead < count], frozen.fresh.dead))
    died = [moved[now[~inside(now, then)]] for (now, then), moved in zip(pairs, merge.moved, strict=True)]
    sealed = [s for place, s in enumerate(state.sealed) if place < len(frozen.sealed) and _stays(frozen, merge, place)]
    if opened is not None:
        sealed.append(Sealed(opened).without(np.concatenate(died)))
    sealed += state.sealed[len(frozen.sealed) :]
    dead, blind = state.fresh.dead, state.fresh.blind
    return replace(
        state,
        manifest=manifest,
        sealed=tuple(sealed),
        fresh=snapshot.seen(state.fresh.rows.tail(count), dead[dead >= count] - count, blind[blind >= count] - count),
        entries=state.entries - frozen.entries,
    )


async def attach(index: Index, batch: Batch) -> Work:
    """Commit a large batch as a segment: its files are written first, one log entry then makes them count.

    Every item has a vector and metadata. The segment is in a generation of its own soon after.
    """
    state = await index.state()
    manifest = state.manifest
    ref = await put(index.objects, index.storage, batch, manifest)
    opened = await index.objects.segment(ref, trusted=True)
    return await index.change(Work(deletes([], manifest.dimension), manifest.number.epoch, (opened, ref)))


async def put(objects: Objects, storage: Storage, batch: Batch, manifest: Manifest) -> SegmentRef:
    """Store a batch as a segment that nothing names yet. No id is in it twice.

    Raises TooLarge, with nothing stored, when a file of it is over `storage.max_vectors_put_bytes`.
    """
    async with storage.scratch() as folder:
        doc, check = await anyio.to_thread.run_sync(_write_batch, folder, batch, manifest)
        for name, file in doc.files.items():
            storage.check_size(format.segment_key(objects.index, doc.id, name), file.size)
        await objects.put_segment(doc, folder)
    return SegmentRef(doc.id, check, doc.rows, doc.vectors)


def _write_batch(folder: Path, batch: Batch, manifest: Manifest) -> tuple[format.SegmentDoc, str]:
    order = np.argsort(~batch.has, kind="stable").tolist()  # those with a vector first
    return segment.write(
        folder,
        format.new_id(manifest.number.epoch),
        manifest.dimension,
        manifest.distance,
        pa.array([batch.ids[row] for row in order], pa.large_string()),
        pa.array([batch.metas[row] or "null" for row in order], pa.large_string()),
        len(batch.vectors),
        (encode(batch.vectors[at : at + _STEP], manifest.distance) for at in range(0, len(batch.vectors), _STEP)),
    )
