"""One entry of the playbook: what was asked, what answered it, how well, and who says so."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lakehouse.engine import moment
from lakehouse.engine.acting import acting
from lakehouse.errors import InvalidInput, did_you_mean

SEPARATOR = "\x1f"
# Longer ones are no questions and no ids; an entry stays small enough to be read with each search.
LONGEST = {"query_text": 10_000, "answer_id": 1_000, "answer_corpus": 200, "notes": 10_000}
MAX_TAGS, MAX_TAG = 50, 100
MAX_REPLACED = 4  # writers whose word on a triple is kept behind the last one
FIELDS = ("query_text", "answer_id", "answer_corpus", "score", "tags", "notes", "recorded_at")


@dataclass(frozen=True)
class Writer:
    """Who made an entry: a token or a face, in which call, when (UTC).

    `local` ones need no token. What no call of this store wrote has no name and is of nobody here.
    """

    who: str = ""
    via: str = ""
    call: str | None = None
    profile: str | None = None
    at: str = ""
    local: bool = False

    @property
    def key(self) -> str:
        """What tells writers apart that are independent: all of this machine are one."""
        return "" if self.local else f"token {self.who}"


@dataclass(frozen=True)
class Entry:
    """What is stored. `polarity` is 1, or -1 for a rejection; `replaced` is what another writer had said before."""

    query_text: str
    answer_id: str
    answer_corpus: str
    score: float
    recorded_at: str
    polarity: int = 1
    tags: tuple[str, ...] = ()
    notes: str | None = None
    session_id: str | None = None
    by: Writer = Writer()
    replaced: "Entry | None" = None

    @property
    def id(self) -> str:
        """The same for the same question, answer and corpus."""
        return id_of(self.query_text, self.answer_id, self.answer_corpus)

    @property
    def answer(self) -> tuple[str, str]:
        """The answer's id and corpus: what results are matched on."""
        return self.answer_id, self.answer_corpus

    def stored(self) -> dict[str, Any]:
        """As an item's metadata."""
        return {name: value for name, value in asdict(self).items() if value is not None and value != ()}

    def outclicks(self, other: "Entry") -> bool:
        """Whether both are clicks of one session, and this one is as strong and as late."""
        same = self.session_id is not None and (self.session_id, self.by.key) == (other.session_id, other.by.key)
        return same and (self.score, self.recorded_at) >= (other.score, other.recorded_at)

    def after(self, earlier: "Entry | None") -> "Entry":
        """The entry in the place of `earlier`: what other writers had said last stays behind it, newest first.

        Of one session's clicks the stronger stays, so that sending them again changes nothing.
        """
        if earlier is not None and earlier.outclicks(self):
            return earlier
        chain: list[Entry] = []
        while earlier is not None:
            if earlier.by.key not in {self.by.key, *(one.by.key for one in chain)}:
                chain.append(earlier)
            earlier = earlier.replaced
        behind: Entry | None = None
        for one in reversed(chain[:MAX_REPLACED]):
            behind = replace(one, replaced=behind)
        return replace(self, replaced=behind)


def id_of(query_text: str, answer_id: str, answer_corpus: str) -> str:
    """`pb-` and 32 hex digits of the SHA-256 of the three, joined by the unit separator."""
    whole = SEPARATOR.join((query_text, answer_id, answer_corpus))
    return "pb-" + hashlib.sha256(whole.encode()).hexdigest()[:32]


def entry_of(given: Mapping[str, Any], polarity: int = 1, *, score: str = "score", session: str | None = None) -> Entry:
    """An entry as a caller gives it, by the caller at work. `score` is what that field is called there.

    Raises InvalidInput naming the field.
    """
    known = [score if name == "score" else name for name in FIELDS]
    for name in given:
        if name not in known:
            raise InvalidInput(f"{str(name)[:80]}: there is no such field.", fix=did_you_mean(str(name), known))
    query_text, answer_id, answer_corpus = (_text(given.get(name), name) for name in FIELDS[:3])
    notes, tags = given.get("notes"), given.get("tags") or ()
    if notes is not None:
        notes = _text(notes, "notes")
    if not isinstance(tags, list | tuple) or len(tags) > MAX_TAGS or not all(_is_tag(tag) for tag in tags):
        raise InvalidInput(
            f"tags: they must be at most {MAX_TAGS} texts of up to {MAX_TAG} characters.", fix='Send ["…"].'
        )
    for tag in tags:
        checked(tag, "tags")
    actor, now = acting.get(), time.time()
    return Entry(
        query_text,
        answer_id,
        answer_corpus,
        score=_score(given.get(score), score),
        recorded_at=_when(given.get("recorded_at"), now),
        polarity=polarity,
        tags=tuple(tags),
        notes=notes,
        session_id=session,
        by=Writer(actor.name, actor.via, actor.call, actor.profile, moment.text_of(now), actor.local),
    )


def read(metadata: Any) -> Entry | None:
    """An entry of an item's metadata; None for what is none."""
    try:
        found = {name: metadata[name] for name in Entry.__dataclass_fields__ if name in metadata}
        by = found.get("by")
        found["by"] = Writer(**by) if isinstance(by, dict) else Writer()
        found["tags"] = tuple(found.get("tags") or ())
        found["replaced"] = read(found["replaced"]) if "replaced" in found else None
        entry = Entry(**found)
        for name in ("query_text", "answer_id", "answer_corpus"):
            _text(getattr(entry, name), name)
        seconds_of(entry.recorded_at)
        entry = replace(entry, score=_score(entry.score, "score"))
    except (TypeError, KeyError, ValueError, InvalidInput):  # whatever others have put there
        return None
    return entry if entry.polarity in (1, -1) else None


def seconds_of(when: str | float) -> float:
    """A moment as seconds since 1970; numbers over 1e11 are milliseconds. Raises ValueError for what is none."""
    if isinstance(when, bool):
        raise ValueError(when)
    if isinstance(when, int | float) and not abs(when) < 1e18:
        raise ValueError(str(when)[:80])
    if isinstance(when, int | float):
        seconds = when / 1000 if abs(when) > 1e11 else float(when)
    else:
        try:
            found = datetime.fromisoformat(when.strip())
            seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (AttributeError, OverflowError) as error:
            raise ValueError(str(error)) from error
    if not 0 <= seconds < 253_402_300_800:  # until the year 9999
        raise ValueError(when)
    return seconds


def moment_of(when: str | float, name: str) -> str:
    """A moment as it is stored. Raises InvalidInput naming the field."""
    try:
        return moment.text_of(seconds_of(when))
    except ValueError:
        raise InvalidInput(
            f"{name}: {str(when)[:80]!r} is no moment.", fix="Write 2026-05-01 or 2026-05-01T12:00:00Z."
        ) from None


def _when(given: Any, now: float) -> str:
    """When it was recorded: not after now, or it would be fresh for longer than it is."""
    if given is None:
        return moment.text_of(now)
    return min(moment_of(given, "recorded_at"), moment.text_of(now))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name}: it must be a text that is not empty.", fix=f"Give {name}.")
    if len(value) > LONGEST[name]:
        raise InvalidInput(f"{name}: it has over {LONGEST[name]} characters.", fix="Give a shorter one.")
    return checked(value, name)


def checked(text: str, name: str) -> str:
    """The text. Raises InvalidInput for half a character, which no store takes."""
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise InvalidInput(f"{name}: it is not valid Unicode.", fix="Send it as UTF-8.")
    return text


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 0 < len(tag) <= MAX_TAG


def _score(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:  # nor is NaN
        raise InvalidInput(f"{name}: it must be a number between 0 and 1.", fix="Give 1 for the best of answers.")
    return float(value)
