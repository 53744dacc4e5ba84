"""What was put and deleted between two states of an index, found in the states themselves. Load it in a worker thread.

The log would tell as well, but its entries may be gone: sealed, merged with older rows and cleared away by anybody. An
item whose metadata and vector are the same in both states has not changed, wherever its row was moved.
"""

import numpy as np

from lakehouse.engine.vectors.batch import DELETE, PUT, Batch, Rows
from lakehouse.engine.vectors.rowset import inside
from lakehouse.engine.vectors.snapshot import State

Place = tuple[int, int]  # a segment's place, or that behind the last one for the fresh rows, and a row


def changes(then: State, now: State) -> Batch:
    """The batch that makes of an index as it was `then` what it is `now`; no id is in it twice."""
    gone, came = _only_in(then, now), _only_in(now, then)
    puts = {id: place for id, place in came.items() if id not in gone or not _same(then, gone[id], now, place)}
    deletes = [id for id in gone if id not in came]
    has = [_seen(now, place) for place in puts.values()]
    rows = [_vector(now, place) for place, seen in zip(puts.values(), has, strict=True) if seen]
    return Batch(
        np.array([PUT] * len(puts) + [DELETE] * len(deletes), np.int8),
        [*puts, *deletes],
        [*(now.meta(*place) for place in puts.values()), *(None for _ in deletes)],
        np.array([*has, *(False for _ in deletes)], np.bool_),
        np.stack(rows) if rows else np.empty((0, now.manifest.dimension), np.float32),
    )


def _only_in(state: State, other: State) -> dict[str, Place]:
    """The ids of live rows that are not live, at the same place of the same segment, in another state."""
    theirs = {sealed.segment.doc.id: sealed.live_rows for sealed in other.sealed}
    found: dict[str, Place] = {}
    for place, sealed in enumerate(state.sealed):
        rows = _without(sealed.live_rows, theirs.get(sealed.segment.doc.id))
        ids = sealed.segment.ids.take(rows).to_pylist() if len(rows) else []
        found.update(zip(ids, ((place, row) for row in rows.tolist()), strict=True))
    shared = other.fresh.live_rows if other.fresh.rows is state.fresh.rows else None
    for row in _without(state.fresh.live_rows, shared).tolist():
        found[state.fresh.rows.ids[row]] = (len(state.sealed), row)
    return found


def _without(rows: Rows, others: Rows | None) -> Rows:
    return rows if others is None else rows[~inside(rows, others)]


def _same(then: State, before: Place, now: State, after: Place) -> bool:
    if then.meta(*before) != now.meta(*after) or _seen(then, before) != _seen(now, after):
        return False
    return not _seen(now, after) or np.array_equal(_vector(then, before), _vector(now, after))


def _seen(state: State, at: Place) -> bool:
    place, row = at
    if place == len(state.sealed):
        return not inside([row], state.fresh.blind)[0]
    return row < state.sealed[place].segment.doc.vectors


def _vector(state: State, at: Place) -> np.ndarray:
    place, row = at
    coded = state.fresh.coded if place == len(state.sealed) else state.sealed[place].segment.coded
    return np.asarray(coded.vectors[row])
