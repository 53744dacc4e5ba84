"""What a search answers: hits with their origin, and on request every number that made their order."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer

from lakehouse.engine.matrix.relevance import Signals
from lakehouse.errors import NotFound

Fusion = Literal["distance", "score", "rank"]
_NULLABLE = {"distance", "metadata"}
_NEAR = "Smaller is nearer; null where only words matched."


class CorpusNotFound(NotFound):
    """There is no corpus of this name."""


class Addend(BaseModel):
    """One part of the number that results are ordered by."""

    name: str = Field(description="Where it is from: dense, lexical, rerank or playbook.")
    value: float = Field(description="What it adds.")


class DensePart(BaseModel):
    """How near the item's vector is."""

    rank: int = Field(description="Its place among the vectors, from 1.")
    distance: float = Field(description="As measured, before the playbook.")
    similarity: float = Field(description="1 - distance for cosine, 1 / (1 + distance) for euclidean.")
    addend: float | None = Field(default=None, description="1 / (60 + rank), where ranks are fused.")


class TermPart(BaseModel):
    """One word's part in the lexical score."""

    term: str = Field(description="The word as it is indexed.")
    idf: float = Field(description="How rare it is.")
    frequency: int = Field(description="Times it stands in the item.")
    score: float = Field(description="What it adds.")


class LexicalPart(BaseModel):
    """How well the item's words match."""

    rank: int = Field(description="Its place among the matches, from 1.")
    score: float = Field(description="BM25: the sum of the terms.")
    terms: list[TermPart] = Field(description="Each word of the question that stands in it.")
    addend: float | None = Field(default=None, description="1 / (60 + rank), where ranks are fused.")


class PlaybookPart(BaseModel):
    """The recorded answer that moved the item."""

    playbook_id: str = Field(description="The entry.")
    question: str = Field(description="What was asked then.")
    distance: float = Field(description="Of that question from this one.")
    effect: float = Field(description="-1 to 1; below 0 for a rejection.")
    factor: float = Field(description="What the distance or the score was multiplied by.")


class DiversityPart(BaseModel):
    """Why the item has its place among those chosen to be unlike each other."""

    relevance: float = Field(description="Its standing from 0 (the last candidate) to 1 (the first).")
    similarity: float = Field(description="Cosine to the most similar item before it.")
    like: str | None = Field(default=None, description="That item: corpus/id.")
    penalty: float = Field(description="diversity x similarity.")
    value: float = Field(description="(1 - diversity) x relevance - penalty; the largest comes next.")


class Explained(BaseModel):
    """Every number behind one hit."""

    by: Literal["distance", "score"] = Field(description="What results are ordered by.")
    addends: list[Addend] = Field(description="Added in this order they are exactly that number.")
    dense: DensePart | None = Field(default=None, description="Absent where the vector was not among the nearest.")
    lexical: LexicalPart | None = Field(default=None, description="Absent where no word matched.")
    rerank: float | None = Field(default=None, description="The reranker's score.")
    playbook: PlaybookPart | None = Field(default=None, description="Absent where no entry moved it.")
    relevance: Signals | None = Field(default=None, description="The relevance filter's signals.")
    diversity: DiversityPart | None = Field(default=None, description="Absent without diversity.")


class Result(BaseModel):
    """One hit."""

    id: str = Field(description="The item's id; `#0`, `#1`, … behind it are the chunks of a long document.")
    corpus: str = Field(description="The corpus it is from.")
    distance: Annotated[float | None, WithJsonSchema({"description": _NEAR})] = Field(description=_NEAR)
    metadata: Any = Field(description="What is stored beside it: text, doc_id, source and the corpus's columns.")
    score: float | None = Field(
        default=None, description="Larger is better: similarity (dense), BM25, fused ranks, or the reranker's."
    )
    boosted_by: str | None = Field(default=None, description="The playbook entry that moved it.")
    explain: Explained | None = Field(default=None, description="With explain: every number behind it.")

    @model_serializer(mode="wrap")
    def _with_nulls(self, rest: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # Absent fields are left out of answers; null is a value here. A return type would replace the fields' schema.
        shown = rest(self)
        return {name: shown.get(name) for name in type(self).model_fields if name in shown or name in _NULLABLE}


class CorpusExplained(BaseModel):
    """What one corpus was asked and gave."""

    corpus: str = Field(description="Its name.")
    generation: int = Field(description="The state that answered.")
    model: str | None = Field(default=None, description="The embedding model of its vectors.")
    scanned: str = Field(description="How vectors were found: graph, scan or both; none where none were looked at.")
    near: int = Field(description="Vectors it gave.")
    matches: int = Field(description="Word matches it gave.")
    left_out: int = Field(description="Live items that the filters exclude.")
    ms: float = Field(description="How long it took.")


class Stage(BaseModel):
    """One step of the search."""

    stage: str = Field(description="prefilter, retrieve, merge, rerank, playbook, relevance, min_score, cut.")
    given: int = Field(description="Candidates before it.")
    dropped: int = Field(description="How many it left out.")
    changed: int = Field(default=0, description="How many it moved.")
    ms: float = Field(description="How long it took.")


class SearchExplained(BaseModel):
    """How a search went."""

    corpora: list[CorpusExplained] = Field(description="Each corpus, in the order asked.")
    stages: list[Stage] = Field(description="Each step, in order.")
    embed_ms: float = Field(description="Embedding the question; 0 where a vector was given.")
    models: list[str] = Field(description="The models it was embedded with.")
    total_ms: float = Field(description="The whole search.")


class Found(BaseModel):
    """The best items of all corpora asked."""

    results: list[Result] = Field(description="At most k hits, best first.")
    count: int = Field(description="How many.")
    per_corpus_counts: dict[str, int] = Field(description="Hits each corpus gave before they were merged.")
    metadata_filter_dropped: int = Field(default=0, description="Items that metadata_filter left out.")
    playbook_boosted: int = Field(default=0, description="Hits the playbook moved.")
    relevance_dropped: int | None = Field(default=None, description="Hits that relevance left out.")
    prefilter_count: int | None = Field(default=None, description="Ids that sql_prefilter allowed.")
    retrieval: str = Field(default="dense", description="dense, lexical or hybrid, as it was done.")
    fusion: Fusion = Field(
        default="distance", description="How hits of several lists were merged: by distance, score or rank."
    )
    note: str | None = Field(default=None, description="Why it was done otherwise than asked, or by rank.")
    explain: SearchExplained | None = Field(default=None, description="With explain: what each step did.")


class Corpus(BaseModel):
    """An index that can be searched."""

    name: str = Field(description="Its name.")
    dimension: int = Field(description="Components of its vectors.")
    distance: str = Field(description="cosine or euclidean.")
    count: int = Field(description="Items in it.")
    generation: int = Field(description="Number of the live build; name@n reads another that is kept.")
    model: str | None = Field(default=None, description="The embedding model its vectors are from.")
    builder: dict[str, Any] | None = Field(default=None, description="What it was built from; absent for a raw index.")
