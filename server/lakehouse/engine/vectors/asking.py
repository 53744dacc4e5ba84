"""What is asked of one index, and what it answers: nearest vectors, matching words, or both, of one snapshot."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse.engine.filters import Filter
from lakehouse.engine.vectors.items import Hit

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Ask:
    """A question to one index: the `k` items nearest to `vector`, the `k` whose text matches `text` best, or both.

    Only items that `filter` lets through, and whose id is one of `ids` where those are given, can be in the answer:
    there are fewer than `k` only when fewer such items exist. `exact` looks at every vector instead of a graph,
    `ef_search` is the effort in graphs instead of the index's, `vectors` has those of the answer returned, too.
    """

    k: int
    vector: Any = None
    text: str | None = None
    filter: Filter | None = None
    ids: Collection[str] | None = None
    exact: bool = False
    vectors: bool = False
    ef_search: int | None = None


@dataclass(frozen=True)
class Term:
    """One word's part in a BM25 score: `score` = `idf` x the saturated frequency."""

    term: str
    idf: float
    frequency: int
    score: float


@dataclass(frozen=True)
class Match:
    """One item whose text matches. `score` is BM25 and the sum of its `terms`; larger is better."""

    id: str
    score: float
    metadata: Any
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What an index answers, all of it from one snapshot of one generation.

    `near` is by distance, then id; `matches` by falling score, then id. `left_out` counts the items that the filter
    and the ids exclude. `scanned` says how vectors were found: "graph", "scan", or both joined by "+".
    """

    index: str
    generation: int
    near: list[Hit] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    left_out: int = 0
    scanned: str = "scan"
    vectors: "dict[str, np.ndarray]" = field(default_factory=dict)
