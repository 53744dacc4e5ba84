"""A segment's HNSW graph: built once by one thread, measured, stored beside the segment, only read after that.

Its nodes are 8-bit codes of one scale, keyed by row: of unit vectors for cosine (inner product), of the distances from
a middle for euclidean. A search in it only proposes rows; the vectors decide. Load it in a worker thread.

Concurrent `add` leaves nodes that no search reaches (usearch issue 735), so one thread builds; `remove`, `contains` and
`keys` are of no use without key lookups and are never called; a served graph is never added to.
"""

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lakehouse.engine.files import sha256_of
from lakehouse.engine.vectors.batch import F32, I8, Rows
from lakehouse.engine.vectors.format import GraphRef, damaged, graph_key
from lakehouse.engine.vectors.mapping import mapped
from lakehouse.engine.vectors.quantise import Coded

M, EF_CONSTRUCTION, EF_SEARCH = 16, 128, 128  # 100K x 384, clustered: recall@10 0.9955; with an effort of 96, 0.991
WIDER = (1, 1.5, 2, 3, 4.5)  # times EF_SEARCH, until a new graph finds what a scan finds
RECALL = 0.995
GAIN = 0.005  # of recall, for which a wider search is worth its time: some pockets no effort finds
LOST = 0.0025  # the share of a sample that may be unfindable by its own vector: less than a search's recall may lack
_FAR_EF, _MOST_EF = 512, 1024
_SAMPLE, _ASKED = 2000, 100  # rows looked up, questions asked of a new graph
_MIDDLE_ROWS = 1024
_QUANTILES = (0.9995, 0.9999, 0.99999, 1)  # of components within the scale; the others are clipped
_CLIPPED = 0.02  # of its inner product with itself a row may lose by that: neighbours are about as far apart
_STEP = 4096
_VIEWS = 4  # efforts of one graph that stay open


@dataclass(frozen=True)
class Coding:
    """How vectors become a graph's codes: (vector - middle) x scale, clipped; of the unit vector for cosine."""

    distance: str
    middle: F32
    scale: float

    @classmethod
    def of(cls, coded: Coded, distance: str, scale: float | None = None) -> "Coding":
        """The coding for these rows; the middle is that of the first rows, which never change."""
        middle = np.zeros(coded.vectors.shape[1], np.float32)
        if distance != "cosine":
            middle = coded.vectors[:_MIDDLE_ROWS].mean(axis=0, dtype=np.float64).astype(np.float32)
        if scale is None:
            some = np.linspace(0, len(coded) - 1, min(len(coded), 8192)).astype(np.int64)
            sizes = np.abs(cls(distance, middle, 1.0).moved(coded.vectors[some]))
            reach = _reach(sizes, distance)
            scale = 127 / reach if reach else 1.0
        return cls(distance, middle, scale)

    def moved(self, vectors: F32) -> Any:
        """The vectors (n, d) before they are scaled and rounded, float64."""
        wide = vectors.astype(np.float64)
        if self.distance == "cosine":
            wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
        else:
            wide -= self.middle
        return wide

    def codes(self, vectors: F32) -> I8:
        """The codes of vectors (n, d)."""
        wide = self.moved(vectors)
        wide *= self.scale
        codes: I8 = np.clip(np.rint(wide, out=wide), -127, 127, out=wide).astype(np.int8)
        return codes


def _reach(sizes: Any, distance: str) -> float:
    """The largest component that is told apart, of components' sizes (n, d); 0 where all are 0.

    The less is clipped, the coarser all others become. But a clipped row has a smaller inner product with everything,
    so that no search finds it: vectors with few large components need more (hashed words, 4,254 x 256: recall@10 0.96
    with the first quantile, whatever the effort, 0.998 with less clipped).
    """
    for quantile in _QUANTILES:
        reach = float(np.quantile(sizes, quantile))
        lost = (sizes * np.maximum(sizes - reach, 0)).sum(axis=1)
        if reach and (distance != "cosine" or np.quantile(lost, 1 - LOST) <= _CLIPPED):
            break
    return reach


class Graph:
    """An open graph. `problem` is set when its file turned out to be damaged after it was opened.

    It may be searched when it is `checked` only: a flipped bit in a link would lead a search out of the file's memory.
    """

    def __init__(self, index: str, ref: GraphRef, path: Path, coded: Coded, distance: str) -> None:
        self.ref, self.path, self.index = ref, path, index
        self.problem: str | None = None
        self.checked = False
        self.key = graph_key(index, ref.id)
        self._coded, self._distance = coded, distance
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise damaged(self.key, "it is missing") from None
        if size != ref.size:
            raise damaged(self.key, f"it has {size} bytes instead of {ref.size}")
        self._mapped = mapped(path, self.key)
        self._views = {ref.ef_search: self._view(ref.ef_search)}
        if len(self._views[ref.ef_search]) != len(coded):
            raise damaged(self.key, f"it has {len(self._views[ref.ef_search])} nodes instead of {len(coded)}")

    def _view(self, ef: int) -> Any:
        """The file as a graph that is searched with an effort, which is not a search's but an open graph's own."""
        view = _empty(self._coded.vectors.shape[1], _metric(self._distance), self.ref.m, self.ref.ef_construction)
        try:
            view.view(self._mapped)
        except (RuntimeError, ValueError) as error:
            raise damaged(self.key, "it is no graph") from error
        view.expansion_search = ef
        return view

    @cached_property
    def _coding(self) -> Coding:
        return Coding.of(self._coded, self._distance, self.ref.scale)

    def near(self, vector: F32, count: int, ef: int | None = None) -> Rows:
        """About the rows nearest to a vector, nearest first, found with an effort of `ef`: `count`, or `ef` if more.

        All that the search has looked at are given: 8 bits reorder neighbours that lie close together, and of 100K x
        384 clustered vectors the 30 best by codes have 0.961 of the 10 nearest, the 128 best 0.9955.
        """
        ef = ef or self.ref.ef_search
        view = self._views.get(ef)
        if view is None:
            view = self._views[ef] = self._view(ef)
            while len(self._views) > _VIEWS:
                self._views.pop(next(other for other in [*self._views] if other not in (ef, self.ref.ef_search)), None)
        return _near(view, self._coding.codes(vector[None])[0], max(count, min(ef, len(self._coded))))

    def verify(self, *, later: bool = False) -> list[str]:
        """Read the file against its checksum; the problem found, naming the file. `later` as for a segment's.

        A graph whose file is gone is not checked, and so not searched.
        """
        try:
            if sha256_of(self.path) != self.ref.sha256:
                self.problem = f"{self.key}: its checksum differs"
        except OSError as error:
            if later and isinstance(error, FileNotFoundError):
                return []
            self.problem = f"{self.key}: {error.strerror}"
        self.checked = self.problem is None
        return [self.problem] if self.problem else []


def _near(graph: Any, codes: I8, count: int) -> Rows:
    # threads=0, the default, costs more than the search of a small graph does.
    return np.asarray(graph.search(codes, count, threads=1).keys, np.int64)


def _metric(distance: str) -> str:
    return "ip" if distance == "cosine" else "l2sq"


def _empty(dimension: int, metric: str, m: int, ef_construction: int) -> Any:
    from usearch.index import Index  # 30 ms and more, which small indexes need not pay

    return Index(
        ndim=dimension,
        metric=metric,
        dtype="i8",
        connectivity=m,
        expansion_add=ef_construction,
        expansion_search=EF_SEARCH,
        enable_key_lookups=False,
    )


@dataclass(frozen=True)
class Wishes:
    """What an index asks of its graphs; None leaves it to us."""

    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None


class Builder:
    """Builds one graph over the rows of a segment; only for a process of its own.

    `misses` counts the rows of a sample that the first try did not find by their own vector. Some are only far away for
    a narrow search (100K x 384: 3 of 2,000, none of them for a wide one); when a wide one misses more than LOST, the
    graph is built again with twice the care.
    """

    def __init__(self, coded: Coded, distance: str, wishes: Wishes) -> None:
        self._coded, self._wishes = coded, wishes
        self._coding = Coding.of(coded, distance)
        self._distance = distance
        self.misses = 0
        self._began = time.perf_counter()
        self._ef_construction = wishes.ef_construction or EF_CONSTRUCTION
        self._m = wishes.m or M

    def build(self) -> Iterator[int]:
        """Build, repair, measure; yields the number of rows added as it goes."""
        yield from self._added()
        self.misses = self._lost(EF_SEARCH)
        while self.misses and self._lost(_FAR_EF) > LOST * self._sampled and self._ef_construction < _MOST_EF:
            self._ef_construction *= 2
            yield from self._added()
        self._graph.expansion_search = self._wide_enough()

    def save(self, path: Path, id: str) -> GraphRef:
        """Write the graph; what a generation names it by. Raises OSError when the disk fails."""
        try:
            self._graph.save(str(path))
        except RuntimeError as error:
            raise OSError(errno.EIO, "a graph could not be written") from error
        ef, took = int(self._graph.expansion_search), round(time.perf_counter() - self._began, 3)
        found = GraphRef(id, 0, "", self._m, self._ef_construction, ef, self._coding.scale, self.misses, took)
        return replace(found, size=path.stat().st_size, sha256=sha256_of(path))

    def _added(self) -> Iterator[int]:
        coded = self._coded
        self._graph = _empty(coded.vectors.shape[1], _metric(self._distance), self._m, self._ef_construction)
        for start in range(0, len(coded), _STEP):
            codes = self._coding.codes(coded.vectors[start : start + _STEP])
            self._graph.add(np.arange(start, start + len(codes), dtype=np.uint64), codes, threads=1)
            yield start + len(codes)

    def _sample(self, most: int) -> Rows:
        return np.linspace(0, len(self._coded) - 1, min(most, len(self._coded))).astype(np.int64)

    @property
    def _sampled(self) -> int:
        return len(self._sample(_SAMPLE))

    def _lost(self, ef: int) -> int:
        """How many rows of a sample their own codes do not lead to.

        A row that others lie before counts as found: equal ones do, and by inner product longer ones, as codes are of
        unequal length. Taken for lost, they had 100K x 384 built twice, with twice the effort.
        """
        self._graph.expansion_search = ef
        lost = 0
        for row in self._sample(_SAMPLE).tolist():
            codes = self._coding.codes(self._coded.vectors[row : row + 1])[0]
            rows = _near(self._graph, codes, 3)
            if row not in rows:
                found = self._coding.codes(self._coded.vectors[rows])
                lost += bool((self._farness(found, codes) > self._farness(codes[None], codes)).any())
        return lost

    def _farness(self, some: I8, codes: I8) -> Any:
        wide, own = some.astype(np.int64), codes.astype(np.int64)
        return -(wide @ own) if self._distance == "cosine" else ((wide - own) ** 2).sum(axis=1)

    def _wide_enough(self) -> int:
        """The ef with which the graph finds what a scan finds, for queries between neighbouring rows."""
        from lakehouse.engine.vectors.scan import Part, Query, nearest

        if self._wishes.ef_search is not None:
            return self._wishes.ef_search
        k = min(10, len(self._coded))
        asked = []
        part = Part(self._coded, np.empty(0, np.int64))
        for row in self._sample(_ASKED).tolist():
            around, _ = nearest([part], Query.of(self._coded.vectors[row], self._distance), k)
            other = max(around)[2]
            middle = self._coded.vectors[row] / 2 + self._coded.vectors[other] / 2
            if self._distance == "cosine" and not middle.any():
                continue
            query = Query.of(middle, self._distance)
            asked.append((query, {row for _, _, row in sorted(nearest([part], query, k)[0])[:k]}))
        best, most_found = EF_SEARCH, -1
        for wider in WIDER:
            ef = int(EF_SEARCH * wider)
            self._graph.expansion_search = ef
            most = min(max(ef, 3 * k), len(self._coded))
            found = sum(
                len(wanted & set(_near(self._graph, self._coding.codes(query.vector[None])[0], most).tolist()))
                for query, wanted in asked
            )
            if most_found >= 0 and found - most_found < GAIN * k * len(asked):
                break
            best, most_found = ef, found
            if found >= RECALL * k * len(asked):
                break
        return best
