"""Many corpora searched as one: embed the question once, ask all of them at the same time, merge by distance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from lakehouse.errors import Conflict, InvalidInput, LakehouseError, NotFound, Upstream, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.playbook import Playbook
    from lakehouse.engine.vectors import Hit, IndexInfo, Vectors

DEFAULT_K = 8
DEFAULT_PER_CORPUS_K = 6


class CorpusNotFound(NotFound):
    """There is no corpus of this name."""


class Result(BaseModel):
    """One hit."""

    id: str = Field(description="The item's id; `#0`, `#1`, … behind it are the chunks of a long document.")
    corpus: str = Field(description="The corpus it is from.")
    distance: float = Field(description="Smaller is nearer; results ascend.")
    metadata: Any = Field(description="What is stored beside it: text, doc_id, source and the corpus's columns.")

    @model_serializer(mode="wrap")
    def _with_metadata(self, rest: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # Absent fields are left out of answers; null is a value here. A return type would replace the fields' schema.
        return {"metadata": None} | rest(self) if self.metadata is None else rest(self)


class Found(BaseModel):
    """The nearest items of all corpora asked."""

    results: list[Result] = Field(description="At most k hits, nearest first.")
    count: int = Field(description="How many.")
    per_corpus_counts: dict[str, int] = Field(description="Hits each corpus gave before they were merged.")


class Corpus(BaseModel):
    """An index that can be searched."""

    name: str = Field(description="Its name.")
    dimension: int = Field(description="Components of its vectors.")
    distance: str = Field(description="cosine or euclidean.")
    count: int = Field(description="Items in it.")
    generation: int = Field(description="Number of the live build; name@n reads another that is kept.")
    model: str | None = Field(default=None, description="The embedding model its vectors are from.")
    builder: dict[str, Any] | None = Field(default=None, description="What it was built from; absent for a raw index.")


class Matrix:
    """Searches across corpora. Keeps nothing itself."""

    def __init__(self, embed: "Embedder", vectors: "Vectors", playbook: "Playbook") -> None:
        self._embed = embed
        self._vectors = vectors
        self._playbook = playbook

    def problems(self) -> list[str]:
        """What is wrong with indexes that are damaged and therefore not listed."""
        return [f"{name}: {problem}" for name, problem in sorted(self._vectors.problems.items())]

    async def corpora(self) -> list[Corpus]:
        """Every index, by name, raw ones too."""
        return [Corpus(**vars(info)) for info in await self._vectors.list()]

    async def search(
        self,
        query_text: str | None = None,
        query_vector: "Sequence[float] | np.ndarray | None" = None,
        *,
        corpora: Sequence[str] | None = None,
        model: str | None = None,
        k: int | None = None,
        per_corpus_k: int | None = None,
    ) -> Found:
        """The `k` nearest items of all named corpora (None: of all there are), of each at most `per_corpus_k`.

        A given vector wins over a text, and nothing is embedded. All or nothing: when one corpus fails, the search
        does. `k` is 8 and `per_corpus_k` 6 by default; a given `k` raises the latter, so that one corpus can fill it.

        Raises InvalidInput for no query, an empty list of corpora, a bad k, a vector of another dimension than a
        corpus has, corpora of different models; Conflict when a corpus has vectors of a model that is not to be had;
        CorpusNotFound when there are no corpora at all; Upstream naming the corpus, or caused by EmbedFailed, when
        one is missing or fails.
        """
        wide, deep = _sizes(k, per_corpus_k)
        if query_vector is None and not (query_text or "").strip():
            raise InvalidInput("query_text, query_vector: there is no query.", fix="Give one of the two.")
        infos = await self._infos(corpora)
        if query_vector is None:
            query_vector = await self._embedded(query_text or "", model, infos)
        for info in infos:
            if len(query_vector) != info.dimension:
                raise InvalidInput(
                    f"query_vector: it has {len(query_vector)} components, corpus {info.name} has {info.dimension}.",
                    fix="Search corpora of one dimension at a time.",
                )
        hits = await self._ask([info.name for info in infos], query_vector, deep)
        ranked = sorted(
            ((hit.distance, place, hit.id, hit) for place, found in enumerate(hits) for hit in found),
            key=lambda entry: entry[:3],
        )
        results = [
            Result(id=hit.id, corpus=infos[place].name, distance=hit.distance, metadata=hit.metadata)
            for _, place, _, hit in ranked[:wide]
        ]
        counts = {info.name: len(found) for info, found in zip(infos, hits, strict=True)}
        return Found(results=results, count=len(results), per_corpus_counts=counts)

    async def _infos(self, names: Sequence[str] | None) -> "list[IndexInfo]":
        if names is None:
            infos = [info for info in await self._vectors.list() if info.builder is not None]
            if damaged := self.problems():
                raise Upstream(f"corpus {damaged[0]}", fix="Name the corpora to search, or delete that one.")
            if not infos:
                raise CorpusNotFound("there are no corpora yet.", fix="Build one with build_corpus.")
            return infos
        if not names:
            raise InvalidInput("corpora: the list is empty.", fix="Name corpora, or leave it out to search all.")
        return [await self._info(name) for name in dict.fromkeys(names)]

    async def _info(self, name: str) -> "IndexInfo":
        from lakehouse.engine.vectors import IndexNotFound

        try:
            return await self._vectors.get(name)
        except IndexNotFound as error:
            known = [info.name for info in await self._vectors.list()]
            none = None if known else "There are none yet; build one with build_corpus."
            missing = CorpusNotFound(f"there is no corpus {name!r}.", fix=did_you_mean(name, known, none))
            if self._vectors.bound:  # for a profile it is as if there were none
                raise missing from error
            missing.__cause__ = error
            raise Upstream(f"corpus {name}: {missing.detail}", fix=missing.fix) from missing
        except Upstream as error:
            raise Upstream(f"corpus {name}: {error.detail}", fix=error.fix) from error

    async def _embedded(self, text: str, model: str | None, infos: "Sequence[IndexInfo]") -> "np.ndarray":
        from lakehouse.engine.embed import EmbedFailed

        pinned = {info.name: info.model for info in infos if info.model is not None}
        if len(set(pinned.values())) > 1:
            listed = ", ".join(f"{name} has {of}" for name, of in pinned.items())
            raise InvalidInput(
                f"corpora: they are of different embedding models: {listed}.",
                fix="Search those of one model at a time.",
            )
        for name, of in pinned.items():
            self._check_model(name, of, model)
        try:
            done = await self._embed.embed([text], next(iter(pinned.values()), model))
        except EmbedFailed as error:
            raise Upstream(f"the query could not be embedded: {error.detail}", fix=error.fix) from error
        for info in infos:
            if info.dimension != done.dimension:
                raise Conflict(
                    f"corpus {info.name} has vectors of {info.dimension} components, {done.model} of {done.dimension}.",
                    fix="Build it again with drop_existing=true, or search it with a query_vector.",
                )
        vector: np.ndarray = done.vectors[0]
        return vector

    def _check_model(self, corpus: str, pinned: str, asked: str | None) -> None:
        if asked and self._embed.effective_model(asked) != pinned:
            raise InvalidInput(
                f"model: corpus {corpus} was embedded with {pinned}.",
                fix="Leave it out: the corpus's own model is used.",
            )
        try:
            possible = self._embed.effective_model(pinned) == pinned
        except InvalidInput:
            possible = False
        if not possible:
            raise Conflict(
                f"corpus {corpus} was embedded with {pinned}, which embed.provider does not offer.",
                fix="Set embed.provider back, or build the corpus again with drop_existing=true.",
            )

    async def _ask(self, names: Sequence[str], vector: "Sequence[float] | np.ndarray", k: int) -> "list[list[Hit]]":
        """The hits of each corpus. All are asked to the end, so that the first one named is the one blamed."""
        from lakehouse.engine.vectors import IndexNotFound

        hits: list[list[Hit]] = [[] for _ in names]
        failures: dict[int, LakehouseError] = {}

        async def ask(place: int) -> None:
            try:
                hits[place] = await self._vectors.search(names[place], vector, k)
            except LakehouseError as error:
                failures[place] = error

        async with anyio.create_task_group() as group:
            for place in range(len(names)):
                group.start_soon(ask, place)
        if failures:
            place, error = min(failures.items())
            if isinstance(error, InvalidInput):
                raise error
            if isinstance(error, IndexNotFound):
                gone = CorpusNotFound(f"there is no corpus {names[place]!r} any more.")
                gone.__cause__ = error
                error = gone
            raise Upstream(f"corpus {names[place]}: {error.detail}", fix=error.fix) from error
        return hits


def _sizes(k: int | None, per_corpus_k: int | None) -> tuple[int, int]:
    """How many hits in all, and of each corpus."""
    if k is not None and k < 1:
        raise InvalidInput(f"k: it is {k}.", fix="Ask for at least one result.")
    if per_corpus_k is not None and per_corpus_k < 0:
        raise InvalidInput(f"per_corpus_k: it is {per_corpus_k}.", fix="Leave it out for the default.")
    return k or DEFAULT_K, per_corpus_k or (max(k, DEFAULT_PER_CORPUS_K) if k else DEFAULT_PER_CORPUS_K)


__all__ = ["DEFAULT_K", "DEFAULT_PER_CORPUS_K", "Corpus", "CorpusNotFound", "Found", "Matrix", "Result"]
