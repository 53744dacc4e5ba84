"""Results unlike each other.

Maximal marginal relevance: Carbonell, Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents
and Producing Summaries", SIGIR 1998. Imports numpy: load it in a worker thread.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.shapes import DiversityPart


def chosen(candidates: Sequence[Candidate], vectors: Sequence[Any], k: int, diversity: float) -> list[Candidate]:
    """The k best in the order they are chosen: each the one that is relevant and unlike those before it.

    `vectors` has each candidate's vector, or None; those of different lengths, like those that are missing, are like
    nothing. `diversity` is 0 (relevance alone) to 1 (unlikeness alone). Scores are taken relative to each other, from
    0 to 1, since cosines and fused ranks are of different sizes. Ties go by the order given.
    """
    relevance = _relative([one.shown for one in candidates])
    units = [_unit(vector) for vector in vectors]
    likeness = np.zeros(len(candidates))
    nearest: list[str | None] = [None] * len(candidates)
    left = list(range(len(candidates)))
    picked: list[Candidate] = []
    while left and len(picked) < k:
        values = (1 - diversity) * relevance[left] - diversity * likeness[left]
        best = left.pop(int(np.argmax(values)))
        one, like = candidates[best], float(likeness[best])
        penalty = diversity * like
        value = float((1 - diversity) * relevance[best]) - penalty
        one.diversity = DiversityPart(
            relevance=float(relevance[best]), similarity=like, like=nearest[best], penalty=penalty, value=value
        )
        picked.append(one)
        for other in left:
            cosine = _cosine(units[best], units[other])
            if cosine > likeness[other]:
                likeness[other], nearest[other] = cosine, f"{one.corpus}/{one.id}"
    return picked


def _relative(scores: Sequence[float]) -> Any:
    values = np.asarray(scores, np.float64)
    if not len(values):
        return values
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones(len(values))


def _unit(vector: Any) -> Any:
    if vector is None:
        return None
    wide = np.asarray(vector, np.float64)
    norm = float(np.linalg.norm(wide))
    return wide / norm if norm else None


def _cosine(some: Any, other: Any) -> float:
    if some is None or other is None or len(some) != len(other):
        return 0.0
    return float(some @ other)
