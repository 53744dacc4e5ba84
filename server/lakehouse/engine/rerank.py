"""Hits judged again by a model that reads the question and each text together. Optional: a provider is set, or none."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.embed.litellm import GRACE_SECS, WAITING, key_of, load, told
from lakehouse.errors import NotInstalled, TimedOut, Upstream


class RerankFailed(Upstream):
    """The reranker did not answer, or not with a score for each text."""


class Reranker:
    """The reranker of the section `rerank`. Importing litellm takes 6 to 10 s, so it waits for the first question."""

    def __init__(self, settings: config.Rerank) -> None:
        self._settings = settings
        self._loading = anyio.CapacityLimiter(1)
        self._asking = anyio.CapacityLimiter(WAITING)

    @property
    def top_n(self) -> int:
        """How many hits it is asked about."""
        return self._settings.top_n

    def check(self) -> None:
        """Raises NotInstalled where no reranker is set up."""
        if not self._settings.provider or not self._settings.model:
            raise NotInstalled(
                "rerank: no reranker is set up.",
                fix="Leave it out, or set rerank.provider = litellm and rerank.model (and rerank.api_base for a "
                "server of your own).",
            )

    async def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, in their order; larger is better, most services give 0 to 1.

        Raises NotInstalled without a reranker, Unavailable without its key, RerankFailed, and TimedOut after
        `rerank.timeout_secs`.
        """
        self.check()
        key = key_of(self._settings.api_key_env, "reranker", "rerank.api_key_env")
        litellm = await anyio.to_thread.run_sync(load, limiter=self._loading)
        with anyio.move_on_after(self._settings.timeout_secs):
            ask = partial(self._ask, litellm, question, list(texts), key)
            return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._asking)
        raise TimedOut(
            f"the reranker took over {self._settings.timeout_secs:g} seconds for {len(texts)} texts.",
            fix="Lower rerank.top_n, or raise rerank.timeout_secs.",
        )

    def _ask(self, litellm: ModuleType, question: str, texts: list[str], key: str) -> list[float]:
        try:
            answer = litellm.rerank(
                model=self._settings.model,
                query=question,
                documents=texts,
                top_n=len(texts),
                return_documents=False,
                api_key=key or None,
                api_base=self._settings.api_base or None,
                timeout=self._settings.timeout_secs + GRACE_SECS,
                max_retries=0,
            )
            results = list(answer.results or ())
        # litellm has a class of error for every status and provider, and lets those of its libraries through.
        except Exception as error:
            raise RerankFailed(
                told(self._settings.model, error, key), fix="Check the section rerank, or leave rerank out."
            ) from None
        return self._ordered(results, len(texts))

    def _ordered(self, results: Sequence[Any], count: int) -> list[float]:
        found: dict[int, float] = {}
        for one in results:
            place, score = (one.get("index"), one.get("relevance_score")) if isinstance(one, Mapping) else (None, None)
            if isinstance(place, int) and isinstance(score, int | float) and abs(score) <= sys.float_info.max:
                found[place] = float(score)
        if sorted(found) != list(range(count)):
            raise RerankFailed(
                f"{self._settings.model} gave scores for {len(found)} of {count} texts.",
                fix="Check the section rerank, or leave rerank out.",
            )
        return [found[place] for place in range(count)]
