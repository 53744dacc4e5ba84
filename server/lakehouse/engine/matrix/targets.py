"""Which corpora a search asks, and the question as a vector of each one's model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lakehouse.engine.matrix.request import Plan
from lakehouse.engine.matrix.shapes import CorpusNotFound
from lakehouse.errors import Conflict, InvalidInput, Upstream, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.vectors import IndexInfo, Vectors


@dataclass(frozen=True)
class Target:
    """A corpus to ask. `model` is the one whose vectors it holds, None where nobody knows."""

    name: str
    info: "IndexInfo"
    model: str | None = None
    vector: Any = None

    @property
    def space(self) -> tuple[str | None, str]:
        """Distances are comparable within it."""
        return self.model, self.info.distance


@dataclass
class Questions:
    """The question as vectors: each model's once."""

    embed: "Embedder"
    text: str
    given: Any = None
    made: "dict[str, np.ndarray]" = field(default_factory=dict)
    ms: float = 0.0

    async def of(self, model: str | None) -> Any:
        """The vector a caller gave, or the text's by a model. Raises Upstream when it cannot be embedded."""
        if self.given is not None:
            return self.given
        from lakehouse.engine.embed import EmbedFailed

        identity = self.embed.effective_model(model)
        if identity not in self.made:
            began = time.perf_counter()
            try:
                self.made[identity] = (await self.embed.embed([self.text], identity)).vectors[0]
            except EmbedFailed as error:
                raise Upstream(f"the query could not be embedded: {error.detail}", fix=error.fix) from error
            self.ms += (time.perf_counter() - began) * 1000
        return self.made[identity]


class Targets:
    """Finds corpora, and says which cannot be searched as asked."""

    def __init__(self, embed: "Embedder", vectors: "Vectors") -> None:
        self._embed = embed
        self._vectors = vectors

    async def named(self, names: Sequence[str] | None) -> list[Target]:
        """The corpora of these names, each once; with None all that were built.

        Raises CorpusNotFound where there are none at all, Upstream naming the corpus that is missing or damaged.
        """
        if names is None:
            infos = [info for info in await self._vectors.list() if info.builder is not None]
            if self._vectors.problems:
                name, problem = min(self._vectors.problems.items())
                raise Upstream(f"corpus {name}: {problem}", fix="Name the corpora to search, or delete that one.")
            if not infos:
                raise CorpusNotFound("there are no corpora yet.", fix="Build one with build_corpus.")
            return [Target(info.name, info, info.model) for info in infos]
        return [await self._one(name) for name in dict.fromkeys(names)]

    async def _one(self, name: str) -> Target:
        from lakehouse.engine.vectors import IndexNotFound

        try:
            info = await self._vectors.get(name)
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
        return Target(name, info, info.model)

    async def aimed(self, plan: Plan, targets: Sequence[Target], questions: Questions) -> list[Target]:
        """The corpora with the question as a vector of each one's model, embedded once a model.

        Raises InvalidInput for a vector of another dimension and for another model than a corpus has, Conflict for a
        corpus whose model is not to be had, Upstream when embedding fails.
        """
        if not plan.dense:
            return list(targets)
        pinned = list(dict.fromkeys(target.model for target in targets if target.model is not None))
        # An index that says nothing of its model is taken to have that of the others.
        unsaid = pinned[0] if len(pinned) == 1 else None
        if questions.given is None:
            for target in targets:
                if target.model is not None:
                    self._check_model(target, plan.asked.model)
            unsaid = unsaid or self._embed.effective_model(plan.asked.model)
        return [await self._one_aimed(target, target.model or unsaid, questions) for target in targets]

    async def _one_aimed(self, target: Target, model: str | None, questions: Questions) -> Target:
        vector = await questions.of(model)
        if len(vector) != target.info.dimension:
            name, size = target.name, target.info.dimension
            if questions.given is not None:
                raise InvalidInput(
                    f"query_vector: it has {len(vector)} components, corpus {name} has {size}.",
                    fix="Search corpora of one dimension at a time.",
                )
            raise Conflict(
                f"corpus {name} has vectors of {size} components, {model} of {len(vector)}.",
                fix="Build it again with drop_existing=true, or search it with a query_vector.",
            )
        return replace(target, model=model, vector=vector)

    def _check_model(self, target: Target, asked: str | None) -> None:
        pinned = target.model
        if asked and self._embed.effective_model(asked) != pinned:
            raise InvalidInput(
                f"model: corpus {target.name} was embedded with {pinned}.",
                fix="Leave it out: the corpus's own model is used.",
            )
        try:
            possible = self._embed.effective_model(pinned) == pinned
        except InvalidInput:
            possible = False
        if not possible:
            raise Conflict(
                f"corpus {target.name} was embedded with {pinned}, which embed.provider does not offer.",
                fix="Set embed.provider back, build the corpus again with drop_existing=true, or search its words: "
                "retrieval=lexical.",
            )
