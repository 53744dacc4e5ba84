"""The pass that attacks what has survived: each fact is kept, mended or dropped."""

from functools import partial
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine.knowledge.asking import DATA, JSON, Answer, Ask, Took, asked, asked_each, incomplete, numbered
from lakehouse.engine.knowledge.fact import Fact, distinct
from lakehouse.engine.knowledge.source import Sheet, Text, as_data

Action = Literal["keep", "patch", "drop"]
_BEST_FIRST: tuple[Action, ...] = ("keep", "patch", "drop")
NOT_MENDED = "the text does not have what the mended statement says, or what was quoted for it"


class Attack(BaseModel):
    """What was said against a fact, and what became of it."""

    id: str = Field(description="The fact's.")
    text: str = Field(description="What it said.")
    action: Action = Field(description="keep, patch or drop.")
    attack: str = Field("", description="What was said against it.")
    patched: str | None = Field(None, description="What it says now.")


class Attacked(Took):
    """Facts that withstood."""

    facts: list[Fact] = Field(description="Those kept and mended, in the order given.")
    attacks: list[Attack] = Field(description="Each fact, with what was said against it.")
    patched: int = Field(description="How many were mended.")
    dropped: int = Field(description="How many were dropped.")


class _Blow(Answer):
    n: int
    action: Action
    attack: str = ""
    patched: str = ""
    evidence: str = ""


class _Blows(Answer):
    attacks: list[_Blow]


async def attacked(ask: Ask, text: Text, facts: list[Fact]) -> Attacked:
    """Ask for the strongest objection to each fact. A mended one needs evidence in the text, as any, or is dropped.

    Raises Unusable, and as `ask` does.
    """
    facts = distinct(facts)
    sheets = await anyio.to_thread.run_sync(text.sheets, facts)
    answers = await asked_each([partial(_blows, ask, sheet) for sheet in sheets])
    struck = await anyio.to_thread.run_sync(_all_struck, text, facts, sheets, answers)
    actions = [attack.action for attack, _ in struck]
    return Attacked(
        facts=[fact for attack, fact in struck if attack.action != "drop"],
        attacks=[attack for attack, _ in struck],
        patched=actions.count("patch"),
        dropped=actions.count("drop"),
    )


def _all_struck(text: Text, facts: list[Fact], sheets: list[Sheet], answers: list[_Blows]) -> list[tuple[Attack, Fact]]:
    found: dict[str, tuple[Attack, Fact]] = {}
    for sheet, answer in zip(sheets, answers, strict=True):
        for blow in answer.attacks:
            struck = _struck(text, sheet.facts[blow.n - 1], blow)
            known = found.get(struck[0].id)
            if known is None or _BEST_FIRST.index(struck[0].action) < _BEST_FIRST.index(known[0].action):
                found[struck[0].id] = struck
    return [found[fact.id] for fact in facts]


def _struck(text: Text, fact: Fact, blow: _Blow) -> tuple[Attack, Fact]:
    action, said, patched = blow.action, blow.attack, None
    mended = fact
    if action == "patch":
        patched = " ".join(blow.patched.split())
        mended = text.witnessed(fact.model_copy(update={"text": patched}), blow.evidence)
        if not patched or mended.evidence is None or text.unknown_number(patched) is not None:
            action, patched = "drop", None
            said = f"{said} ({NOT_MENDED})" if said else NOT_MENDED
    return Attack(id=fact.id, text=fact.text, action=action, attack=said, patched=patched), mended


async def _blows(ask: Ask, sheet: Sheet) -> _Blows:
    prompt = f"""\
Attack each statement below with the strongest objection that the text allows: it is wrong, it is broader or more
certain than the text, it leaves out a condition, it means somebody else, it is no longer so.
- keep: no objection holds.
- patch: it holds with a correction. patched is the corrected statement; evidence is the passage that says so, copied
  letter by letter.
- drop: it cannot be mended.
{DATA}

{as_data("text", sheet.part)}

{as_data("statements", numbered(sheet.facts))}

{JSON}
{{"attacks": [{{"n": 1, "action": "keep", "attack": "...", "patched": "", "evidence": ""}}]}}"""
    return await asked(ask, prompt, _Blows, lambda a: incomplete([one.n for one in a.attacks], len(sheet.facts)))
