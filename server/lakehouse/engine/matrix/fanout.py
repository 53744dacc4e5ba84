"""All corpora asked at the same time: all of them answer, or the first that failed is named."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from lakehouse.engine.matrix.request import Plan
from lakehouse.engine.matrix.shapes import CorpusNotFound
from lakehouse.engine.matrix.targets import Target
from lakehouse.engine.vectors.asking import Answer, Ask
from lakehouse.errors import InvalidInput, LakehouseError, Upstream

if TYPE_CHECKING:
    from lakehouse.engine.vectors import Vectors


@dataclass(frozen=True)
class Answered:
    """What a corpus gave. `filtered` are the items the metadata filter left out of those the ids allow."""

    answer: Answer
    filtered: int
    ms: float


async def answers(
    vectors: "Vectors", plan: Plan, targets: Sequence[Target], ids: Collection[str] | None
) -> list[Answered]:
    """Each corpus's answer, in order. All are asked to the end, so that the first one named is the one blamed.

    Raises InvalidInput for a query no index can take, Upstream naming the corpus that failed.
    """
    found: dict[int, Answered] = {}
    failures: dict[int, LakehouseError] = {}

    async def ask(place: int) -> None:
        began = time.perf_counter()
        try:
            answer, filtered = await _answer(vectors, plan, targets[place], ids)
        except LakehouseError as error:
            failures[place] = error
        else:
            found[place] = Answered(answer, filtered, (time.perf_counter() - began) * 1000)

    async with anyio.create_task_group() as group:
        for place in range(len(targets)):
            group.start_soon(ask, place)
    if failures:
        place, error = min(failures.items())
        raise _blamed(targets[place].name, error)
    return [found[place] for place in range(len(targets))]


async def _answer(vectors: "Vectors", plan: Plan, target: Target, ids: Collection[str] | None) -> tuple[Answer, int]:
    words = plan.text if plan.lexical else None
    diverse = bool(plan.asked.diversity)
    brief = plan.deep > plan.wide
    ask = Ask(plan.deep, target.vector, words, plan.filter, ids, vectors=diverse, brief=brief, named="query_vector")
    answer = await vectors.ask(target.name, ask)
    if plan.filter is None:
        return answer, 0
    if ids is None:
        return answer, answer.left_out
    alone = await vectors.ask(target.name, Ask(1, ids=ids))
    return answer, max(0, answer.left_out - alone.left_out)


def _blamed(name: str, error: LakehouseError) -> LakehouseError:
    from lakehouse.engine.vectors import IndexNotFound

    if isinstance(error, InvalidInput):
        return error
    if isinstance(error, IndexNotFound):
        gone = CorpusNotFound(f"there is no corpus {name!r} any more.")
        gone.__cause__ = error
        error = gone
    blamed = Upstream(f"corpus {name}: {error.detail}", fix=error.fix)
    blamed.__cause__ = error
    return blamed
