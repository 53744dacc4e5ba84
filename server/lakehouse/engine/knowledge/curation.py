"""The last passes: facts arranged as questions and answers under topics, and the document made of those."""

from collections.abc import Iterator, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from lakehouse.engine.knowledge.asking import DATA, JSON, Answer, Ask, Took, asked, asked_each, incomplete, numbered
from lakehouse.engine.knowledge.fact import Fact, distinct, identity
from lakehouse.engine.knowledge.source import AT_ONCE_FACTS, as_data
from lakehouse.engine.markdown import inline

QUESTIONS_AT_ONCE = 60  # to sort into topics in one go
UNSURE = 5  # the confidence of a fact that nobody judged


class Question(BaseModel):
    """A question that the facts answer."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(description="What is asked.")
    answer: str = Field(description="What the facts say.")
    facts: list[str] = Field(description="The ids of those facts.")
    topic: str = Field("", description="What it is about.")
    rank: int = Field(0, description="Its place, from 1: the surest first.")


class Curated(Took):
    """Facts, arranged."""

    questions: list[Question] = Field(description="By rank.")
    topics: list[str] = Field(description="In the order of their best question.")
    facts: list[Fact] = Field(description="Without repetitions.")
    unasked: list[str] = Field(description="The ids of facts that no question is about.")


class _Pair(Answer):
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    facts: list[int] = Field(min_length=1)


class _Pairs(Answer):
    questions: list[_Pair]


class _Topic(Answer):
    topic: str = Field(min_length=1)
    questions: list[int]


class _Topics(Answer):
    topics: list[_Topic]


async def curated(ask: Ask, facts: list[Fact]) -> Curated:
    """Clean facts, ask for the questions they answer and for those's topics, and rank by how sure the facts are.

    An answer must name the facts it is made of. Raises Unusable, and as `ask` does.
    """
    facts = distinct(facts)
    sheets = [facts[first : first + AT_ONCE_FACTS] for first in range(0, len(facts), AT_ONCE_FACTS)]
    answers = await asked_each([partial(_pairs, ask, sheet) for sheet in sheets])
    found: dict[str, Question] = {}
    for sheet, answer in zip(sheets, answers, strict=True):
        for pair in answer.questions:
            ids = [sheet[number - 1].id for number in dict.fromkeys(pair.facts)]
            said, reply = " ".join(pair.question.split()), pair.answer.strip()
            known = found.get(identity(said))
            if known is not None:  # another sheet asked the same
                ids = list(dict.fromkeys([*known.facts, *ids]))
                reply = f"{known.answer}\n\n{reply}"
            found[identity(said)] = Question(question=said, answer=reply, facts=ids)
    questions = [*found.values()]
    await _sort(ask, questions)
    questions = _ranked(questions, facts)
    used = {id for question in questions for id in question.facts}
    return Curated(
        questions=questions,
        topics=list(dict.fromkeys(question.topic for question in questions)),
        facts=facts,
        unasked=[fact.id for fact in facts if fact.id not in used],
    )


def document(questions: Sequence[Question], facts: Sequence[Fact], title: str) -> str:
    """The questions under their topics as Markdown, each with its answer and the facts it rests on.

    Everything is escaped: nothing of the text they come from acts.
    """
    by_id = {fact.id: fact for fact in facts}
    return "\n\n".join([f"# {inline(title)}", *_lines(sorted(questions, key=lambda one: one.rank), by_id)]) + "\n"


def _lines(questions: Sequence[Question], facts: dict[str, Fact]) -> Iterator[str]:
    for topic in dict.fromkeys(question.topic for question in questions):
        yield f"## {inline(topic or 'Questions')}"
        for question in questions:
            if question.topic == topic:
                yield f"### {inline(question.question)}"
                yield from (inline(part) for part in question.answer.split("\n\n") if part.strip())
                held = [facts[id] for id in question.facts if id in facts]
                if held:
                    yield "\n".join(f"- {_told(fact)}" for fact in held)
    if not questions:
        yield "Nothing is known for certain."


def _told(fact: Fact) -> str:
    sure = f" ({fact.confidence}/10)" if fact.confidence is not None else ""
    quoted = f": “{inline(fact.evidence)}”" if fact.evidence else ""
    return f"{inline(fact.text)}{sure}{quoted}"


def _ranked(questions: Sequence[Question], facts: Sequence[Fact]) -> list[Question]:
    sure = {fact.id: fact.confidence or UNSURE for fact in facts}

    def standing(question: Question) -> tuple[float, int]:
        return -sum(sure[id] for id in question.facts) / len(question.facts), -len(question.facts)

    ordered = sorted(questions, key=standing)
    return [question.model_copy(update={"rank": rank}) for rank, question in enumerate(ordered, 1)]


async def _pairs(ask: Ask, facts: Sequence[Fact]) -> _Pairs:
    prompt = f"""\
Write the questions that somebody would ask to learn the facts below, each with its answer. An answer says what the
facts say and no more; facts are the numbers of those it is made of. Put facts that belong together under one question.
{DATA}

{as_data("facts", numbered(facts))}

{JSON}
{{"questions": [{{"question": "...", "answer": "...", "facts": [1, 2]}}]}}"""

    def fault(answer: _Pairs) -> str:
        strange = {number for pair in answer.questions for number in pair.facts} - {*range(1, len(facts) + 1)}
        if strange:
            return f"there is no fact number {min(strange)}."
        return "" if answer.questions else "it holds no question."

    return await asked(ask, prompt, _Pairs, fault)


async def _sort(ask: Ask, questions: list[Question]) -> None:
    """Give each question its topic. Later sheets are told the topics there are, so that those stay few."""
    topics: list[str] = []
    for first in range(0, len(questions), QUESTIONS_AT_ONCE):
        sheet = questions[first : first + QUESTIONS_AT_ONCE]
        listed = "\n".join(f"{number}. {question.question}" for number, question in enumerate(sheet, 1))
        known = f"Use these topics where they fit:\n{as_data('topics', chr(10).join(topics))}\n" if topics else ""
        prompt = f"""\
Sort the questions below into a few topics, each question into one. A topic is a name of one to four words.
{known}{DATA}

{as_data("questions", listed)}

{JSON}
{{"topics": [{{"topic": "...", "questions": [1, 2]}}]}}"""

        def fault(answer: _Topics, count: int = len(sheet)) -> str:
            return incomplete([number for topic in answer.topics for number in topic.questions], count)

        for topic in (await asked(ask, prompt, _Topics, fault)).topics:
            name = " ".join(topic.topic.split())
            topics += [name] if name not in topics else []
            for number in topic.questions:
                sheet[number - 1].topic = name
