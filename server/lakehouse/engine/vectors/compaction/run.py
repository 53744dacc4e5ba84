"""Jobs run in processes, their files stored, their outcome published as a generation. Load it in a worker thread."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

from lakehouse import config
from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.vectors import format, seal, segment
from lakehouse.engine.vectors.batch import Rows
from lakehouse.engine.vectors.compaction.plan import Job, jobs
from lakehouse.engine.vectors.format import GraphRef, Manifest, SegmentRef
from lakehouse.engine.vectors.graph import Graph, Wishes
from lakehouse.engine.vectors.index import Index
from lakehouse.engine.vectors.merging import places_after, split
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.snapshot import Sealed, State
from lakehouse.errors import LakehouseError, Upstream

AT_ONCE = 2  # processes
GRAPH_FILE = "graph.usearch"
_NICE = 10


@dataclass(frozen=True)
class Made:
    """What came of a job, stored but not named yet. `moved` says where the rows of each source went."""

    job: Job
    ref: SegmentRef
    opened: Segment
    graph: Graph | None
    moved: tuple[Rows, ...] = ()
    build: int = 0  # of which it is


async def wanted(index: Index, settings: config.Vectors) -> list[Job]:
    """The jobs there are now; no file of a segment grows over what may be put."""
    state = await index.state()
    most = index.storage.max_put_bytes_for(format.home_of(index.name)) // (4 * state.manifest.dimension)
    return jobs(state, settings.graph_rows, most)


async def optimise(index: Index, settings: config.Vectors, turns: anyio.CapacityLimiter) -> int:
    """Do all there is to do, two jobs at a time; how many generations came of it.

    Each job is published by itself as soon as it is done, so that nothing is lost that was finished. One call at a
    time works on an index; where another process has merged the same segments first, its work counts. Raises Upstream
    when a process or the disk fails, IndexDamaged, IndexNotFound.
    """
    published = 0
    async with index.compacting:
        while True:
            await seal.seal(index)
            found = await wanted(index, settings)
            if not found:
                return published
            index.busy = frozenset(ref.id for job in found for ref in job.segments)
            try:
                done = await fan_out([partial(_run, index, job, turns) for job in found], AT_ONCE)
            finally:
                index.busy = frozenset()
            published += sum(done)
            if not any(done):
                return published


async def _run(index: Index, job: Job, turns: anyio.CapacityLimiter) -> bool:
    try:
        return await _done(index, job, turns)
    except Upstream:
        # What it was to be made from may have been replaced and cleared away by another process.
        await index.refresh()
        known = {ref.id: ref for ref in (await index.state()).manifest.segments}
        if all(known.get(ref.id) == ref for ref in job.segments):
            raise
        return False


async def _done(index: Index, job: Job, turns: anyio.CapacityLimiter) -> bool:
    async with turns:
        state = await index.state()
        # What is dead in the generation, not what is dead now: the log after it is replayed over the new segment, and
        # an entry without metadata keeps that of the row it replaces.
        known = {ref.id: ref for ref in state.manifest.segments}
        sources = {s.segment.doc.id: s.segment for s in state.sealed}
        if any(ref.id not in known for ref in job.segments):
            return False
        refs = [known[ref.id] for ref in job.segments]
        dead = [await index.objects.tomb(ref) for ref in refs]
        made = await _made(index, job, state.manifest, [sources[ref.id] for ref in refs], dead)
    try:
        published = await _publish(index, made)
    except BaseException:
        await _removed(index, made)
        raise
    if not published:
        await _removed(index, made)
        return False
    await index.objects.collect()
    return True


async def _made(index: Index, job: Job, manifest: Manifest, sources: Sequence[Segment], dead: Sequence[Rows]) -> Made:
    """Have a process do the job, then store what it wrote."""
    new = format.new_id(manifest.number.epoch)
    request = {
        "index": index.name,
        "sources": [
            {
                "id": source.doc.id,
                "doc": format.write_segment_doc(source.doc)[0].decode(),
                "check": source.check,
                "paths": {name: str(path) for name, path in source.paths.items()},
                "dead": len(rows),
            }
            for source, rows in zip(sources, dead, strict=True)
        ],
        "segment": new if job.merge else None,
        "graph": new if job.graph else None,
        "wishes": vars(Wishes(manifest.m, manifest.ef_construction, manifest.ef_search)),
    }
    async with index.storage.scratch() as folder:
        answer = await _answered(
            request | {"folder": str(folder)}, np.concatenate(dead).astype(np.int64).tobytes(), index
        )
        ref, opened = job.segments[0], sources[0]
        moved: tuple[Rows, ...] = ()
        if job.merge:
            ref, opened = await _stored(index, new, answer, folder)
            kept = [
                split(np.delete(np.arange(s.rows), rows), s.doc.vectors) for s, rows in zip(sources, dead, strict=True)
            ]
            moved = places_after(kept, [source.rows for source in sources])
        graph = None
        try:
            if job.graph:
                graph_ref = GraphRef(**answer["graph"])
                await index.objects.put_graph(graph_ref, folder / GRAPH_FILE)
                graph = await index.objects.graph(graph_ref, opened, trusted=True)
        except BaseException:
            await _removed(index, Made(job, ref, opened, None))
            raise
    return Made(job, ref, opened, graph, moved, manifest.build)


async def _stored(index: Index, id: str, answer: dict[str, Any], folder: Path) -> tuple[SegmentRef, Segment]:
    key = format.segment_key(index.name, id, segment.DOC)
    doc = format.read_segment_doc(answer["doc"].encode(), key, answer["check"])
    await index.objects.put_segment(doc, folder)
    ref = SegmentRef(doc.id, answer["check"], doc.rows, doc.vectors)
    return ref, await index.objects.segment(ref, trusted=True)


async def _answered(request: dict[str, Any], payload: bytes, index: Index) -> dict[str, Any]:
    try:
        child = await Child.start("lakehouse.engine.vectors.compaction.worker", {"nice": _NICE})
        try:
            await child.send(request, payload)
            done = 0
            while True:
                answer, _ = await child.receive()
                if "rows" not in answer:
                    return answer
                index.worked += answer["rows"] - done
                done = answer["rows"]
        finally:
            await child.aclose()
    except ChildDied:
        raise Upstream(
            f"the process that works on vector index {request['index']!r} ended without an answer.",
            fix="Memory may have run out: give the machine more. Searches go on as before.",
        ) from None


async def _removed(index: Index, made: Made) -> None:
    """Take away what nothing names; what cannot be removed now is taken for what a crash left, later."""
    with anyio.CancelScope(shield=True), suppress(LakehouseError):
        if made.job.merge:
            await index.objects.remove_segment(made.ref.id)
        if made.graph is not None:
            await index.objects.remove_graph(made.graph.ref.id)


async def _publish(index: Index, made: Made) -> bool:
    """Make it part of the index as it is now; False when what it was made from is not there any more."""
    async with index.changing, index.committing:
        with anyio.CancelScope(shield=True):
            while refs := _still_there(made, state := await index.shown()):
                manifest, after = await _next(index, state, made, refs)
                if await index.publish(manifest):
                    await anyio.to_thread.run_sync(index.swap, after)
                    return True
    return False


def _still_there(made: Made, state: State) -> list[SegmentRef]:
    """What it was made from, as the generation names it now; nothing when it is not all there, or was done already."""
    if made.job.merge and made.build != state.manifest.build:
        return []  # rows that were dead, and are not in it, may be live in another build of the same segments
    known = {ref.id: ref for ref in state.manifest.segments}
    refs = [known[ref.id] for ref in made.job.segments if ref.id in known]
    done = not made.job.merge and any(ref.graph is not None for ref in refs)
    return [] if done or len(refs) < len(made.job.segments) else refs


async def _next(index: Index, state: State, made: Made, refs: Sequence[SegmentRef]) -> tuple[Manifest, Any]:
    """The generation with it, and the step to the state on that. What died meanwhile is dead in the new segment too."""
    ids = [ref.id for ref in refs]
    graph = None if made.graph is None else made.graph.ref
    if made.job.merge:
        dead = _dead_after(made, [await index.objects.tomb(ref) for ref in refs])
        tomb = await index.objects.put_tomb(state.manifest.number.epoch, made.ref.rows, dead) if len(dead) else None
        new = replace(made.ref, tomb=tomb, graph=graph)
    else:
        new = replace(refs[0], graph=graph)
    segments = [*(ref for ref in state.manifest.segments if ref.id not in ids), new]
    manifest = state.manifest.successor(segments=tuple(segments))
    named = {ref.id for ref in state.manifest.segments}

    def after(state: State) -> State:
        gone = {s.segment.doc.id: s.dead for s in state.sealed}
        dead = _dead_after(made, [gone[id] for id in ids]) if made.job.merge else gone[ids[0]]
        kept = [s for s in state.sealed if s.segment.doc.id in named and s.segment.doc.id not in ids]
        attached = [s for s in state.sealed if s.segment.doc.id not in named]
        sealed = (*kept, Sealed(made.opened, dead, made.graph), *attached)
        return replace(state, manifest=manifest, sealed=sealed)

    return manifest, after


def _dead_after(made: Made, dead: Sequence[Rows]) -> Rows:
    places = np.concatenate([moved[rows] for moved, rows in zip(made.moved, dead, strict=True)])
    return np.sort(places[places >= 0])
