"""Knowledge out of a text, in seven passes: extract, validator, hallucination, consensus, redteam, pipeline, render.

Each can be used by itself; workflows/knowledge-refine.yaml is all of them. The first five ask a chat model about the
text, the sixth about facts alone, the last asks nobody.
"""

from typing import Annotated, TypeVar

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import Lakehouse, mode
from lakehouse.engine import knowledge
from lakehouse.engine.knowledge import (
    Agreed,
    Attacked,
    Checked,
    Curated,
    Extracted,
    Fact,
    Judged,
    Question,
    Text,
    Took,
    Unusable,
)

Source = Annotated[str, "The text they are taken from."]
Facts = Annotated[list[Fact], "The facts."]
Model = Annotated[str, "Which model is asked: small, medium, large or a name; empty: the configured one."]
PartChars = Annotated[
    int,
    Field(ge=knowledge.MIN_PART, le=knowledge.MAX_PART),
    "Characters of the text in one question; a longer text is asked about in parts.",
]

T = TypeVar("T", bound=Took)


class Rendered(BaseModel):
    """A document."""

    markdown: str = Field(description="The text.")


class _Asking:
    """Questions to the model, each a call of its own that is observed as one, and what they took."""

    def __init__(self, lake: Lakehouse, model: str) -> None:
        self._lake, self._model = lake, model
        self._took = Took()

    async def __call__(self, prompt: str) -> str:
        reply = await self._lake.call("llm.chat", {"prompt": prompt, "model": self._model})
        self._took.calls += 1
        self._took.input_tokens += reply["input_tokens"]
        self._took.output_tokens += reply["output_tokens"]
        self._took.cost_usd += reply["cost_usd"]
        if reply["finish_reason"] == "length":
            raise Unusable(
                f"{reply['model']} was cut off in the middle of its answer.",
                fix="Lower part_chars, or name a model that gives longer answers.",
            )
        return str(reply["content"])

    def with_costs(self, done: T) -> T:
        """What a pass found, and what it took."""
        return done.model_copy(update=self._took.model_dump())


@mode(long=True)
async def extract(
    lake: Lakehouse, text: Source, model: Model = "", part_chars: PartChars = knowledge.PART_CHARS
) -> Extracted:
    """Ask for the facts, entities and relations in a text; quotations that do not stand in it are left out.

    Example: {"text": "The pump was replaced in May."}.
    """
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.extracted(ask, Text(text, part_chars)))


@mode(long=True)
async def validator(
    lake: Lakehouse,
    text: Source,
    facts: Facts,
    min_confidence: Annotated[int, Field(ge=1, le=10), "Facts below are dropped."] = 1,
    model: Model = "",
    part_chars: PartChars = knowledge.PART_CHARS,
) -> Judged:
    """Ask how sure each fact is by the text, from 1 to 10."""
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.judged(ask, Text(text, part_chars), facts, min_confidence))


@mode(long=True)
async def hallucination(
    lake: Lakehouse, text: Source, facts: Facts, model: Model = "", part_chars: PartChars = knowledge.PART_CHARS
) -> Checked:
    """Ask whether a text supports each fact; one whose quotation does not stand in it is not supported."""
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.checked(ask, Text(text, part_chars), facts))


@mode(long=True)
async def consensus(
    lake: Lakehouse,
    text: Source,
    facts: Annotated[list[Fact] | None, "Taken as the first extraction; nothing is added to them."] = None,
    rounds: Annotated[int, Field(ge=1, le=knowledge.MAX_ROUNDS), "Extractions at most."] = knowledge.MAX_ROUNDS,
    model: Model = "",
    part_chars: PartChars = knowledge.PART_CHARS,
) -> Agreed:
    """Extract again until less than 5 % changes, and keep the facts that two thirds of the extractions found."""
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.agreed(ask, Text(text, part_chars), facts, rounds))


@mode(long=True)
async def redteam(
    lake: Lakehouse, text: Source, facts: Facts, model: Model = "", part_chars: PartChars = knowledge.PART_CHARS
) -> Attacked:
    """Ask for the strongest objection to each fact; it is kept, mended with words of the text, or dropped."""
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.attacked(ask, Text(text, part_chars), facts))


@mode(long=True)
async def pipeline(lake: Lakehouse, facts: Facts, model: Model = "") -> Curated:
    """Ask for the questions that facts answer, and for their topics; the surest come first."""
    ask = _Asking(lake, model)
    return ask.with_costs(await knowledge.curated(ask, facts))


@mode()
async def render(
    lake: Lakehouse,
    questions: Annotated[list[Question], "As pipeline gives them."],
    facts: Annotated[list[Fact], "The facts they rest on."],
    title: Annotated[str, "The document's title."] = "Knowledge",
) -> Rendered:
    """Write questions under their topics, each with its answer and its facts, as Markdown. No model is asked."""
    return Rendered(markdown=await anyio.to_thread.run_sync(knowledge.document, questions, facts, title))
