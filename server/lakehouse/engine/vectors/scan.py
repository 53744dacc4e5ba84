"""Nearest rows, by a graph or by scanning 8-bit codes: both propose rows, the vectors decide. Load it in a thread.

The codes' errors are independent roundings, so an approximate score is off by about (step of the row + step of the
query) / sqrt(12). A row stays a candidate while it could still be among the k nearest if both scores were off by
SIGMAS of that, so the answer of a scan is the exact one whatever the data looks like; hard data only makes more
candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numkong
import numpy as np
from numpy.typing import NDArray

from lakehouse.engine.vectors.batch import F32, F64, I8, Rows
from lakehouse.engine.vectors.graph import Graph
from lakehouse.engine.vectors.quantise import Coded, Weights, encode
from lakehouse.engine.vectors.rowset import EMPTY, inside

SIGMAS = 2.5
EXACT_ROWS = 1024  # scored directly: as fast as codes up to here
FEW_ROWS = 256  # the same for rows that do not lie beside each other
MANY = 256  # more candidates than this are scored once more before the exact distances
GRAPH_K = 200  # beyond, a scan costs little more
PROPOSED = 3  # rows a graph proposes for each that is wanted: the error of 8 bits reorders them
GATHERED = 25_000  # rows that are picked out and scanned, in 1 ms; of more, a graph finds the nearest sooner
DENSE = 0.3  # beyond, scanning all rows is faster than picking
_SPARSE = 0.05  # a graph would be asked for so many rows that it is no faster
_STEP = 4096
_BLOCK = 64
_OFF = SIGMAS / 12**0.5
_SINGLE = 1e-6  # what single precision may be off by, of scores of about one
_NEVER = np.float32(1e30)  # no score comes near it
_FAR = 1e6  # times the longest row: a query from there is beyond single precision

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Rows that are searched together: a segment or the fresh rows. `hidden` rows are dead or have no vector."""

    coded: Coded
    hidden: Rows
    graph: Graph | None = None
    weights: Weights | None = None  # kept by whoever keeps the rows

    @cached_property
    def live(self) -> Rows:
        return np.delete(np.arange(len(self.coded)), self.hidden)


@dataclass(frozen=True)
class Query:
    """A search vector with what scanning needs of it."""

    vector: F32
    codes: I8
    step: float
    norm: float
    distance: str

    @classmethod
    def of(cls, vector: F32, distance: str) -> "Query":
        """A checked vector, made ready."""
        coded = encode(vector[None], distance)
        return cls(vector, coded.codes, float(coded.steps[0]), float(coded.norms[0]), distance)


# Rows with the lowest and the highest score each may have.
Bounds = tuple[Rows, F64, F64]
_NONE = np.empty(0)
_cdist: Any = numkong.cdist  # its stubs know no integers


def nearest(
    parts: Sequence[Part],
    query: Query,
    k: int,
    masks: Sequence[Mask] | None = None,
    *,
    exact: bool = True,
    ef: int | None = None,
) -> tuple[list[tuple[float, int, int]], set[str]]:
    """The k nearest as (distance, part, row), and all that tie with the last of them, in no particular order.

    `masks` say of each part's rows which are wanted. With `exact`, graphs are left alone; `ef` is the effort in them
    instead of their own. The second value names what was done: "graph", "scan".
    """
    found: list[Bounds] = []
    used = set()
    for place, part in enumerate(parts):
        mask = None if masks is None else masks[place][: len(part.coded)]
        linked = None if exact or k > GRAPH_K or part.graph is None or not part.graph.checked else part.graph
        proposed = None if linked is None else _by_graph(part, linked, query, k, mask, ef)
        if proposed is None:
            proposed = _by_codes(part, query, k, mask)
            if len(part.coded):
                used.add("scan")
        else:
            used.add("graph")
        found.append(proposed)
    if sum(len(rows) for rows, _, _ in found) > MANY + k:
        rows_left = _within(found, k)
        found = [_by_vectors(part, rows, query) for part, rows in zip(parts, rows_left, strict=True)]
    chosen = _within(found, k)
    distances = np.concatenate([_exact(p, rows, query) for p, rows in zip(parts, chosen, strict=True)] or [_NONE])
    places = np.repeat(np.arange(len(parts)), [len(rows) for rows in chosen])
    rows = np.concatenate(chosen or [EMPTY])
    best = np.flatnonzero(distances <= _kth(distances, k))
    return list(zip(distances[best].tolist(), places[best].tolist(), rows[best].tolist(), strict=True)), used


def _within(found: Sequence[Bounds], k: int) -> list[Rows]:
    """The rows that may be among the k nearest of all parts together."""
    if not found:
        return []
    bound = _kth(np.concatenate([highest for _, _, highest in found]), k)
    return [rows[lowest <= bound] for rows, lowest, _ in found]


def _kth(values: Any, k: int) -> float:
    """The k-th smallest value; infinity when there are no more than k."""
    return float(np.partition(values, k - 1)[k - 1]) if k < len(values) else float("inf")


def _by_graph(part: Part, graph: Graph, query: Query, k: int, mask: Mask | None, ef: int | None) -> Bounds | None:
    """The rows a graph proposes; None where a scan is faster, or has to look again.

    What survives of the nearest rows are the nearest of the wanted ones, however these are chosen, as long as enough
    survive: with fewer than twice the k, the graph may not have looked where they are.
    """
    total = len(part.coded)
    share = 1.0
    if mask is not None:
        wanted = int(np.count_nonzero(mask))
        share = wanted / total
        if wanted <= GATHERED or share < _SPARSE:
            return None
    seen = max(PROPOSED * k, ef or graph.ref.ef_search)
    count = min(total, int(seen / share) + min(len(part.hidden), 64))
    while True:
        rows = graph.near(query.vector, count, ef)
        kept = rows[~inside(rows, part.hidden)] if len(part.hidden) else rows
        kept = kept if mask is None else kept[mask[kept]]
        if len(kept) >= min(2 * k, total):
            break
        if mask is not None or count >= total or len(rows) < count or count > PROPOSED * GRAPH_K:
            return None
        count = min(total, 2 * count)
    found = _by_vectors(part, np.sort(kept), query)
    # Where the last of the wanted ties with the last of the proposed, there may be more of them: by id, they count.
    if len(kept) > k and _kth(found[2], k) >= float(found[1].max()):
        return None
    return found


def _by_codes(part: Part, query: Query, k: int, mask: Mask | None) -> Bounds:
    """The rows that may be among the k nearest by their codes. Of few wanted rows only those are looked at."""
    total = len(part.coded)
    if mask is None:
        if total <= EXACT_ROWS:
            return _by_vectors(part, part.live, query)
        return _scanned(part, query, k, None)
    wanted = int(np.count_nonzero(mask))
    if total > EXACT_ROWS and wanted > DENSE * total:
        return _scanned(part, query, k, mask)
    rows = np.flatnonzero(mask)
    if len(part.hidden):
        rows = rows[~inside(rows, part.hidden)]
    return _by_vectors(part, rows, query) if len(rows) <= FEW_ROWS else _scanned(part, query, k, None, rows)


def _scanned(part: Part, query: Query, k: int, mask: Mask | None, rows: Rows | None = None) -> Bounds:
    """First by scores in single precision and one bound for all rows, then, of those left, by each row's own."""
    coded, codes = part.coded, part.coded.codes
    weights = part.weights or Weights.of(coded, query.distance)
    far = query.norm / weights.unit
    if query.distance != "cosine" and far > _FAR:
        return _by_vectors(part, _wanted(part, mask, rows), query)
    if rows is not None:
        codes, weights = codes.take(rows, axis=0), weights[rows]
    # Codes first, query second: the other way round packs all rows for every query, 16 ms per 100K x 384 instead of 2.
    dots = np.asarray(_cdist(codes, query.codes, "dot", out_dtype="int32"))[:, 0]
    scores = dots.astype(np.float32)
    scores *= weights.steps
    if query.distance == "cosine":
        scores *= np.float32(-query.step)
        slack = (weights.step + query.step) * _OFF + _SINGLE
    else:
        # |x - q|^2 without |q|^2, which all rows share.
        step = query.step / weights.unit
        scores *= np.float32(-2 * step)
        scores += weights.squares
        slack = 2 * _OFF * (weights.step * far + step) + _SINGLE * (1 + far)
    if rows is None:
        scores[part.hidden] = np.inf
        if mask is not None:
            scores += (~mask).astype(np.float32) * _NEVER  # 20 us for 100K rows; setting them takes 300
    near = np.flatnonzero(scores <= np.float32(_upper(scores, k) + 2 * slack))
    near = near[scores[near] < _NEVER / 2]
    chosen = near if rows is None else rows[near]
    steps, norms, products = coded.steps[chosen], coded.norms[chosen], dots[near]
    if query.distance == "cosine":
        finer, off, shift = products * (-query.step * steps), (steps + query.step) * _OFF, 1.0
    else:
        finer = norms**2 - products * (2 * query.step * steps)
        off, shift = (steps * query.norm + query.step * norms) * (2 * _OFF), query.norm**2
    left = finer - off <= _kth(finer + off, k)
    return chosen[left], (finer - off)[left] + shift, (finer + off)[left] + shift


def _wanted(part: Part, mask: Mask | None, rows: Rows | None) -> Rows:
    return rows if rows is not None else part.live if mask is None else part.live[mask[part.live]]


def _upper(scores: F32, k: int) -> float:
    """Not less than the k-th smallest: that of the smallest of each block, which are found ten times as fast."""
    blocks = len(scores) // _BLOCK
    if blocks < 2 * k:
        return _kth(scores, k)
    # Every blocks-th row makes a block, and not rows beside each other: 7 us for 100K instead of 95.
    return _kth(scores[: blocks * _BLOCK].reshape(_BLOCK, blocks).min(axis=0), k)


def _by_vectors(part: Part, rows: Rows, query: Query) -> Bounds:
    """1 - cos, or the squared L2 norm of the difference, but for rounding in double precision."""
    vectors, norms = part.coded.vectors, part.coded.norms
    whole = len(rows) * 4 > len(vectors)
    starts = range(0, len(vectors) if whole else len(rows), _STEP)
    blocks = (vectors[start : start + _STEP] if whole else vectors[rows[start : start + _STEP]] for start in starts)
    parts = [np.asarray(_cdist(block, query.vector[None], "dot"))[:, 0] for block in blocks]
    dots = np.concatenate(parts or [_NONE])
    dots = dots[rows] if whole else dots
    norms = norms[rows]
    if query.distance == "cosine":
        scores, slack = 1 - dots / (norms * query.norm), np.full(len(rows), 1e-12)
    else:
        squares = norms**2 + query.norm**2
        scores, slack = squares - 2 * dots, 1e-12 * squares
    return rows, scores - slack, scores + slack


def _exact(part: Part, rows: Rows, query: Query) -> F64:
    """The distances callers see. Each row is computed by itself, so equal vectors tie exactly wherever they lie."""
    distances = np.empty(len(rows))
    q = query.vector.astype(np.float64)
    for start in range(0, len(rows), _STEP):
        chosen = rows[start : start + _STEP]
        wide = part.coded.vectors[chosen].astype(np.float64)
        if query.distance == "cosine":
            dots = np.einsum("ij,j->i", wide, q)
            distances[start : start + _STEP] = 1 - dots / (part.coded.norms[chosen] * query.norm)
        else:
            wide -= q
            distances[start : start + _STEP] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return np.maximum(distances, 0, out=distances)
