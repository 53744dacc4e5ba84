"""How good an index's graph is: its answers and its speed beside an exact search of the same items, on record."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.log import Log
from lakehouse.engine.percentile import percentile
from lakehouse.engine.progress import Progress, unheard
from lakehouse.engine.vectors.asking import Ask
from lakehouse.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from lakehouse.engine.vectors.snapshot import State
    from lakehouse.engine.vectors.store import Vectors

MAX_QUERIES = 1000
LADDER = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # what is tried for a target, from the quickest on
_KEPT = 10_000


@dataclass(frozen=True)
class Trial:
    """One comparison over `n` questions: the share of the true `k` nearest that were found, and milliseconds.

    `params` are the graph's: m, ef_construction, and the ef_search of this trial. `build_s` is how long the index's
    graphs took to build; 0 where it has none, and then every search is exact.
    """

    ts: str
    index: str
    generation: int
    count: int
    params: dict[str, int]
    n: int
    k: int
    recall_at_k: float
    p50_ms: float
    p95_ms: float
    exact_p50_ms: float
    build_s: float
    scanned: str


class Calibration:
    """Makes trials and keeps them, over restarts too."""

    def __init__(self, home: Path, vectors: "Vectors") -> None:
        self._vectors = vectors
        self._log = Log(home / "vectors" / "trials.jsonl", durable=True)

    async def calibrate(
        self,
        index: str,
        queries: Sequence[Any] | None = None,
        *,
        sample: int = 100,
        k: int = 10,
        ef_search: int | None = None,
        target: float | None = None,
        progress: Progress = unheard,
    ) -> list[Trial]:
        """Compare the graph with exact search over `queries`, or over so many of the index's own vectors.

        With a `target`, efforts are tried from the quickest on until one finds that share of the true neighbours; the
        index keeps it for its searches. Otherwise one trial is made, with `ef_search` or what the index has.

        Raises InvalidInput, IndexNotFound; Conflict for an index without vectors, or a target that none reaches.
        """
        if (target is not None and not (0 < target <= 1)) or (target is not None and ef_search is not None):
            raise InvalidInput("target: it is a share above 0 and up to 1, without ef_search.", fix="Try 0.99.")
        if queries is not None and not 1 <= len(queries) <= MAX_QUERIES:
            raise InvalidInput(f"queries: {len(queries)} are not 1 to {MAX_QUERIES}.", fix="Send fewer, or a sample.")
        if not 1 <= sample <= MAX_QUERIES:
            raise InvalidInput(f"sample: {sample} is not between 1 and {MAX_QUERIES}.", fix="Try 100.")
        state = await self._vectors.state(index)
        await self._vectors.checked()  # a graph that is not checked yet is not searched
        asked = list(queries if queries is not None else await anyio.to_thread.run_sync(_sampled, state, sample))
        if not len(asked):
            raise Conflict(f"index {index!r} has no vectors to be searched for.", fix="Add some first.")
        right, exact, _ = await self._answers(index, asked, k, None, True)
        trials: list[Trial] = []
        efforts = [ef_search] if target is None else [effort for effort in LADDER if effort >= k]
        for place, effort in enumerate(efforts):
            await progress(place, len(efforts), f"ef_search {effort or 'as it is'}")
            trial = await self._trial(index, asked, k, effort, right, exact)
            trials.append(trial)
            await anyio.to_thread.run_sync(self._log.append, [asdict(trial)])
            if target is not None and trial.recall_at_k >= target:
                await self._vectors.set_effort(index, effort or LADDER[-1])
                return trials
        if target is not None:
            best = max(trials, key=lambda trial: trial.recall_at_k, default=None)
            raise Conflict(
                f"target: {target} was not reached; {best.recall_at_k:.4f} was, with ef_search "
                f"{best.params['ef_search']}."
                if best
                else f"k: {k} is more than any effort that is tried.",
                fix="Create the index with a larger m or ef_construction, or lower the target.",
            )
        return trials

    async def trials(self, limit: int = 50, index: str | None = None) -> list[Trial]:
        """Past trials, newest first."""
        records = (await anyio.to_thread.run_sync(self._log.tail, _KEPT if index else limit)).records
        found = [trial for record in reversed(records) if (trial := _trial(record)) is not None]
        return [trial for trial in found if index in (None, trial.index)][:limit]

    async def aclose(self) -> None:
        """Let the file go."""
        await anyio.to_thread.run_sync(self._log.close)

    async def _trial(
        self, index: str, asked: Sequence[Any], k: int, effort: int | None, right: list[set[str]], exact: list[float]
    ) -> Trial:
        found, times, scanned = await self._answers(index, asked, k, effort, False)
        state = await self._vectors.state(index)
        graphs = [sealed.graph.ref for sealed in state.sealed if sealed.graph is not None]
        wanted = sum(len(ids) for ids in right)
        hits = sum(len(ids & those) for ids, those in zip(right, found, strict=True))
        params = {
            "m": max((graph.m for graph in graphs), default=None),
            "ef_construction": max((graph.ef_construction for graph in graphs), default=None),
            "ef_search": effort or state.manifest.ef_search or max((graph.ef_search for graph in graphs), default=None),
        }
        return Trial(
            ts=moment.now(),
            index=index,
            generation=state.manifest.build,
            count=state.count,
            params={name: value for name, value in params.items() if value is not None},
            n=len(asked),
            k=k,
            recall_at_k=round(hits / wanted, 6) if wanted else 1.0,
            p50_ms=_at(times, 0.5),
            p95_ms=_at(times, 0.95),
            exact_p50_ms=_at(exact, 0.5),
            build_s=round(sum(graph.build_s for graph in graphs), 3),
            scanned=scanned,
        )

    async def _answers(
        self, index: str, asked: Sequence[Any], k: int, effort: int | None, exact: bool
    ) -> tuple[list[set[str]], list[float], str]:
        """What is found for each question, how many milliseconds it took, and how."""
        found, times, scanned = [], [], set[str]()
        for vector in asked:
            began = time.perf_counter()
            answer = await self._vectors.ask(index, Ask(k, vector, exact=exact, ef_search=effort))
            times.append((time.perf_counter() - began) * 1e3)
            found.append({hit.id for hit in answer.near})
            scanned.update(answer.scanned.split("+"))
        return found, times, "+".join(sorted(scanned))


def _sampled(state: "State", count: int) -> "np.ndarray":
    """So many of the stored vectors, evenly spread; the same ones each time."""
    import numpy as np

    held = [(s.segment.coded.vectors, s.live_rows[s.live_rows < len(s.segment.coded)]) for s in state.sealed]
    fresh = state.fresh
    held.append((fresh.coded.vectors, np.setdiff1d(fresh.live_rows, fresh.blind)))
    ends = np.cumsum([len(rows) for _, rows in held])
    chosen = np.unique(np.linspace(0, ends[-1] - 1, min(count, int(ends[-1]))).astype(np.int64))
    places = np.searchsorted(ends, chosen, side="right")
    return np.array(
        [held[p][0][held[p][1][at - (ends[p] - len(held[p][1]))]] for p, at in zip(places, chosen, strict=True)],
        np.float32,
    )


def _at(times: Sequence[float], share: float) -> float:
    return round(percentile(sorted(times), share), 4)


def _trial(record: dict[str, Any]) -> Trial | None:
    try:
        return Trial(**{each.name: record[each.name] for each in fields(Trial)})
    except KeyError:  # another version's record
        return None
