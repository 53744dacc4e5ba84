"""What is asked of one index, and what it answers: nearest vectors, matching words, or both, of one snapshot."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

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
    `brief` leaves metadata and terms unread: the answer's `details` has them, for those that are wanted.
    """

    k: int
    vector: Any = None
    text: str | None = None
    filter: Filter | None = None
    ids: Collection[str] | None = None
    exact: bool = False
    vectors: bool = False
    ef_search: int | None = None
    brief: bool = False
    named: str = "vector"  # what its caller calls the vector


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


class Details(Protocol):
    """What a brief answer leaves out, read from its snapshot in a worker thread, for ids that are in the answer."""

    def metadata(self, id: str) -> Any:
        """An item's metadata."""

    def terms(self, ids: Sequence[str]) -> dict[str, tuple[Term, ...]]:
        """The terms in each of some items that match."""


@dataclass(frozen=True)
class Answer:
    """What an index answers, all of it from one snapshot of one generation.

    `near` is by distance, then id; `matches` by falling score, then id. `left_out` counts the items that the filter
    and the ids exclude. `scanned` says how vectors were found: "graph", "scan", or both joined by "+". A brief answer
    has `details` instead of metadata and terms.
    """

    index: str
    generation: int
    near: list[Hit] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    left_out: int = 0
    scanned: str = "scan"
    vectors: "dict[str, np.ndarray]" = field(default_factory=dict)
    details: Details | None = None
