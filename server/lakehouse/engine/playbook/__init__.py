"""The playbook: which answers served which questions, and how that moves the answers of the next search."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.engine.playbook.boost import boosted, lifted

if TYPE_CHECKING:
    from lakehouse import config
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.journal import Record
    from lakehouse.engine.vectors import Vectors

DEFAULT_CORPUS = "playbook_memory"
DEFAULT_TOP_K = 5
DEFAULT_MAX_DISTANCE = 0.5


@dataclass(frozen=True)
class Endorsement:
    """What the playbook says of one answer to a question like this one.

    `effect` is the effective score, after decay and caps: 0 to 1, below 0 for a rejection.
    """

    playbook_id: str
    answer_id: str
    answer_corpus: str
    effect: float
    distance: float  # of the recorded question from this one
    query_text: str


class Playbook:
    """Entries are items of an ordinary vector index, embedded by their question."""

    def __init__(self, embed: "Embedder", vectors: "Vectors", settings: "config.Config", record: "Record") -> None:
        self._embed, self._vectors, self._settings, self._record = embed, vectors, settings, record

    async def endorsements(
        self,
        vector: Any,
        *,
        corpus: str = DEFAULT_CORPUS,
        top_k: int = DEFAULT_TOP_K,
        max_distance: float = DEFAULT_MAX_DISTANCE,
        without: Collection[str] = (),
    ) -> list[Endorsement]:
        """What is known about questions near to this one; nothing when there is no playbook yet.

        At most one an answer: the strongest. `without` are ids of entries to leave out of account.
        Raises Upstream when the playbook is there and cannot be read.
        """
        return []


__all__ = [
    "DEFAULT_CORPUS",
    "DEFAULT_MAX_DISTANCE",
    "DEFAULT_TOP_K",
    "Endorsement",
    "Playbook",
    "boosted",
    "lifted",
]
