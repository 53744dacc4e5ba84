"""The journal: who changed what, and when."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Event(BaseModel):
    """One entry."""

    id: str = Field(description="Its id; ids sort like the time.")
    ts: str = Field(description="When, UTC.")
    actor: str = Field(description="Who: the name of a token, else the face.")
    action: str = Field(description="What was done: ingest, append, drop, put, add, build, …")
    entity_type: str = Field(description="dataset, object, index, corpus, profile, …")
    entity_id: str = Field(description="Which one.")
    before: Any = Field(None, description="What it was.")
    after: Any = Field(None, description="What it became.")
    correlation_id: str | None = Field(None, description="The call it was done in.")
    appended: bool = Field(description="Whether a caller wrote it; all others are Lakehouse's own.")


class Events(BaseModel):
    """Entries, newest first."""

    events: Sequence[Event] = Field(description="The entries.")
    count: int = Field(description="How many.")
    problems: Sequence[str] = Field((), description="What of the journal could not be written or read.")


@tool(name="journal_query", route="GET /v1/journal", toolset="admin", title="Query the journal")
async def query(
    lake: Lakehouse,
    entity_type: Annotated[str | None, "dataset, index, corpus, …"] = None,
    entity_id: Annotated[str | None, "Which one."] = None,
    action: Annotated[str | None, "ingest, drop, put, …"] = None,
    actor: Annotated[str | None, "Token or face."] = None,
    since: Annotated[str | None, "A day or RFC 3339."] = None,
    until: Annotated[str | None, "Likewise, included."] = None,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 100,
) -> Events:
    """Show who changed what, newest first. Calls that read, or failed: observer_recent."""
    found = await lake.journal.query(entity_type, entity_id, action, actor, since, until, limit)
    events = [Event(**vars(one)) for one in found.events]
    return Events(events=events, count=len(events), problems=lake.journal.problems + found.problems)


@tool(
    "writes", name="journal_append", route="/v1/journal", status=201, toolset="admin", title="Add a note to the journal"
)
async def append(
    lake: Lakehouse,
    action: Annotated[str, "What was done, in a word."],
    entity_type: Annotated[str, "To what kind of thing."],
    entity_id: Annotated[str, "To which one."],
    before: Annotated[dict[str, Any] | None, "What it was."] = None,
    after: Annotated[dict[str, Any] | None, "What it became."] = None,
) -> Event:
    """Note something you did elsewhere, for good. Lakehouse's own changes are noted already.

    Example: {"action": "reviewed", "entity_type": "dataset", "entity_id": "orders"}
    """
    made = await lake.journal.append(action, entity_type, entity_id, before=before, after=after)
    return Event(**vars(made))
