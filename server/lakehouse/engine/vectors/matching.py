"""BM25 over one snapshot: which texts match a question's words, and how well. Load it in a worker thread.

The score of a row is the sum over the question's distinct terms of

    idf x f (k1 + 1) / (f + k1 (1 - b + b length / average length)),   idf = ln(1 + (N - n + 0.5) / (n + 0.5))

with f the term's frequency in the row, N the rows with a text and n those with the term: Robertson and Zaragoza, "The
Probabilistic Relevance Framework: BM25 and Beyond" (2009), with Lucene's idf, which is never negative. N, n and the
average are those of all live rows, whatever segments they are in and whatever a filter hides, so a row scores the same
however the index is stored. Every addend is rounded to a multiple of 2**-36: such sums are exact in any order.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.engine.lexical.analysis import question
from lakehouse.engine.lexical.postings import Found, Words
from lakehouse.engine.vectors.asking import Term
from lakehouse.engine.vectors.batch import F64, Rows

if TYPE_CHECKING:
    from lakehouse.engine.vectors.snapshot import State

K1, B = 1.2, 0.75
MAX_CHARS = 65_536  # of a question: six million without a space take 11 s
MAX_LOOKED_UP = 1024  # terms of a question: the first
MAX_TERMS = 128  # of those count: the rarest. 500 common words of 100,000 texts take 180 ms, 128 take 15
_GRID = 2.0**36
_SPARSE = 8  # up to an eighth of the rows, sorting the postings is cheaper than a score for each row


@dataclass(frozen=True)
class _Part:
    """The words of a segment or of the fresh rows; `alive` is None where no row is dead."""

    words: Words
    dead: Rows
    alive: NDArray[np.bool_] | None

    def frequency(self, found: Found | None) -> int:
        if found is None:
            return 0
        return len(found[0]) if self.alive is None else int(np.count_nonzero(self.alive[found[0]]))


@dataclass(frozen=True)
class _Asked:
    """One term of the question, and what each part has of it."""

    term: str
    idf: float
    found: list[Found | None]


@dataclass(frozen=True)
class Matching:
    """Rows that match, by falling score, then id; and what their scores are made of, to be read for some of them."""

    rows: list[tuple[float, str, int, int]]  # the score below 0 in units of the grid, the id, the part, its row
    parts: list[_Part]
    asked: list[_Asked]
    slope: float

    def scored(self) -> list[tuple[str, float, int, int]]:
        """The id, the score, the part and the row of each."""
        return [(id, -score / _GRID, place, row) for score, id, place, row in self.rows]

    def terms(self, chosen: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[Term, ...]]:
        """The terms in each chosen row, given as its part and row."""
        return _explained(self.parts, self.asked, self.slope, chosen)


def matching(state: "State", text: str, k: int, masks: list[NDArray[np.bool_]] | None = None) -> Matching:
    """The k rows that the masks let through whose text matches best, by falling score, then id.

    A text without a word, or with stop words only, matches nothing. Of a long one the 128 rarest terms count, among the
    first 1,024 in the first 65,536 characters.
    """
    wanted = question(text[:MAX_CHARS], MAX_LOOKED_UP)
    if not wanted:
        return Matching([], [], [], 0.0)
    parts = [_part(s.segment.words, s.dead) for s in state.sealed]
    parts.append(_part(state.fresh.words, state.fresh.dead))
    documents = sum(part.words.documents - int(np.count_nonzero(part.words.lengths[part.dead])) for part in parts)
    total = sum(part.words.total - int(part.words.lengths[part.dead].sum(dtype=np.int64)) for part in parts)
    asked = []
    for term in wanted:
        found = [part.words.find(term) for part in parts]
        often = sum(part.frequency(one) for part, one in zip(parts, found, strict=True))
        if often:
            asked.append(_Asked(term, math.log(1 + (documents - often + 0.5) / (often + 0.5)), found))
    if not asked:
        return Matching([], [], [], 0.0)
    if len(asked) > MAX_TERMS:
        asked = sorted(asked, key=lambda one: -one.idf)[:MAX_TERMS]
    slope = K1 * B * documents / total
    scored = []
    for place, part in enumerate(parts):
        there = [(one.idf, *own) for one in asked if (own := one.found[place]) is not None]
        rows, scores = _scored(part, there, slope, None if masks is None else masks[place])
        scored.append(_best(state, place, rows, scores, k))
    least = _kth(np.concatenate([scores for _, scores in scored]), k)
    named: list[tuple[float, str, int, int]] = []
    for place, (rows, scores) in enumerate(scored):
        rows, scores = rows[scores >= least], scores[scores >= least]
        named += zip((-scores).tolist(), state.named(place, rows), [place] * len(rows), rows.tolist(), strict=True)
    return Matching(sorted(named)[:k], parts, asked, slope)


def _part(words: Words, dead: Rows) -> _Part:
    if not len(dead):
        return _Part(words, dead, None)
    alive = np.ones(len(words.lengths), np.bool_)
    alive[dead] = False
    return _Part(words, dead, alive)


def _addends(idf: float, counts: NDArray[Any], lengths: NDArray[Any], slope: float) -> F64:
    """A term's part in the scores of rows, in units of 1 / _GRID; whole numbers."""
    scores: F64 = counts.astype(np.float64)
    below = lengths * slope
    below += K1 * (1 - B)
    below += scores
    scores *= idf * (K1 + 1) * _GRID
    scores /= below
    np.rint(scores, out=scores)
    return scores


def _kth(scores: F64, k: int) -> float:
    """The k-th largest score; 0 where there are no more than k."""
    return float(np.partition(scores, -k)[-k]) if k < len(scores) else 0.0


def _best(state: "State", place: int, rows: Rows, scores: F64, k: int) -> tuple[Rows, F64]:
    """The k best rows of a part, and as many more that tie with the last of them: those that are first by id."""
    least = _kth(scores, k)
    better = scores > least
    tied = state.foremost(place, rows[scores == least], k) if least else rows[:0]
    return np.append(rows[better], tied), np.append(scores[better], np.full(len(tied), least))


def _scored(
    part: _Part, there: list[tuple[float, Any, Any]], slope: float, mask: NDArray[np.bool_] | None
) -> tuple[Rows, F64]:
    """Rows of a part and their scores, which are 0 where nothing matches."""
    lengths = part.words.lengths
    if sum(len(rows) for _, rows, _ in there) * _SPARSE < len(lengths):
        rows, scores = _summed(there, lengths, slope)
        for shown in (part.alive, mask):
            if shown is not None:
                rows, scores = rows[shown[rows]], scores[shown[rows]]
        return rows, scores
    scores = np.zeros(len(lengths))
    for idf, own, counts in there:
        scores[own] += _addends(idf, counts, lengths[own], slope)
    for shown in (part.alive, mask):
        if shown is not None:
            scores *= shown
    return np.arange(len(scores)), scores


def _summed(there: list[tuple[float, Any, Any]], lengths: Any, slope: float) -> tuple[Rows, F64]:
    if not there:
        return np.empty(0, np.int64), np.empty(0)
    rows = np.concatenate([own for _, own, _ in there]).astype(np.int64)
    scores = np.concatenate([_addends(idf, counts, lengths[own], slope) for idf, own, counts in there])
    if len(there) == 1:
        return rows, scores
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    first = np.append(True, rows[1:] != rows[:-1])
    return np.asarray(rows[first]), np.bincount(np.cumsum(first) - 1, scores[order]).astype(np.float64, copy=False)


def _explained(
    parts: list[_Part], asked: list[_Asked], slope: float, chosen: list[tuple[int, int]]
) -> dict[tuple[int, int], tuple[Term, ...]]:
    """The terms in each chosen row."""
    explained: dict[tuple[int, int], list[Term]] = {place: [] for place in chosen}
    for place, part in enumerate(parts):
        rows = np.array(sorted(row for own, row in chosen if own == place), np.int64)
        for one in asked:
            found = one.found[place]
            if found is None or not len(rows):
                continue
            own, counts = found
            at = np.minimum(np.searchsorted(own, rows), len(own) - 1)
            there = own[at] == rows
            often = counts[at[there]]
            scores = _addends(one.idf, often, part.words.lengths[rows[there]], slope) / _GRID
            for row, count, score in zip(rows[there].tolist(), often.tolist(), scores.tolist(), strict=True):
                explained[place, row].append(Term(one.term, one.idf, count, score))
    return {place: tuple(terms) for place, terms in explained.items()}
