"""Two passes that doubt facts: how sure each is, and whether the text says it at all."""

from functools import partial
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine.knowledge.asking import DATA, JSON, Answer, Ask, Took, asked, asked_each, incomplete, numbered
from lakehouse.engine.knowledge.fact import Fact, distinct
from lakehouse.engine.knowledge.source import Sheet, Text, as_data

Verdict = Literal["supported", "unsupported", "fabricated"]
_BEST_FIRST: tuple[Verdict, ...] = ("supported", "unsupported", "fabricated")
NOT_THERE = "what was quoted for it does not stand in the text"


class Judged(Took):
    """Facts with how sure each is."""

    facts: list[Fact] = Field(description="Those at or above min_confidence, in the order given.")
    dropped: list[Fact] = Field(description="The others.")


class Claim(BaseModel):
    """What the text says to a fact."""

    id: str = Field(description="The fact's.")
    text: str = Field(description="What it says.")
    verdict: Verdict = Field(description="supported, unsupported, or fabricated.")
    evidence: str | None = Field(None, description="The words of the text that support it.")
    start: int | None = Field(None, description="Where they begin, in characters.")
    end: int | None = Field(None, description="Where they end.")
    reason: str = Field("", description="Why.")


class Checked(Took):
    """Facts held against the text."""

    facts: list[Fact] = Field(description="Those it supports, with its words.")
    claims: list[Claim] = Field(description="Every fact, with what the text says to it.")
    removed: int = Field(description="Facts it does not support.")


class _Sureness(Answer):
    n: int
    confidence: int = Field(ge=1, le=10)
    reason: str = ""


class _Surenesses(Answer):
    facts: list[_Sureness]


class _Finding(Answer):
    n: int
    verdict: Verdict
    evidence: str = ""
    reason: str = ""


class _Findings(Answer):
    claims: list[_Finding]


async def judged(ask: Ask, text: Text, facts: list[Fact], min_confidence: int = 1) -> Judged:
    """Ask how sure each fact is by the text, from 1 to 10. Raises Unusable, and as `ask` does."""
    facts = distinct(facts)
    sheets = await anyio.to_thread.run_sync(text.sheets, facts)
    answers = await asked_each([partial(_surenesses, ask, sheet) for sheet in sheets])
    best: dict[str, _Sureness] = {}
    for sheet, answer in zip(sheets, answers, strict=True):
        for one in answer.facts:
            id = sheet.facts[one.n - 1].id
            if id not in best or one.confidence > best[id].confidence:  # the part that speaks best for it counts
                best[id] = one
    done = [f.model_copy(update={"confidence": best[f.id].confidence, "reason": best[f.id].reason}) for f in facts]
    sure = [fact for fact in done if (fact.confidence or 0) >= min_confidence]
    return Judged(facts=sure, dropped=[fact for fact in done if fact not in sure])


async def checked(ask: Ask, text: Text, facts: list[Fact]) -> Checked:
    """Ask whether the text says each fact, and where.

    What is quoted must stand there, and so must every number of the fact, or nothing supports it.
    Raises Unusable, and as `ask` does.
    """
    facts = distinct(facts)
    sheets = await anyio.to_thread.run_sync(text.sheets, facts)
    answers = await asked_each([partial(_findings, ask, sheet) for sheet in sheets])
    ruled = await anyio.to_thread.run_sync(_all_ruled, text, facts, sheets, answers)
    supported = [fact for claim, fact in ruled if claim.verdict == "supported"]
    return Checked(facts=supported, claims=[claim for claim, _ in ruled], removed=len(facts) - len(supported))


def _all_ruled(
    text: Text, facts: list[Fact], sheets: list[Sheet], answers: list[_Findings]
) -> list[tuple[Claim, Fact]]:
    found: dict[str, tuple[Claim, Fact]] = {}
    for sheet, answer in zip(sheets, answers, strict=True):
        for one in answer.claims:
            ruled = _ruled(text, sheet.facts[one.n - 1], one)
            known = found.get(ruled[0].id)
            if known is None or _BEST_FIRST.index(ruled[0].verdict) < _BEST_FIRST.index(known[0].verdict):
                found[ruled[0].id] = ruled
    return [found[fact.id] for fact in facts]


def _ruled(text: Text, fact: Fact, finding: _Finding) -> tuple[Claim, Fact]:
    verdict, reason = finding.verdict, finding.reason
    if verdict == "supported":
        fact = text.witnessed(fact, finding.evidence)
        if fact.evidence is None:
            verdict, reason = "unsupported", NOT_THERE
        elif (number := text.unknown_number(fact.text)) is not None:
            verdict, reason = "unsupported", f"the text has no {number}"
    held = fact if verdict == "supported" else fact.model_copy(update={"evidence": None, "start": None, "end": None})
    claim = Claim(
        **{"id": held.id, "text": held.text, "evidence": held.evidence, "start": held.start, "end": held.end},
        verdict=verdict,
        reason=reason,
    )
    return claim, held


async def _surenesses(ask: Ask, sheet: Sheet) -> _Surenesses:
    prompt = f"""\
Judge how sure each fact below is, going by the text alone: 10 is said plainly, 5 is implied or vague, 1 is contradicted
or nowhere. Judge each by itself, by its number; give the reason in a few words.
{DATA}

{as_data("text", sheet.part)}

{as_data("facts", numbered(sheet.facts))}

{JSON}
{{"facts": [{{"n": 1, "confidence": 7, "reason": "..."}}]}}"""
    return await asked(ask, prompt, _Surenesses, lambda a: incomplete([one.n for one in a.facts], len(sheet.facts)))


async def _findings(ask: Ask, sheet: Sheet) -> _Findings:
    prompt = f"""\
Decide for each claim below what the text says to it:
- supported: the text says so. evidence is the shortest passage that does, copied letter by letter.
- unsupported: the text neither says so nor denies it.
- fabricated: the text says otherwise, or the claim names persons, numbers or events that it does not have.
{DATA}

{as_data("text", sheet.part)}

{as_data("claims", numbered(sheet.facts))}

{JSON}
{{"claims": [{{"n": 1, "verdict": "supported", "evidence": "...", "reason": "..."}}]}}"""
    return await asked(ask, prompt, _Findings, lambda a: incomplete([one.n for one in a.claims], len(sheet.facts)))
