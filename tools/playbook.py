"""Which answers served which questions: they rank higher then."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lakehouse import InvalidInput, Lakehouse, resource, tool
from lakehouse.engine.playbook import (
    DEFAULT_CORPUS,
    Forgotten,
    Held,
    Judged,
    Looked,
    Recorded,
    Report,
    Shown,
)

Query = Annotated[str, "The question."]
AnswerId = Annotated[str, "The result's id."]
AnswerCorpus = Annotated[str, "Its corpus."]
Corpus = Annotated[str, "Another playbook."]
Score = Annotated[float, Field(ge=0, le=1), "0 to 1, the best."]
Tags = Annotated[list[str] | None, "Labels."]
Notes = Annotated[str | None, "Why."]
RecordedAt = Annotated[str | None, "It ages from then on."]
Ids = Annotated[list[str] | None, "Only these."]
Writer = Annotated[str | None, "Token or face."]
Since = Annotated[str | None, "Written from then on."]
Clicks = Sequence[dict[str, Any]]
Judgements = dict[str, dict[str, list[str]]]
Until = Annotated[str | None, "Written before."]


class Noted(BaseModel):
    """An entry that is recorded."""

    playbook_id: str = Field(description="Its id; the same for the same question, answer and corpus.")


@tool(
    "writes",
    name="playbook_record",
    route="/v1/matrix/playbooks/record",
    title="Record an answer that served",
    toolset="core memory",
    idempotent=True,
)
async def record(
    lake: Lakehouse,
    query_text: Query,
    answer_id: AnswerId,
    answer_corpus: AnswerCorpus,
    score: Score,
    tags: Tags = None,
    notes: Notes = None,
    recorded_at: RecordedAt = None,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Noted:
    """Note that a result answered a question: matrix_search with use_playbook then ranks it higher.

    Example: {"query_text": "forklift driver IL", "answer_id": "w-7", "answer_corpus": "workers", "score": 1}
    """
    given = {
        "query_text": query_text,
        "answer_id": answer_id,
        "answer_corpus": answer_corpus,
        "score": score,
        "tags": tags,
        "notes": notes,
        "recorded_at": recorded_at,
    }
    return Noted(playbook_id=await lake.playbook.record(given, corpus=corpus))


@tool(
    "writes",
    name="playbook_record_bulk",
    route="/v1/matrix/playbooks/bulk",
    max_body=64 * 2**20,
    title="Record many answers",
    toolset="memory",
    long=True,
    idempotent=True,
)
async def bulk(
    lake: Lakehouse,
    entries: Annotated[Sequence[Any], "Up to 5,000, as playbook_record takes them."],
    corpus: Corpus = DEFAULT_CORPUS,
) -> Recorded:
    """Record past answers. Each stands alone: a bad one is told by its place, the others are recorded."""
    return await lake.playbook.bulk(entries, corpus=corpus, progress=lake.progress)


@tool(
    "writes",
    name="playbook_feedback",
    route="/v1/matrix/playbooks/feedback",
    title="Accept or reject an answer",
    toolset="memory",
    idempotent=True,
)
async def feedback(
    lake: Lakehouse,
    query_text: Query,
    answer_id: AnswerId,
    answer_corpus: AnswerCorpus,
    verdict: Annotated[Literal["accept", "reject"], "reject ranks it lower."],
    weight: Score = 1,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Noted:
    """Say whether a result answered a question; the newest verdict counts."""
    given = {
        "query_text": query_text,
        "answer_id": answer_id,
        "answer_corpus": answer_corpus,
        "weight": weight,
    }
    return Noted(playbook_id=await lake.playbook.feedback(given, verdict, corpus=corpus))


@tool(
    "writes",
    name="playbook_clicks",
    route="/v1/feedback",
    title="Record clicks on answers",
    toolset="memory",
    long=True,
    idempotent=True,
)
async def clicks(
    lake: Lakehouse,
    session_id: Annotated[str, "The session they are of."],
    query_text: Query,
    clicks: Annotated[Clicks, "{answer_id, answer_corpus, kind: open|shortlist|placed|rejected, ts} each."],
) -> Recorded:
    """Record what a person did with results: of each the strongest counts, 0.3, 0.6, 1 or -1."""
    return await lake.playbook.clicks(session_id, query_text, clicks)


@tool(
    name="playbook_lookup",
    route="/v1/matrix/playbooks/lookup",
    title="Look into the playbook",
    toolset="core memory",
)
async def lookup(
    lake: Lakehouse,
    query_text: Annotated[str | None, "Leave out for the newest."] = None,
    ids: Ids = None,
    writer: Writer = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, Field(ge=1, le=1000), "The most."] = 10,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Looked:
    """Show what served questions like this one, with who recorded it, and what is in quarantine."""
    return await lake.playbook.lookup(
        query_text, corpus=corpus, ids=ids, writer=writer, since=since, until=until, limit=limit
    )


@tool(
    "destroys",
    name="playbook_forget",
    route="/v1/matrix/playbooks/forget",
    title="Forget entries of the playbook",
    toolset="memory",
    long=True,
    idempotent=True,
)
async def forget(
    lake: Lakehouse,
    ids: Ids = None,
    writer: Writer = None,
    since: Since = None,
    until: Until = None,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Forgotten:
    """Delete entries that meet all that is given; what they had replaced of other writers stands again."""
    return await lake.playbook.forget(corpus=corpus, ids=ids, writer=writer, since=since, until=until)


@tool(
    "writes",
    name="playbook_quarantine",
    route="/v1/matrix/playbooks/quarantine",
    title="Put entries aside, or release them",
    toolset="memory",
    idempotent=True,
)
async def quarantine(
    lake: Lakehouse,
    ids: Ids = None,
    writer: Writer = None,
    since: Since = None,
    until: Until = None,
    reason: Notes = None,
    release: Annotated[str | None, "A quarantine_id to end."] = None,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Held:
    """Put entries aside that meet all that is given, later ones too: they move nothing until released."""
    if release is None:
        return await lake.playbook.quarantine(
            corpus=corpus, ids=ids, writer=writer, since=since, until=until, reason=reason
        )
    if (ids, writer, since, until, reason) != (None,) * 5:
        raise InvalidInput("release: it stands alone.", fix="Leave the others out.")
    return await lake.playbook.release(release, corpus=corpus)


@tool(
    name="playbook_report",
    route="/v1/matrix/playbooks/report",
    title="What each entry is worth",
    toolset="memory",
    long=True,
)
async def report(
    lake: Lakehouse,
    questions: Annotated[Judgements | None, "{question: {corpus: [right ids]}}; else those recorded."] = None,
    limit: Annotated[int, Field(ge=1, le=1000), "Questions to measure."] = 50,
    after: Annotated[str | None, "`next` of the part before."] = None,
    corpus: Corpus = DEFAULT_CORPUS,
) -> Report:
    """Leave each entry out in turn: how much better or worse right answers are ranked because of it."""

    async def search(question: str, corpora: Sequence[str], without: Collection[str]) -> list[tuple[str, str]]:
        found = await lake.matrix.search(
            question, corpora=corpora, k=10, use_playbook=True, playbook_corpus=corpus, without=without
        )
        return [(one.id, one.corpus) for one in found.results]

    judged = None if questions is None else [_judged(text, right) for text, right in questions.items()]
    return await lake.playbook.report(
        search, corpus=corpus, questions=judged, after=after, limit=limit, progress=lake.progress
    )


def _judged(query_text: str, right: dict[str, list[str]]) -> Judged:
    return Judged(query_text, frozenset((id, corpus) for corpus, ids in right.items() for id in ids))


@resource("lakehouse://playbooks/{playbook_id}", title="A playbook entry")
async def entry(lake: Lakehouse, playbook_id: str) -> Shown:
    """One entry of the playbook, with who made it."""
    return await lake.playbook.get(playbook_id)
