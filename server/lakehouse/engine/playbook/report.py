"""What each entry is worth: how much worse accepted answers are found when it is left out."""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from lakehouse.engine.playbook.entry import Entry
from lakehouse.engine.playbook.holds import Hold, standing
from lakehouse.engine.progress import Progress
from lakehouse.errors import InvalidInput

DEPTH = 10  # results that are looked at: nDCG@10, and no answer has a rank behind them
MAX_QUESTIONS = 1000

Answer = tuple[str, str]
# A question, the corpora to search, the entries to leave out: ids and corpora of results, best first.
Search = Callable[[str, Sequence[str], Collection[str]], Awaitable[Sequence[Answer]]]
Used = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Judged:
    """A question and the answers, (id, corpus), that are right for it."""

    query_text: str
    answers: frozenset[Answer]


class Value(BaseModel):
    """What one entry did: sums over the questions it moved, positive where it helped."""

    playbook_id: str = Field(description="The entry.")
    query_text: str = Field(description="Its question.")
    answer_id: str = Field(description="Its answer.")
    answer_corpus: str = Field(description="The corpus of that.")
    who: str = Field(description="Who made it.")
    questions: int = Field(description="Questions whose results it took part in.")
    mrr: float = Field(description="Reciprocal rank of the first right answer, with it less without it.")
    ndcg: float = Field(description="nDCG@10, likewise.")
    elsewhere: float = Field(description="Of mrr, what is of other questions than its own.")
    helped: int = Field(description="Questions with a better nDCG because of it.")
    harmed: int = Field(description="Questions with a worse one.")


class Report(BaseModel):
    """Entries by what they are worth, on one part of the questions; parts add up."""

    entries: list[Value] = Field(description="Most valuable first; those that took part in nothing are left out.")
    questions: int = Field(description="Questions there are.")
    measured: int = Field(description="Questions measured in this part.")
    skipped: int = Field(description="Of these, not searched: the corpora of their answers are gone.")
    searches: int = Field(description="Searches made.")
    mrr: float = Field(description="Mean over the questions searched, with the playbook.")
    ndcg: float = Field(description="nDCG@10, likewise.")
    next: str | None = Field(None, description="`after` of the next part; absent when this was the last.")


def asked(every: Mapping[str, Entry], holds: Sequence[Hold]) -> list[Judged]:
    """The questions recorded, each with the answers that are accepted for it; rejections accept nothing."""
    found: dict[str, set[Answer]] = {}
    for id, entry in every.items():
        stands = standing(id, entry, holds)
        if stands is not None and stands.polarity * stands.score > 0:
            found.setdefault(stands.query_text, set()).add(stands.answer)
    return [Judged(question, frozenset(answers)) for question, answers in found.items()]


async def measured(
    questions: Sequence[Judged],
    every: Mapping[str, Entry],
    known: Collection[str],
    used: Used,
    search: Search,
    after: str | None,
    limit: int,
    progress: Progress,
) -> Report:
    """One part of the questions, by their text: each is searched once as it is, and once without each entry it used.

    `known` are the corpora there are: those of the right answers are searched, as far as they are still there.
    Raises InvalidInput for a bad limit, and what `search` raises.
    """
    if not 1 <= limit <= MAX_QUESTIONS:
        raise InvalidInput(f"limit: {limit} is not between 1 and {MAX_QUESTIONS}.", fix="Measure part by part.")
    rest = sorted((one for one in questions if after is None or one.query_text > after), key=lambda one: one.query_text)
    part = rest[:limit]
    values: dict[str, Value] = {}
    ranks, gains, searches = [], [], 0
    for number, one in enumerate(part):
        corpora = sorted({corpus for _, corpus in one.answers}.intersection(known))
        if not corpora:
            continue
        whole = _quality(await search(one.query_text, corpora, ()), one.answers)
        ids = sorted(await used(one.query_text))
        searches += 1 + len(ids)
        ranks.append(whole[0])
        gains.append(whole[1])
        for id in ids:
            less = _quality(await search(one.query_text, corpora, (id,)), one.answers)
            _add(values, id, every.get(id), one.query_text, whole[0] - less[0], whole[1] - less[1])
        await progress(number + 1, len(part), one.query_text[:80])
    return Report(
        entries=sorted(values.values(), key=lambda value: (-value.ndcg, -value.mrr, value.playbook_id)),
        questions=len(questions),
        measured=len(part),
        skipped=len(part) - len(ranks),
        searches=searches,
        mrr=math.fsum(ranks) / len(ranks) if ranks else 0,
        ndcg=math.fsum(gains) / len(ranks) if ranks else 0,
        next=part[-1].query_text if len(rest) > len(part) else None,
    )


def _add(values: dict[str, Value], id: str, entry: Entry | None, question: str, rank: float, gain: float) -> None:
    if entry is None:  # it was recorded after the report began
        return
    value = values.setdefault(
        id,
        Value(
            playbook_id=id,
            query_text=entry.query_text,
            answer_id=entry.answer_id,
            answer_corpus=entry.answer_corpus,
            who=entry.by.who,
            questions=0,
            mrr=0,
            ndcg=0,
            elsewhere=0,
            helped=0,
            harmed=0,
        ),
    )
    value.questions += 1
    value.mrr += rank
    value.ndcg += gain
    value.elsewhere += rank if question != entry.query_text else 0
    value.helped += gain > 0
    value.harmed += gain < 0


def _quality(results: Sequence[Answer], right: Collection[Answer]) -> tuple[float, float]:
    """Reciprocal rank of the first right answer, and nDCG with gains of 1, within the first ten results."""
    places = [place for place, answer in enumerate(results[:DEPTH]) if answer in right]
    ideal = math.fsum(1 / math.log2(place + 2) for place in range(min(len(right), DEPTH)))
    gain = math.fsum(1 / math.log2(place + 2) for place in places)
    return (1 / (places[0] + 1) if places else 0.0), (gain / ideal if ideal else 0.0)
