"""A fact: one statement, where the text says it, and what the passes found about it."""

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field

_ARTICLES = frozenset({"a", "an", "the"})


class Fact(BaseModel):
    """One statement."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str = Field("", description="Its id; given where there is none.")
    text: str = Field(description="What it says.")
    evidence: str | None = Field(None, description="The words of the text that say so; they stand there.")
    start: int | None = Field(None, ge=0, description="Where they begin, in characters.")
    end: int | None = Field(None, ge=0, description="Where they end.")
    confidence: int | None = Field(None, ge=1, le=10, description="How sure it is, 1 to 10.")
    reason: str | None = Field(None, description="Why it is not surer.")
    agreement: float | None = Field(None, ge=0, le=1, description="The share of extractions that found it.")


def identity(text: str) -> str:
    """What two wordings of one statement have in common: words in their order, without case, marks and articles."""
    words = re.findall(r"\w+(?:[.,]\d+)*", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(word for word in words if word not in _ARTICLES)


def distinct(facts: list[Fact]) -> list[Fact]:
    """The facts without repetitions and blank ones, in their order, each with an id of its own.

    Of those that say the same, the first one stays, with the evidence and confidence of one that has them.
    """
    found: dict[str, Fact] = {}
    for fact in facts:
        key = identity(fact.text)
        if not key:
            continue
        fact = fact.model_copy(update={"text": " ".join(fact.text.split())})
        known = found.setdefault(key, fact)
        if known is fact:
            continue
        if known.evidence is None and fact.evidence is not None:
            place = {"evidence": fact.evidence, "start": fact.start, "end": fact.end}
            known = known.model_copy(update=place)
        if (fact.confidence or 0) > (known.confidence or 0):
            known = known.model_copy(update={"confidence": fact.confidence, "reason": fact.reason})
        found[key] = known
    taken = {fact.id for fact in found.values() if fact.id}
    named: list[Fact] = []
    used: set[str] = set()
    number = 0
    for fact in found.values():
        id = fact.id
        while not id or id in used:
            number += 1
            id = f"f{number}" if f"f{number}" not in taken else ""
        used.add(id)
        named.append(fact.model_copy(update={"id": id}))
    return named
