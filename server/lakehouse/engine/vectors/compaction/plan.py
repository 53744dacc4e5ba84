"""What there is to do for an index: which segments become one, which get a graph. Load it in a worker thread."""

from collections.abc import Mapping
from dataclasses import dataclass

from lakehouse.engine.vectors.format import SegmentRef
from lakehouse.engine.vectors.snapshot import State

MOST = 4  # large segments, and as many small ones: each is searched by itself
WORN = 0.2  # the share of dead rows from which on a segment is written anew


@dataclass(frozen=True)
class Job:
    """Work for one process. `merge` writes the live rows of the segments into one; otherwise there is one, as it is.

    With `graph`, what comes out of it gets one.
    """

    segments: tuple[SegmentRef, ...]
    merge: bool
    graph: bool


def jobs(state: State, graph_rows: int, max_rows: int) -> list[Job]:
    """The work that no part of which waits for another.

    Segments from `graph_rows` vectors on get a graph; none is made with more than `max_rows`. Only segments that the
    generation names: one that is in the log alone would come back with it.
    """
    live = {s.segment.doc.id: s.live for s in state.sealed}
    refs = sorted((ref for ref in state.manifest.segments if live[ref.id]), key=lambda ref: live[ref.id])
    merged = _merged(refs, live, graph_rows, max_rows)
    found = [_job(merged, live, graph_rows)] if merged else []
    for ref in refs:
        if ref in merged:
            continue
        if live[ref.id] < (1 - WORN) * ref.rows and live[ref.id] >= graph_rows:
            found.append(_job([ref], live, graph_rows))
        elif ref.graph is None and ref.vectors >= graph_rows:
            found.append(Job((ref,), False, True))
    return found


def _job(refs: list[SegmentRef], live: Mapping[str, int], graph_rows: int) -> Job:
    vectors = sum(live[ref.id] - (ref.rows - ref.vectors) for ref in refs)  # at least: the dead may have none
    return Job(tuple(refs), True, vectors >= graph_rows)


def _merged(refs: list[SegmentRef], live: Mapping[str, int], graph_rows: int, max_rows: int) -> list[SegmentRef]:
    """The small ones when they are many or large enough together; of too many large ones the smallest."""
    small = [ref for ref in refs if live[ref.id] < graph_rows]
    large = [ref for ref in refs if live[ref.id] >= graph_rows]
    total = sum(live[ref.id] for ref in small)
    chosen = small if len(small) > 1 and (len(small) > MOST or total >= graph_rows) else []
    total = total if chosen else 0
    more = 1 if total >= graph_rows else 0
    while len(large) + more > MOST and total + live[large[0].id] <= max_rows:
        chosen = [*chosen, large.pop(0)]
        total += live[chosen[-1].id]
        more = 1
    return chosen if len(chosen) > 1 else []
