"""The pass that extracts again and again, and keeps what comes out most times."""

from collections import Counter

from pydantic import Field

from lakehouse.engine.knowledge.asking import Ask, Took
from lakehouse.engine.knowledge.extraction import extracted
from lakehouse.engine.knowledge.fact import Fact, distinct, identity
from lakehouse.engine.knowledge.source import Text

MAX_ROUNDS = 5
SETTLED_BELOW = 0.05  # of the facts of two rounds
KEPT_FROM = 2 / 3  # of the rounds


class Agreed(Took):
    """Facts that most extractions found."""

    facts: list[Fact] = Field(description="Those of two thirds of the rounds or more, each with its agreement.")
    dropped: list[Fact] = Field(description="The others.")
    rounds: int = Field(description="Extractions compared; the facts given are the first.")
    changes: list[float] = Field(description="By how much each differed from the one before, 0 to 1.")


async def agreed(ask: Ask, text: Text, facts: list[Fact] | None = None, rounds: int = MAX_ROUNDS) -> Agreed:
    """Extract until a round differs from the one before by less than 5 %, and keep what two thirds of them found.

    Facts that are given are the first round, and nothing is added to them: whatever else comes out was not checked
    as they were. Two facts are the same where their words are; see fact.identity. Raises Unusable, and as `ask` does.
    """
    found: dict[str, Fact] = {}
    counts: Counter[str] = Counter()
    changes: list[float] = []
    before: set[str] = set()
    done = 0
    only = None if facts is None else {identity(fact.text) for fact in facts}
    while done < rounds and not (changes and changes[-1] < SETTLED_BELOW):
        if done == 0 and facts is not None:
            round_ = distinct(facts)
        else:
            round_ = (await extracted(ask, text)).facts
        now = {identity(fact.text) for fact in round_}
        now = now if only is None else now & only
        if facts is not None and not now:
            changes.append(0.0)  # there is nothing to find again
        for fact in round_:
            if identity(fact.text) in now:
                found.setdefault(identity(fact.text), fact)
        counts.update(now)
        if done:
            changes.append(len(now ^ before) / len(now | before) if now | before else 0.0)
        before = now
        done += 1
    shared = [fact.model_copy(update={"agreement": counts[key] / done}) for key, fact in found.items()]
    # Ids of several rounds would meet.
    shared = shared if facts is not None else distinct([fact.model_copy(update={"id": ""}) for fact in shared])
    kept = [fact for fact in shared if (fact.agreement or 0) >= KEPT_FROM - 1e-9]
    return Agreed(facts=kept, dropped=[fact for fact in shared if fact not in kept], rounds=done, changes=changes)
