"""The first pass: what a text states, whom and what it names, and how those are related."""

from functools import partial

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine.knowledge.asking import DATA, JSON, Answer, Ask, Took, asked, asked_each
from lakehouse.engine.knowledge.fact import Fact, distinct, identity
from lakehouse.engine.knowledge.source import Text, as_data


class Entity(BaseModel):
    """Somebody or something that is named."""

    name: str = Field(description="As the text has it.")
    kind: str = Field("", description="person, organisation, place, product, concept and so on.")


class Relation(BaseModel):
    """How two are related."""

    subject: str = Field(description="Who or what.")
    predicate: str = Field(description="Does or is what.")
    object: str = Field(description="To whom or what.")


class Extracted(Took):
    """What a text says."""

    facts: list[Fact] = Field(description="Statements, in the order of the text.")
    entities: list[Entity] = Field(description="Whom and what it names.")
    relations: list[Relation] = Field(description="How those are related.")
    parts: int = Field(description="The parts it was asked about in.")
    unwitnessed: int = Field(description="Facts whose quotation does not stand in the text.")


class _Stated(Answer):
    text: str = Field(min_length=1)
    evidence: str = ""


class _Answer(Answer):
    facts: list[_Stated]
    entities: list[Entity] = Field(default_factory=list)
    relations: list[Relation] = Field(default_factory=list)


_FORM = (
    '{"facts": [{"text": "...", "evidence": "..."}], "entities": [{"name": "...", "kind": "..."}], '
    '"relations": [{"subject": "...", "predicate": "...", "object": "..."}]}'
)


async def extracted(ask: Ask, text: Text) -> Extracted:
    """Ask for the facts, entities and relations of a text, part by part. Raises Unusable, and as `ask` does."""
    answers = await asked_each([partial(asked, ask, _prompt(part), _Answer) for part in text.parts])
    facts = await anyio.to_thread.run_sync(_witnessed, text, answers)
    entities = {identity(one.name): one for answer in reversed(answers) for one in reversed(answer.entities)}
    relations = {
        identity(f"{one.subject} | {one.predicate} | {one.object}"): one
        for answer in answers
        for one in answer.relations
    }
    return Extracted(
        facts=facts,
        entities=[one for name, one in reversed(entities.items()) if name],
        relations=list(relations.values()),
        parts=len(answers),
        unwitnessed=sum(fact.evidence is None for fact in facts),
    )


def _witnessed(text: Text, answers: list[_Answer]) -> list[Fact]:
    return distinct([text.witnessed(Fact(text=one.text), one.evidence) for answer in answers for one in answer.facts])


def _prompt(part: str) -> str:
    return f"""\
Extract what the text below states.
- A fact is one statement that stands by itself: say who or what is meant in place of "it" or "they". Keep to the words
  and the order of the text. Add nothing that it does not say.
- evidence is copied from the text letter by letter: the shortest passage that says so.
- entities are those it names; relations connect two of them.
{DATA}

{as_data("text", part)}

{JSON}
{_FORM}"""
