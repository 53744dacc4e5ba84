"""What is asked of the matrix: read, checked, and how deep each corpus must be asked for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lakehouse.engine.filters import Filter
from lakehouse.engine.filters.allowed import SqlFilter
from lakehouse.engine.matrix.relevance import Focus
from lakehouse.engine.playbook import DEFAULT_CORPUS, DEFAULT_MAX_DISTANCE, DEFAULT_TOP_K
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

DEFAULT_K = 8
DEFAULT_PER_CORPUS_K = 6
FUSED_DEPTH = 100  # ranks beyond it add less than 1/160 to a fused score
WIDENING = 4  # times k: what later stages choose from
Retrieval = Literal["dense", "lexical", "hybrid"]


class Relevance(BaseModel):
    """The relevance filter as a stage of a search."""

    model_config = ConfigDict(extra="forbid")

    focus: Focus = Field(description="The file worked on.")
    threshold: float | None = Field(None, description="Least score kept; 0.3.")


@dataclass(frozen=True)
class Request:
    """A search as its caller wrote it. `check` raises InvalidInput naming the argument that is wrong."""

    query_text: str | None = None
    query_vector: "Sequence[float] | np.ndarray | None" = None
    corpora: Sequence[str] | None = None
    model: str | None = None
    k: int | None = None
    per_corpus_k: int | None = None
    retrieval: Retrieval = "dense"
    metadata_filter: Mapping[str, Any] | None = None
    sql_prefilter: SqlFilter | None = None
    use_playbook: bool = False
    playbook_corpus: str | None = None
    playbook_top_k: int | None = None
    playbook_max_distance: float | None = None
    without: Collection[str] = ()
    relevance: Relevance | None = None
    rerank: bool = False
    diversity: float | None = None
    min_score: float | None = None
    explain: bool = False


@dataclass(frozen=True)
class Plan:
    """A request that was checked, with its defaults filled in.

    `wide` is how many results there are in all, `each` how many of one corpus, `deep` how many one corpus is asked for
    on each side. `note` says what was done in place of what was asked.
    """

    asked: Request
    text: str
    retrieval: Retrieval
    wide: int
    each: int
    deep: int
    filter: Filter | None
    playbook_corpus: str
    playbook_top_k: int
    playbook_max_distance: float
    note: str | None = None

    @property
    def dense(self) -> bool:
        """Whether nearness of vectors is looked at."""
        return self.retrieval != "lexical"

    @property
    def lexical(self) -> bool:
        """Whether matching words are looked at."""
        return self.retrieval != "dense"


def plan(asked: Request, wanted: Filter | None, max_k: int, top_n: int) -> Plan:
    """Raises InvalidInput naming the argument. `max_k` is the deepest an index may be asked, `top_n` reranked hits."""
    text = (asked.query_text or "").strip()
    if asked.query_vector is None and not text:
        raise InvalidInput("query_text, query_vector: there is no query.", fix="Give one of the two.")
    if asked.corpora is not None and not asked.corpora:
        raise InvalidInput("corpora: the list is empty.", fix="Name corpora, or leave it out to search all.")
    retrieval, note = asked.retrieval, None
    if not text:
        if retrieval == "lexical" or asked.rerank:
            argument = "retrieval" if retrieval == "lexical" else "rerank"
            raise InvalidInput(f"{argument}: it compares words, and there is no query_text.", fix="Give query_text.")
        if retrieval == "hybrid":
            retrieval, note = "dense", "dense: hybrid needs query_text"
    wide, each = _sizes(asked.k, asked.per_corpus_k, max_k)
    _check_bounds(asked, max_k)
    chooses = asked.use_playbook or asked.relevance or asked.rerank or asked.diversity
    if chooses or wanted is not None or asked.sql_prefilter is not None:
        each = max(each, WIDENING * wide)
    if asked.rerank:
        each = max(each, top_n)
    each = min(each, max_k)
    deep = min(max(FUSED_DEPTH, each), max_k) if retrieval == "hybrid" else each
    top_k, distance = asked.playbook_top_k, asked.playbook_max_distance
    return Plan(
        asked,
        text,
        retrieval,
        wide,
        each,
        deep,
        wanted,
        asked.playbook_corpus or DEFAULT_CORPUS,
        DEFAULT_TOP_K if top_k is None else top_k,
        DEFAULT_MAX_DISTANCE if distance is None else distance,
        note,
    )


def _sizes(k: int | None, per_corpus_k: int | None, max_k: int) -> tuple[int, int]:
    """How many hits in all, and of each corpus."""
    for name, value, least in (("k", k, 1), ("per_corpus_k", per_corpus_k, 0)):
        if value is not None and not least <= value <= max_k:
            raise InvalidInput(
                f"{name}: it is {value}, not {least} to {max_k} (vectors.max_k).", fix="Ask for fewer, or leave it out."
            )
    return k or DEFAULT_K, per_corpus_k or (max(k, DEFAULT_PER_CORPUS_K) if k else DEFAULT_PER_CORPUS_K)


def _check_bounds(asked: Request, max_k: int) -> None:
    top_k, distance = asked.playbook_top_k, asked.playbook_max_distance
    if top_k is not None and not 1 <= top_k <= max_k:
        raise InvalidInput(
            f"playbook_top_k: it is {top_k}, not 1 to {max_k} (vectors.max_k).", fix="Leave it out for 5."
        )
    if distance is not None and not distance >= 0:
        raise InvalidInput(f"playbook_max_distance: it is {distance}.", fix="Give a distance, or leave it out for 0.5.")
    if asked.diversity is not None and not 0 <= asked.diversity <= 1:
        raise InvalidInput(f"diversity: it is {asked.diversity}, not 0 to 1.", fix="Leave it out for none.")
    if asked.min_score is not None and asked.min_score != asked.min_score:
        raise InvalidInput("min_score: it is not a number.", fix="Leave it out for none.")
