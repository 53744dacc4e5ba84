"""One search, stage by stage: ids from SQL, retrieval, merge, rerank, playbook, relevance, least score, cut."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine.matrix import boosting, fanout, fusion
from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.fanout import Answered
from lakehouse.engine.matrix.relevance import Scorer
from lakehouse.engine.matrix.request import WIDENING, Plan
from lakehouse.engine.matrix.shapes import CorpusExplained, Found, SearchExplained, Stage
from lakehouse.engine.matrix.targets import Questions, Target, Targets
from lakehouse.errors import InvalidInput, LakehouseError, TimedOut, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.matrix import Matrix
    from lakehouse.engine.playbook import Endorsement


INLINE_HITS = 1000  # 2 µs each; more are merged off the event loop


class Search:
    """Runs once."""

    def __init__(self, matrix: "Matrix", plan: Plan) -> None:
        self._matrix = matrix
        self._plan = plan
        self._targets = Targets(matrix.embed, matrix.vectors)
        self._questions = Questions(matrix.embed, plan.text, plan.asked.query_vector)
        self._stages: list[Stage] = []
        self._began = self._since = time.perf_counter()

    async def run(self) -> Found:
        """What was found. Raises what `Matrix.search` says."""
        plan, asked = self._plan, self._plan.asked
        targets = await self._targets.named(asked.corpora)
        ids = await self._allowed()
        targets = await self._targets.aimed(plan, targets, self._questions)
        self._since = time.perf_counter()
        answered = await fanout.answers(self._matrix.vectors, plan, targets, ids)
        given = sum(len(one.answer.near) + len(one.answer.matches) for one in answered)
        self._stage("retrieve", given, 0)
        merged = await self._merged(targets, answered, given)
        candidates = merged.candidates
        self._stage("merge", merged.given, merged.given - len(candidates))
        counts = {target.name: 0 for target in targets}
        for one in candidates:
            counts[one.corpus] += 1
        candidates = await self._reranked(candidates, answered)
        changed = await self._boosted(candidates, targets)
        candidates = sorted(candidates, key=lambda one: one.order)
        kept = candidates
        if asked.relevance:
            kept = await anyio.to_thread.run_sync(self._relevant, candidates, answered)
        dropped = len(candidates) - len(kept)
        results = await self._cut(self._good(kept), answered)
        await self._read(results, answered, terms=asked.explain)
        return Found(
            results=[one.result(asked.explain) for one in results],
            count=len(results),
            per_corpus_counts=counts,
            metadata_filter_dropped=sum(one.filtered for one in answered),
            playbook_boosted=changed,
            relevance_dropped=None if asked.relevance is None else dropped,
            prefilter_count=None if ids is None else len(ids),
            retrieval=plan.retrieval,
            fusion=merged.fusion,
            note=plan.note or self._note(targets, merged.fusion),
            explain=self._explained(targets, answered) if asked.explain else None,
        )

    async def _allowed(self) -> Collection[str] | None:
        wanted = self._plan.asked.sql_prefilter
        if wanted is None:
            return None
        self._since = time.perf_counter()
        from lakehouse.engine.filters.allowed import allowed

        ids = await allowed(self._matrix.sql(), self._matrix.settings.sql, wanted)
        self._stage("prefilter", len(ids), 0)
        return ids

    async def _merged(self, targets: Sequence[Target], answered: Sequence[Answered], given: int) -> fusion.Merged:
        work = partial(fusion.merged, self._plan, targets, [one.answer for one in answered])
        return work() if given <= INLINE_HITS else await anyio.to_thread.run_sync(work)

    async def _read(
        self, candidates: Sequence[Candidate], answered: Sequence[Answered], *, terms: bool = False
    ) -> None:
        """Read the metadata of some candidates, where it has not been, and if wanted the terms of their matches."""
        if not all(one.read for one in candidates) or (terms and any(one.match for one in candidates)):
            await anyio.to_thread.run_sync(partial(_read, candidates, answered, terms=terms))

    async def _reranked(self, candidates: list[Candidate], answered: Sequence[Answered]) -> list[Candidate]:
        """The best of them by what the reranker says; it is not asked about the others, which are left out."""
        if not self._plan.asked.rerank or not candidates:
            return candidates
        best = candidates[: max(self._matrix.reranker.top_n, self._plan.wide)]
        await self._read(best, answered)
        scores = await self._matrix.reranker.scores(self._plan.text, [one.text for one in best])
        for one, score in zip(best, scores, strict=True):
            one.reranked = score
            one.start("score", rerank=score)
        self._stage("rerank", len(candidates), len(candidates) - len(best), len(best))
        return best

    async def _boosted(self, candidates: Sequence[Candidate], targets: Sequence[Target]) -> int:
        if not self._plan.asked.use_playbook:
            return 0
        name = self._plan.playbook_corpus
        try:
            vector = await self._playbook_vector(name)
            known = () if vector is None else await self._endorsements(name, vector, targets)
        except (InvalidInput, TimedOut):
            raise
        except LakehouseError as error:
            if type(error) is Upstream:  # it says already of what
                raise
            raise Upstream(f"playbook corpus {name}: {error.detail}", fix=error.fix) from error
        changed = boosting.moved(candidates, known)
        self._stage("playbook", len(candidates), 0, changed)
        return changed

    async def _endorsements(self, name: str, vector: Any, targets: Sequence[Target]) -> "Sequence[Endorsement]":
        # A vector that was given is of the model of what it searches; ours is of the playbook's own.
        models = {target.model for target in targets if target.model is not None}
        given = self._plan.asked.query_vector is not None
        return await self._matrix.playbook.endorsements(
            vector,
            corpus=name,
            top_k=self._plan.playbook_top_k,
            max_distance=self._plan.playbook_max_distance,
            without=self._plan.asked.without,
            model=models.pop() if given and len(models) == 1 else None,
        )

    async def _playbook_vector(self, name: str) -> Any:
        """The question as the playbook's own model has it, embedded already where that is a corpus's, too."""
        from lakehouse.engine.vectors import IndexNotFound

        try:
            pinned = (await self._matrix.vectors.get(name)).model
        except IndexNotFound:
            return None  # nothing was ever recorded
        made = self._questions.made
        if pinned is None and len(made) == 1:
            pinned = next(iter(made))
        return await self._questions.of(pinned)

    def _relevant(self, candidates: list[Candidate], answered: Sequence[Answered]) -> list[Candidate]:
        wanted = self._plan.asked.relevance
        if wanted is None:
            return candidates
        _read(candidates, answered)
        settings = self._matrix.settings.relevance
        least = settings.threshold if wanted.threshold is None else wanted.threshold
        scorer = Scorer(wanted.focus)
        for one in candidates:
            facts = one.metadata if isinstance(one.metadata, dict) else {}
            source, doc_id = (facts.get(name) for name in ("source", "doc_id"))
            one.signals = scorer.score(one.text, str(source or one.corpus), str(doc_id or one.id))
        kept = [one for one in candidates if not settings.filter or (one.signals and one.signals.score >= least)]
        self._stage("relevance", len(candidates), len(candidates) - len(kept))
        return kept

    def _good(self, candidates: list[Candidate]) -> list[Candidate]:
        least = self._plan.asked.min_score
        if least is None:
            return candidates
        kept = [one for one in candidates if one.shown >= least]
        self._stage("min_score", len(candidates), len(candidates) - len(kept))
        return kept

    async def _cut(self, candidates: list[Candidate], answered: Sequence[Answered]) -> list[Candidate]:
        plan, diversity = self._plan, self._plan.asked.diversity
        results = candidates[: plan.wide]
        if diversity:
            from lakehouse.engine.matrix import diversity as unlike

            pool = candidates[: WIDENING * plan.wide]
            vectors = [answered[one.place].answer.vectors.get(one.id) for one in pool]
            results = await anyio.to_thread.run_sync(partial(unlike.chosen, pool, vectors, plan.wide, diversity))
        self._stage("cut", len(candidates), len(candidates) - len(results))
        return results

    def _note(self, targets: Sequence[Target], by: str) -> str | None:
        if by != "rank":
            return None
        models = {target.model for target in targets}
        if len(models) > 1:
            listed = ", ".join(f"{target.name}: {target.model or 'unknown'}" for target in targets)
            return f"by rank: distances of different embedding models cannot be compared ({listed})"
        if len({target.info.distance for target in targets}) > 1:
            return "by rank: some corpora measure cosine, some euclidean distance"
        return None

    def _stage(self, name: str, given: int, dropped: int, changed: int = 0) -> None:
        now = time.perf_counter()
        ms, self._since = (now - self._since) * 1000, now
        self._stages.append(Stage(stage=name, given=given, dropped=dropped, changed=changed, ms=ms))

    def _explained(self, targets: Sequence[Target], answered: Sequence[Answered]) -> SearchExplained:
        corpora = [
            CorpusExplained(
                corpus=target.name,
                generation=one.answer.generation,
                model=target.model,
                scanned=one.answer.scanned if self._plan.dense else "none",
                near=len(one.answer.near),
                matches=len(one.answer.matches),
                left_out=one.answer.left_out,
                ms=one.ms,
            )
            for target, one in zip(targets, answered, strict=True)
        ]
        return SearchExplained(
            corpora=corpora,
            stages=self._stages,
            embed_ms=self._questions.ms,
            models=list(self._questions.made),
            total_ms=(time.perf_counter() - self._began) * 1000,
        )


def _read(candidates: Sequence[Candidate], answered: Sequence[Answered], *, terms: bool = False) -> None:
    for place, one in enumerate(answered):
        details = one.answer.details
        if details is None:
            continue
        own = [each for each in candidates if each.place == place]
        for each in own:
            if not each.read:
                each.metadata, each.read = details.metadata(each.id), True
        matched = [each for each in own if each.match is not None] if terms else []
        found = details.terms([each.id for each in matched])
        for each in matched:
            if each.match is not None:
                each.match = replace(each.match, terms=found[each.id])
