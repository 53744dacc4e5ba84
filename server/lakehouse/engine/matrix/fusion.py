"""Lists of several corpora, and of several ways to look, become one.

Ranks are fused reciprocally: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods", SIGIR 2009: an item's score is the sum of 1 / (60 + its rank) over the lists it is in.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.request import Plan
from lakehouse.engine.matrix.shapes import Fusion
from lakehouse.engine.matrix.targets import Target
from lakehouse.engine.vectors.asking import Answer, Match
from lakehouse.engine.vectors.items import Hit

RANK_CONSTANT = 60
_FIRST = itemgetter(0, 1, 2)


def reciprocal(rank: int) -> float:
    """What a place in a list, from 1, is worth."""
    return 1 / (RANK_CONSTANT + rank)


@dataclass
class _Found:
    """An item and its places in the lists, before it is known whether it is wanted."""

    near: Hit | None = None
    near_rank: int = 0
    match: Match | None = None
    match_rank: int = 0

    def value(self, fusion: Fusion) -> float:
        """What it is ordered by: the smaller the better."""
        if fusion == "distance" and self.near is not None:
            return self.near.distance
        if fusion == "score" and self.match is not None:
            return -self.match.score
        return -(
            (reciprocal(self.near_rank) if self.near else 0.0) + (reciprocal(self.match_rank) if self.match else 0.0)
        )


Items = dict[tuple[int, str], _Found]


@dataclass(frozen=True)
class Merged:
    """The hits of all corpora, best first, of each at most so many as are wanted; of how many, and merged how."""

    candidates: list[Candidate]
    given: int
    fusion: Fusion


def merged(plan: Plan, targets: Sequence[Target], answers: Sequence[Answer]) -> Merged:
    """One list of all hits.

    Distances are compared where all vectors are of one model and measured in one way; else, and in hybrid searches,
    ranks are. Words alone are compared by their BM25 scores.
    """
    found: Items = {}
    spaces = _dense_ranks(targets, answers, found, plan)
    _lexical_ranks(answers, found, plan)
    fusion: Fusion = "score" if not plan.dense else "rank" if plan.lexical or spaces > 1 else "distance"
    ordered = sorted((one.value(fusion), *key) for key, one in found.items())
    seen: Counter[int] = Counter()
    kept = []
    for _, place, id in ordered:
        seen[place] += 1
        if seen[place] <= plan.each:
            kept.append(
                _candidate(targets[place], place, found[place, id], fusion, read=answers[place].details is None)
            )
    return Merged(kept, len(found), fusion)


def _candidate(target: Target, place: int, found: _Found, fusion: Fusion, *, read: bool) -> Candidate:
    hit: Hit | Match | None = found.near or found.match
    assert hit is not None
    one = Candidate(place, target.name, target.info.distance, hit.id, hit.metadata, read=read)
    if found.near is not None:
        one.distance, one.dense_rank = found.near.distance, found.near_rank
    if found.match is not None:
        one.match, one.lexical_rank = found.match, found.match_rank
    if fusion == "distance" and one.distance is not None:
        one.start("distance", dense=one.distance)
    elif fusion == "score" and one.match is not None:
        one.start("score", lexical=one.match.score)
    else:
        parts = {"dense": one.dense_rank, "lexical": one.lexical_rank}
        addends = {name: reciprocal(rank) for name, rank in parts.items() if rank is not None}
        one.dense_addend, one.lexical_addend = addends.get("dense"), addends.get("lexical")
        one.start("score", **addends)
    return one


def _dense_ranks(targets: Sequence[Target], answers: Sequence[Answer], found: Items, plan: Plan) -> int:
    """Rank vectors within each space: one model, one way to measure. Returns how many spaces there are."""
    spaces: dict[tuple[str | None, str], list[tuple[float, int, str, Hit]]] = {}
    for place, (target, answer) in enumerate(zip(targets, answers, strict=True)):
        spaces.setdefault(target.space, []).extend((hit.distance, place, hit.id, hit) for hit in answer.near)
    for listed in spaces.values():
        listed.sort(key=_FIRST)
        for rank, (_, place, id, hit) in enumerate(listed[: _depth(plan, listed)], 1):
            found[place, id] = _Found(hit, rank)
    return len(spaces) if plan.dense else 0


def _lexical_ranks(answers: Sequence[Answer], found: Items, plan: Plan) -> None:
    listed = [
        (-match.score, place, match.id, match) for place, answer in enumerate(answers) for match in answer.matches
    ]
    listed.sort(key=_FIRST)
    for rank, (_, place, id, match) in enumerate(listed[: _depth(plan, listed)], 1):
        one = found.get((place, id))
        if one is None:
            one = found[place, id] = _Found()
        one.match, one.match_rank = match, rank


def _depth(plan: Plan, listed: Sequence[object]) -> int:
    # Fused lists end at the same depth, however many corpora each is from: else the more gives the longer tail.
    return len(listed) if plan.retrieval != "hybrid" else plan.deep
