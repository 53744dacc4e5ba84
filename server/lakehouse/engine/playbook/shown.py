"""What callers of the playbook are given."""

from pydantic import BaseModel, Field

from lakehouse.engine.playbook.entry import Entry
from lakehouse.engine.playbook.holds import Hold


class Provenance(BaseModel):
    """Who made an entry."""

    who: str = Field(description="A token's name, or the face.")
    via: str = Field(description="The face.")
    call: str | None = Field(None, description="The call it was made in.")
    profile: str | None = Field(None, description="The profile that call was bound to.")
    at: str = Field(description="When it was written, by this server's clock.")
    trusted: bool = Field(description="Whether it counts whole and without a limit.")


class Shown(BaseModel):
    """One entry."""

    playbook_id: str = Field(description="Its id.")
    query_text: str = Field(description="The question.")
    answer_id: str = Field(description="The item that answered it.")
    answer_corpus: str = Field(description="The corpus that item is in.")
    score: float = Field(description="How well, 0 to 1.")
    polarity: int = Field(description="1, or -1 for a rejection.")
    recorded_at: str = Field(description="From when on it ages.")
    tags: list[str] = Field(default_factory=list, description="Its tags.")
    notes: str | None = Field(None, description="Its notes.")
    session_id: str | None = Field(None, description="The session whose clicks it is of.")
    effect: float = Field(description="What of it counts now, before limits: -1 to 1; 0 in quarantine.")
    distance: float | None = Field(None, description="Of its question from yours.")
    quarantined: bool = Field(description="Whether it is put aside.")
    replaced: int = Field(0, description="Entries of other writers it stands in the place of.")
    by: Provenance = Field(description="Who made it.")

    @classmethod
    def of(cls, entry: Entry, effect: float, trusted: bool, held: bool, distance: float | None = None) -> "Shown":
        """An entry with what of it counts."""
        behind, earlier = 0, entry.replaced
        while earlier is not None:
            behind, earlier = behind + 1, earlier.replaced
        by = entry.by
        return cls(
            playbook_id=entry.id,
            query_text=entry.query_text,
            answer_id=entry.answer_id,
            answer_corpus=entry.answer_corpus,
            score=entry.score,
            polarity=entry.polarity,
            recorded_at=entry.recorded_at,
            tags=list(entry.tags),
            notes=entry.notes,
            session_id=entry.session_id,
            effect=effect,
            distance=distance,
            quarantined=held,
            replaced=behind,
            by=Provenance(who=by.who, via=by.via, call=by.call, profile=by.profile, at=by.at, trusted=trusted),
        )


class Held(BaseModel):
    """One rule of the quarantine."""

    quarantine_id: str = Field(description="Releases it.")
    ids: list[str] | None = Field(None, description="Only these entries.")
    writer: str | None = Field(None, description="Only this writer's, later ones too.")
    since: str | None = Field(None, description="Only those written from then on.")
    until: str | None = Field(None, description="Only those written before.")
    by: str = Field(description="Who made the rule.")
    at: str = Field(description="When.")
    reason: str | None = Field(None, description="Why.")
    entries: int | None = Field(None, description="Entries it puts aside now.")

    @classmethod
    def of(cls, hold: Hold, entries: int | None = None) -> "Held":
        """A rule, and how much it puts aside."""
        return cls(
            **hold.chosen.told(), quarantine_id=hold.id, by=hold.by, at=hold.at, reason=hold.reason, entries=entries
        )


class Looked(BaseModel):
    """Entries."""

    entries: list[Shown] = Field(description="Nearest question first; without a question, newest first.")
    count: int = Field(description="How many are shown.")
    total: int = Field(description="How many fit.")
    quarantine: list[Held] = Field(default_factory=list, description="What is put aside.")


class Outcome(BaseModel):
    """What became of one entry of several."""

    index: int = Field(description="Its place in what was sent.")
    playbook_id: str | None = Field(None, description="Its id.")
    error: str | None = Field(None, description="Why it was not recorded.")


class Recorded(BaseModel):
    """What became of several entries."""

    recorded: int = Field(description="How many were.")
    failed: int = Field(description="How many were not.")
    results: list[Outcome] = Field(description="Each by its place.")


class Forgotten(BaseModel):
    """What was removed."""

    removed: int = Field(description="Entries that are gone.")
    restored: int = Field(description="Entries that are again what another writer had said before.")
