"""Many corpora searched as one: ask all of them at the same time, merge, move by what is known, cut."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine.filters import checked
from lakehouse.engine.matrix import downgrade, relevance
from lakehouse.engine.matrix.downgrade import Downgrade
from lakehouse.engine.matrix.relevance import Chunk, Focus, Split
from lakehouse.engine.matrix.request import (
    DEFAULT_K,
    DEFAULT_PER_CORPUS_K,
    Relevance,
    Request,
    Retrieval,
    plan,
)
from lakehouse.engine.matrix.shapes import Corpus, CorpusNotFound, Found, Result
from lakehouse.engine.rerank import Reranker

if TYPE_CHECKING:
    import numpy as np

    from lakehouse import config
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.playbook import Playbook
    from lakehouse.engine.sql import Sql
    from lakehouse.engine.vectors import Vectors


class Matrix:
    """Searches across corpora. Keeps nothing itself."""

    def __init__(
        self,
        embed: "Embedder",
        vectors: "Vectors",
        playbook: "Playbook",
        settings: "config.Config",
        sql: "Callable[[], Sql]",
    ) -> None:
        self.embed, self.vectors, self.playbook = embed, vectors, playbook
        self.settings, self.sql = settings, sql
        self.reranker = Reranker(settings.rerank)

    def problems(self) -> list[str]:
        """What is wrong with indexes that are damaged and therefore not listed."""
        return [f"{name}: {problem}" for name, problem in sorted(self.vectors.problems.items())]

    async def corpora(self) -> list[Corpus]:
        """Every index, by name, raw ones too."""
        return [Corpus(**vars(info)) for info in await self.vectors.list()]

    async def search(
        self,
        query_text: str | None = None,
        query_vector: "Sequence[float] | np.ndarray | None" = None,
        **options: Any,
    ) -> Found:
        """The `k` best items of all named corpora (None: of all there are), of each at most `per_corpus_k`.

        `options` are the other fields of `Request`. A given vector wins over a text, and nothing is embedded. All or
        nothing: when one corpus fails, the search does. `k` is 8 and `per_corpus_k` 6 by default; a given `k` raises
        the latter, so that one corpus can fill it, and stages that choose raise it to four times `k`.

        `retrieval` is dense (distances, ascending), lexical (BM25) or hybrid (both, fused by rank); what has a score
        is in order of it. The playbook moves a distance by the factor 1 - effect / 2, a score by its inverse.
        `diversity` alone departs from the order of scores.

        Raises InvalidInput for no query, an empty list of corpora, a bad k, a vector of another dimension than a
        corpus has; Conflict when a corpus has vectors of a model that is not to be had; CorpusNotFound when there are
        no corpora at all; NotInstalled for `rerank` without a reranker; Upstream naming the corpus, or caused by
        EmbedFailed or RerankFailed, when one is missing or fails.
        """
        from lakehouse.engine.matrix.search import Search

        asked = Request(query_text, query_vector, **options)
        if asked.rerank:
            self.reranker.check()
        wanted = await checked(asked.metadata_filter, "metadata_filter")
        return await Search(self, plan(asked, wanted, self.settings.vectors.max_k, self.reranker.top_n)).run()

    async def relevance(self, focus: Focus, chunks: Sequence[Chunk], threshold: float | None = None) -> Split:
        """Chunks that have to do with a file, and those that do not: see `relevance.split`."""
        settings = self.settings.relevance
        least = settings.threshold if threshold is None else threshold
        work = partial(relevance.split, focus, chunks, least, keep_all=not settings.filter)
        return await anyio.to_thread.run_sync(work)

    def downgrade(
        self,
        mode: str,
        model: str,
        *,
        force_mode: bool = False,
        force_full_enrichment: bool | None = None,
        weak_models: Sequence[str] | None = None,
    ) -> Downgrade:
        """The mode for a model: see `downgrade.gate`. What is None is as the settings have it."""
        models = self.settings.models
        full = models.force_full_enrichment if force_full_enrichment is None else force_full_enrichment
        forced = "force_mode" if force_mode else "force_full_enrichment" if full else None
        listed = models.weak_models if weak_models is None else weak_models
        return downgrade.gate(mode, model, forced=forced, listed=listed)


__all__ = [
    "DEFAULT_K",
    "DEFAULT_PER_CORPUS_K",
    "Chunk",
    "Corpus",
    "CorpusNotFound",
    "Downgrade",
    "Focus",
    "Found",
    "Matrix",
    "Relevance",
    "Result",
    "Retrieval",
    "Split",
]
