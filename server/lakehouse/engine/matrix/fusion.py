"""Lists of several corpora, and of several ways to look, become one.

Ranks are fused reciprocally: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods", SIGIR 2009: an item's score is the sum of 1 / (60 + its rank) over the lists it is in.
"""

from collections import Counter
from collections.abc import Sequence

from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.request import Plan
from lakehouse.engine.matrix.shapes import Fusion
from lakehouse.engine.matrix.targets import Target
from lakehouse.engine.vectors.asking import Answer

RANK_CONSTANT = 60


def reciprocal(rank: int) -> float:
    """What a place in a list, from 1, is worth."""
    return 1 / (RANK_CONSTANT + rank)


def merged(plan: Plan, targets: Sequence[Target], answers: Sequence[Answer]) -> tuple[list[Candidate], Fusion]:
    """All hits of all corpora, best first, and how they were merged.

    Distances are compared where all vectors are of one model and measured in one way; else, and in hybrid searches,
    ranks are. Words alone are compared by their BM25 scores.
    """
    found: dict[tuple[int, str], Candidate] = {}
    spaces = _dense_ranks(targets, answers, found, plan)
    _lexical_ranks(targets, answers, found, plan)
    fusion: Fusion = "score" if not plan.dense else "rank" if plan.lexical or spaces > 1 else "distance"
    for one in found.values():
        if fusion == "distance" and one.distance is not None:
            one.start("distance", dense=one.distance)
        elif fusion == "score" and one.match is not None:
            one.start("score", lexical=one.match.score)
        else:
            parts = {"dense": one.dense_rank, "lexical": one.lexical_rank}
            addends = {name: reciprocal(rank) for name, rank in parts.items() if rank is not None}
            one.dense_addend, one.lexical_addend = addends.get("dense"), addends.get("lexical")
            one.start("score", **addends)
    return sorted(found.values(), key=lambda one: one.order), fusion


def capped(candidates: Sequence[Candidate], each: int) -> list[Candidate]:
    """Of each corpus at most its best `each`; the candidates are best first."""
    seen: Counter[int] = Counter()
    kept = []
    for one in candidates:
        seen[one.place] += 1
        if seen[one.place] <= each:
            kept.append(one)
    return kept


def _dense_ranks(
    targets: Sequence[Target], answers: Sequence[Answer], found: dict[tuple[int, str], Candidate], plan: Plan
) -> int:
    """Rank vectors within each space: one model, one way to measure. Returns how many spaces there are."""
    spaces: dict[tuple[str | None, str], list[tuple[float, int, str, object]]] = {}
    for place, (target, answer) in enumerate(zip(targets, answers, strict=True)):
        inside = spaces.setdefault(target.space, [])
        inside += [(hit.distance, place, hit.id, hit.metadata) for hit in answer.near]
    for listed in spaces.values():
        listed.sort(key=lambda entry: entry[:3])
        for rank, (distance, place, id, metadata) in enumerate(listed[: _depth(plan, listed)], 1):
            one = found.setdefault((place, id), _candidate(targets, place, id, metadata))
            one.distance, one.dense_rank = distance, rank
    return len(spaces) if plan.dense else 0


def _lexical_ranks(
    targets: Sequence[Target], answers: Sequence[Answer], found: dict[tuple[int, str], Candidate], plan: Plan
) -> None:
    listed = [
        (-match.score, place, match.id, match) for place, answer in enumerate(answers) for match in answer.matches
    ]
    listed.sort(key=lambda entry: entry[:3])
    for rank, (_, place, id, match) in enumerate(listed[: _depth(plan, listed)], 1):
        one = found.setdefault((place, id), _candidate(targets, place, id, match.metadata))
        one.match, one.lexical_rank = match, rank


def _depth(plan: Plan, listed: Sequence[object]) -> int:
    # Fused lists end at the same depth, however many corpora each is from: else the more gives the longer tail.
    return len(listed) if plan.retrieval != "hybrid" else plan.deep


def _candidate(targets: Sequence[Target], place: int, id: str, metadata: object) -> Candidate:
    info = targets[place].info
    return Candidate(place, targets[place].name, info.distance, id, metadata)
