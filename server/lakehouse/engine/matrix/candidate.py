"""A hit on its way through the stages of a search, with every number that moves it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from lakehouse.engine.matrix.relevance import Signals
from lakehouse.engine.matrix.shapes import (
    Addend,
    DensePart,
    DiversityPart,
    Explained,
    LexicalPart,
    PlaybookPart,
    Result,
    TermPart,
)
from lakehouse.engine.vectors.asking import Match

By = Literal["distance", "score"]


def similarity(distance: float, metric: str) -> float:
    """A distance as a number that is larger for what is nearer: 1 for the same."""
    return 1 - distance if metric == "cosine" else 1 / (1 + distance)


@dataclass
class Candidate:
    """One item of one corpus. `value` is what it is ordered by: the sum of its addends, in their order."""

    place: int  # of its corpus in the request
    corpus: str
    metric: str
    id: str
    metadata: Any
    read: bool = True  # whether its metadata is known
    by: By = "distance"
    value: float = 0.0
    addends: list[tuple[str, float]] = field(default_factory=list)
    distance: float | None = None
    dense_rank: int | None = None
    dense_addend: float | None = None
    match: Match | None = None
    lexical_rank: int | None = None
    lexical_addend: float | None = None
    reranked: float | None = None
    playbook: PlaybookPart | None = None
    signals: Signals | None = None
    diversity: DiversityPart | None = None

    @property
    def key(self) -> tuple[int, str]:
        return self.place, self.id

    @property
    def order(self) -> tuple[float, int, str]:
        """Best first; ties by corpus, then id."""
        return (self.value if self.by == "distance" else -self.value), self.place, self.id

    @property
    def shown(self) -> float:
        """The score callers see: larger is better."""
        return similarity(self.value, self.metric) if self.by == "distance" else self.value

    @property
    def text(self) -> str:
        """Its words; none where its metadata has no text."""
        held = self.metadata.get("text") if isinstance(self.metadata, dict) else None
        return held if isinstance(held, str) else ""

    def start(self, by: By, **addends: float) -> None:
        """Order it by the sum of these from now on."""
        self.by, self.value, self.addends = by, 0.0, []
        for name, value in addends.items():
            self.addends.append((name, value))
            self.value += value

    def move(self, name: str, to: float) -> None:
        """Change what it is ordered by. Exact in floating point where that changes by a factor of 1/2 to 2."""
        self.addends.append((name, to - self.value))
        self.value = to

    def result(self, explain: bool) -> Result:
        """As callers see it."""
        return Result(
            id=self.id,
            corpus=self.corpus,
            distance=self.value if self.by == "distance" else self.distance,
            metadata=self.metadata,
            score=self.shown,
            boosted_by=self.playbook.playbook_id if self.playbook else None,
            explain=self._explained() if explain else None,
        )

    def _explained(self) -> Explained:
        dense = lexical = None
        if self.dense_rank is not None and self.distance is not None:
            dense = DensePart(
                rank=self.dense_rank,
                distance=self.distance,
                similarity=similarity(self.distance, self.metric),
                addend=self.dense_addend,
            )
        if self.lexical_rank is not None and self.match is not None:
            lexical = LexicalPart(
                rank=self.lexical_rank,
                score=self.match.score,
                terms=[TermPart(**vars(term)) for term in self.match.terms],
                addend=self.lexical_addend,
            )
        return Explained(
            by=self.by,
            addends=[Addend(name=name, value=value) for name, value in self.addends],
            dense=dense,
            lexical=lexical,
            rerank=self.reranked,
            playbook=self.playbook,
            relevance=self.signals,
            diversity=self.diversity,
        )
