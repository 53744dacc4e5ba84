"""What a search reads: one immutable state of an index, and the step to the next. Load it in a worker thread."""

import heapq
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.engine.filters import Filter
from lakehouse.engine.vectors.batch import DELETE, F32, Batch, Rows
from lakehouse.engine.vectors.format import Manifest, Number
from lakehouse.engine.vectors.graph import Graph
from lakehouse.engine.vectors.items import Item
from lakehouse.engine.vectors.masks import Growing, Ids
from lakehouse.engine.vectors.quantise import Coded, encode
from lakehouse.engine.vectors.rowset import EMPTY, inside, union
from lakehouse.engine.vectors.scan import Part, Query, nearest
from lakehouse.engine.vectors.segment import Segment
from lakehouse.engine.vectors.words import text_of

if TYPE_CHECKING:
    from lakehouse.engine.lexical import indexing
    from lakehouse.engine.vectors.matching import Matching

_FIRST_ROOM = 64
Masks = list[NDArray[np.bool_]]
Row = tuple[float, str, int, int]  # a distance or a falling score, the id, the place of the segment, the row in it


class Fresh:
    """Rows not yet in a segment. It only grows: a snapshot that knows of n rows never sees the ones after them."""

    def __init__(self, dimension: int, distance: str) -> None:
        self.distance = distance
        self.ids: list[str] = []
        self.metas: list[str] = []
        self.where: dict[str, int] = {}  # live ids; for whoever holds the index's memory lock
        self.coded = Coded.empty(_FIRST_ROOM, dimension)
        self.filtered = Growing()

    @cached_property
    def words(self) -> "indexing.Growing":
        """The words of the rows' texts, read when they are asked for."""
        from lakehouse.engine.lexical import indexing

        return indexing.Growing()

    def extend(self, ids: Sequence[str], metas: Sequence[str], vectors: F32, has: Any) -> None:
        """Add rows behind the others; `vectors` has one for each row where `has` is true."""
        start, end = len(self.ids), len(self.ids) + len(ids)
        self._make_room(end)
        if len(vectors) < len(ids):
            whole = np.zeros((len(ids), vectors.shape[1]), np.float32)
            whole[has] = vectors
            vectors = whole
        self.coded.put(start, encode(vectors, self.distance))
        self.ids.extend(ids)
        self.metas.extend(metas)

    def _make_room(self, rows: int) -> None:
        if rows > len(self.coded):
            bigger = Coded.empty(max(rows, 2 * len(self.coded)), self.coded.vectors.shape[1])
            bigger.put(0, self.coded[: len(self.ids)])
            self.coded = bigger

    def tail(self, start: int) -> "Fresh":
        """The rows from `start` on, as rows of their own."""
        rest = Fresh(self.coded.vectors.shape[1], self.distance)
        rest.ids, rest.metas = self.ids[start:], self.metas[start:]
        rest._make_room(len(rest.ids))
        rest.coded.put(0, self.coded[start : len(self.ids)])
        rest.where = {id: row - start for id, row in self.where.items() if row >= start}
        return rest


@dataclass(frozen=True)
class Seen:
    """The first `count` fresh rows as one snapshot has them."""

    rows: Fresh
    coded: Coded
    count: int = 0
    dead: Rows = field(default_factory=lambda: EMPTY)
    blind: Rows = field(default_factory=lambda: EMPTY)  # rows without a vector

    @property
    def live(self) -> int:
        return self.count - len(self.dead)

    @cached_property
    def live_rows(self) -> Rows:
        return np.delete(np.arange(self.count), self.dead)

    @cached_property
    def words(self) -> "indexing.First":
        """The words of the rows' texts, for BM25."""
        return self.rows.words.first(self.count, lambda row: text_of(self.rows.metas[row]))


@dataclass(frozen=True)
class Sealed:
    """A segment, its dead rows and its graph, as one snapshot has them."""

    segment: Segment
    dead: Rows = field(default_factory=lambda: EMPTY)
    graph: Graph | None = None

    @property
    def problem(self) -> str | None:
        """What turned out to be damaged after it was opened."""
        return self.segment.problem or (None if self.graph is None else self.graph.problem)

    @property
    def live(self) -> int:
        return self.segment.rows - len(self.dead)

    @cached_property
    def live_rows(self) -> Rows:
        return np.delete(np.arange(self.segment.rows), self.dead)

    def without(self, rows: Sequence[int] | Rows) -> "Sealed":
        """The same with more dead rows."""
        return replace(self, dead=union(self.dead, rows)) if len(rows) else self


@dataclass(frozen=True)
class State:
    """One state of an index: a generation and the log entries before `log_next`. Nothing in it ever changes."""

    manifest: Manifest
    log_next: Number
    sealed: tuple[Sealed, ...]
    fresh: Seen
    entries: int = 0  # log entries on top of the generation

    @property
    def count(self) -> int:
        return self.fresh.live + sum(s.live for s in self.sealed)

    @cached_property
    def _parts(self) -> list[Part]:
        parts = [
            Part(s.segment.coded, s.dead[: np.searchsorted(s.dead, s.segment.doc.vectors)], s.graph, s.segment.weights)
            for s in self.sealed
        ]
        fresh = self.fresh
        return [*parts, Part(fresh.coded, union(fresh.dead, fresh.blind))]

    def nearest(
        self, vector: F32, k: int, masks: Masks | None = None, *, exact: bool = False, ef: int | None = None
    ) -> tuple[list[Row], str]:
        """The k nearest items that the masks let through, by distance, then id; and what was looked at.

        That is "graph", "scan", or "graph+scan". `exact` leaves graphs alone; `ef` is the effort in
        them, where the index's own is not meant.
        """
        query, ef = Query.of(vector, self.manifest.distance), ef or self.manifest.ef_search
        found, used = nearest(self._parts, query, k, masks, exact=exact, ef=ef)
        named = sorted((distance, self._id(place, row), place, row) for distance, place, row in found)[:k]
        return named, "+".join(sorted(used)) or "scan"

    def masks(self, wanted: Filter | None, ids: Collection[str] | None) -> Masks:
        """For each segment, then for the fresh rows: which rows the filter and the ids let through."""
        if wanted is not None:
            wanted.check()
        parts: list[Masks] = []
        if wanted is not None:
            fresh = self.fresh.rows.filtered.mask(wanted, self.fresh.rows.metas, self.fresh.count)
            parts.append([*(s.segment.mask(wanted) for s in self.sealed), fresh])
        if ids is not None:
            parts.append(self._chosen(Ids(ids)))
        if len(parts) == 2:
            return [some & other for some, other in zip(*parts, strict=True)]
        return parts[0] if parts else [np.ones(size, np.bool_) for size in self._sizes]

    @property
    def _sizes(self) -> list[int]:
        return [*(s.segment.rows for s in self.sealed), self.fresh.count]

    def _chosen(self, ids: Ids) -> Masks:
        """The rows whose id is one of them; in a corpus also the pieces of a document of that id."""
        masks = [ids.of(s.segment.ids, s.segment.find) for s in self.sealed]
        corpus = self.manifest.builder is not None
        for mask, sealed in zip(masks, self.sealed if corpus else (), strict=False):
            mask[ids.whole(sealed.segment.pieces)] = True
        let = ids.has if corpus else ids.ids.__contains__
        fresh = self.fresh.rows.ids[: self.fresh.count]
        return [*masks, np.fromiter(map(let, fresh), np.bool_, self.fresh.count)]

    def left_out(self, masks: Masks) -> int:
        """How many live items the masks hide."""
        dead = [*(s.dead for s in self.sealed), self.fresh.dead]
        shown = sum(np.count_nonzero(m) - np.count_nonzero(m[rows]) for m, rows in zip(masks, dead, strict=True))
        return self.count - int(shown)

    def matching(self, text: str, k: int, masks: Masks | None = None) -> "Matching":
        """The k items whose `text` matches best by BM25, by falling score, then id."""
        from lakehouse.engine.vectors.matching import matching  # 7 ms, for which who opens an index need not wait

        return matching(self, text, k, masks)

    def vectors(self, ids: Sequence[str]) -> dict[str, F32]:
        """The vectors of those of the ids that have one, as copies."""
        wanted, found = set(ids), dict[str, F32]()
        for row in self.fresh.live_rows.tolist():
            if self.fresh.rows.ids[row] in wanted and row not in self.fresh.blind:
                found[self.fresh.rows.ids[row]] = self.fresh.coded.vectors[row].copy()
        for id, (place, row) in self.locate([id for id in ids if id not in found]).items():
            coded = self.sealed[place].segment.coded
            if row < len(coded):
                found[id] = coded.vectors[row].copy()
        return found

    def _id(self, place: int, row: int) -> str:
        return self.fresh.rows.ids[row] if place == len(self.sealed) else self.sealed[place].segment.names[row]

    def meta(self, place: int, row: int) -> str:
        """A row's metadata as JSON text."""
        return self.fresh.rows.metas[row] if place == len(self.sealed) else self.sealed[place].segment.details[row]

    def named(self, place: int, rows: Rows) -> list[str]:
        """The ids of rows of one segment, or of the fresh rows."""
        return [self._id(place, row) for row in rows.tolist()]

    def foremost(self, place: int, rows: Rows, count: int) -> Rows:
        """Of rows of one segment, or of the fresh rows, so many that are first by id; in no order."""
        if len(rows) <= count:
            return rows
        if place == len(self.sealed):
            return np.array(heapq.nsmallest(count, rows.tolist(), key=self.fresh.rows.ids.__getitem__), np.int64)
        return np.asarray(rows[np.argpartition(self.sealed[place].segment.places[rows], count - 1)[:count]])

    def locate(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Where ids live in segments: the segment's place and the row."""
        found: dict[str, tuple[int, int]] = {}
        for place, sealed in enumerate(self.sealed if ids else ()):
            rows = sealed.segment.find(ids)
            there = np.flatnonzero(rows >= 0)
            there = there[~inside(rows[there], sealed.dead)]
            found |= {ids[at]: (place, int(rows[at])) for at in there.tolist()}
        return found

    def item(self, id: str) -> Item | None:
        """A stored item; the caller holds the index's memory lock. The vector is a copy."""
        row = self.fresh.rows.where.get(id)
        if row is not None:
            place, coded, has = len(self.sealed), self.fresh.coded, row not in self.fresh.blind
        else:
            found = self.locate([id]).get(id)
            if found is None:
                return None
            place, row = found
            coded = self.sealed[place].segment.coded
            has = row < len(coded)
        return Item(id, coded.vectors[row].copy() if has else None, json.loads(self.meta(place, row)))

    def has(self, ids: Sequence[str]) -> set[str]:
        """Which ids are stored; the caller holds the index's memory lock."""
        fresh = {id for id in ids if id in self.fresh.rows.where}
        return fresh | set(self.locate([id for id in ids if id not in fresh]))

    def ids(self) -> set[str]:
        """Every stored id."""
        found = {self.fresh.rows.ids[row] for row in self.fresh.live_rows.tolist()}
        for sealed in self.sealed:
            found.update(sealed.segment.ids.take(sealed.live_rows).to_pylist())
        return found

    def metas(self, ids: Sequence[str]) -> dict[str, str]:
        """The stored metadata of ids, as JSON text; the caller holds the index's memory lock."""
        where, rest = self.fresh.rows.where, [id for id in ids if id not in self.fresh.rows.where]
        found = {id: self.fresh.rows.metas[where[id]] for id in ids if id in where}
        return found | {id: self.meta(*place) for id, place in self.locate(rest).items()}


def changed(state: State, batch: Batch, entries: int = 1) -> tuple[State, list[bool]]:
    """The state after so many log entries, and for each of their changes whether the id was stored before.

    The caller holds the index's memory lock; on an exception the fresh rows are spoilt and must be read again.
    """
    fresh = state.fresh.rows
    start = len(fresh.ids)
    located = state.locate([id for id in batch.ids if id not in fresh.where])
    ids: list[str] = []
    metas: list[str] = []
    dead: list[int] = []
    blind: list[int] = []
    killed: dict[int, list[int]] = {}
    existed: list[bool] = []
    for op, id, given, has in zip(batch.ops, batch.ids, batch.metas, batch.has, strict=True):
        row, place = fresh.where.pop(id, None), located.pop(id, None)
        if row is not None:
            dead.append(row)
        elif place is not None:
            killed.setdefault(place[0], []).append(place[1])
        existed.append(row is not None or place is not None)
        if op == DELETE:
            continue
        if given is not None:
            meta = given
        elif row is not None:
            meta = fresh.metas[row] if row < start else metas[row - start]
        else:
            meta = state.meta(*place) if place is not None else "null"
        fresh.where[id] = start + len(ids)
        if not has:
            blind.append(start + len(ids))
        metas.append(meta)
        ids.append(id)
    puts = batch.ops != DELETE
    fresh.extend(ids, metas, batch.vectors, batch.has[puts])
    sealed = tuple(s.without(killed.get(place, ())) for place, s in enumerate(state.sealed))
    return replace(
        state,
        log_next=Number(state.log_next.epoch, state.log_next.count + entries),
        sealed=sealed,
        fresh=seen(fresh, union(state.fresh.dead, dead), union(state.fresh.blind, blind)),
        entries=state.entries + entries,
    ), existed


def attached(state: State, segment: Segment) -> tuple[State, int]:
    """The state after a log entry that attaches a segment, and how many stored ids it replaced.

    The caller holds the index's memory lock.
    """
    fresh = state.fresh.rows
    names = list(fresh.where)
    again = [name for name, row in zip(names, segment.find(names), strict=True) if row >= 0]
    dead = union(state.fresh.dead, [fresh.where.pop(name) for name in again])
    sealed = tuple(s.without(s.segment.shared(segment)) for s in state.sealed)
    after = replace(
        state,
        log_next=state.log_next.next,
        sealed=(*sealed, Sealed(segment)),
        fresh=seen(fresh, dead, state.fresh.blind),
        entries=state.entries + 1,
    )
    return after, state.count + segment.rows - after.count


def seen(rows: Fresh, dead: Any = EMPTY, blind: Any = EMPTY) -> Seen:
    """All fresh rows there are now, as a snapshot has them."""
    count = len(rows.ids)
    return Seen(rows, rows.coded[:count], count, np.asarray(dead, np.int64), np.asarray(blind, np.int64))


def empty(manifest: Manifest, sealed: tuple[Sealed, ...] = ()) -> State:
    """A generation before any log entry."""
    rows = Fresh(manifest.dimension, manifest.distance)
    return State(manifest, Number(manifest.number.epoch, manifest.log_from), sealed, seen(rows))
