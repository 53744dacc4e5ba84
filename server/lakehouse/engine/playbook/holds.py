"""Quarantine: rules that put entries aside. They stay where they are, and count for nothing until released."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakehouse.engine.playbook.entry import Entry, checked, moment_of
from lakehouse.engine.playbook.influence import Near
from lakehouse.errors import InvalidInput

MAX_IDS = 5000
MAX_TEXT = 1000  # characters of a writer, an id, a reason: all rules together are one item, read with each search


@dataclass(frozen=True)
class Chosen:
    """Entries by id, by writer, by when they were written: all that is given must hold. `until` is not included."""

    ids: tuple[str, ...] | None = None
    writer: str | None = None
    since: str | None = None
    until: str | None = None

    @classmethod
    def of(
        cls, ids: Collection[str] | None, writer: str | None, since: str | None, until: str | None, *, some: bool = True
    ) -> "Chosen":
        """As a caller gives it. Raises InvalidInput, where `some` are needed also for nothing at all."""
        if some and ids is None and writer is None and since is None and until is None:
            raise InvalidInput("ids, writer, since, until: none is given.", fix="Say which entries are meant.")
        if ids is not None and len(ids) > MAX_IDS:
            raise InvalidInput(f"ids: over {MAX_IDS}.", fix="Name fewer at a time.")
        for name, texts in (("ids", ids or ()), ("writer", () if writer is None else (writer,))):
            if any(len(checked(text, name)) > MAX_TEXT for text in texts):
                raise InvalidInput(
                    f"{name}: it has over {MAX_TEXT} characters.", fix="Give what playbook_lookup shows."
                )
        return cls(
            None if ids is None else tuple(sorted(set(ids))),
            writer,
            None if since is None else moment_of(since, "since"),
            None if until is None else moment_of(until, "until"),
        )

    def has(self, id: str, entry: Entry) -> bool:
        """Whether an entry is one of them. When it was written is Lakehouse's own time, not the caller's."""
        return (
            (self.ids is None or id in self.ids)
            and self.writer in (None, entry.by.who)
            and (self.since is None or entry.by.at >= self.since)
            and (self.until is None or entry.by.at < self.until)
        )

    def told(self) -> dict[str, Any]:
        """What was given of it, as plain JSON data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class Hold:
    """One rule: what it puts aside, who made it, when, and why."""

    chosen: Chosen
    by: str
    at: str
    reason: str | None = None

    @property
    def id(self) -> str:
        """The same for the same choice: putting the same aside again is one hold."""
        return "q-" + hashlib.sha256(json.dumps(self.chosen.told(), sort_keys=True).encode()).hexdigest()[:16]

    def stored(self) -> dict[str, Any]:
        """As plain JSON data."""
        return self.chosen.told() | {"by": self.by, "at": self.at, "reason": self.reason}


def read(stored: Any) -> list[Hold]:
    """The holds as they were stored."""
    holds = []
    for one in stored or ():
        ids = one.get("ids")
        chosen = Chosen(None if ids is None else tuple(ids), one.get("writer"), one.get("since"), one.get("until"))
        holds.append(Hold(chosen, one["by"], one["at"], one.get("reason")))
    return holds


def standing(id: str, entry: Entry, holds: Iterable[Hold]) -> Entry | None:
    """What of an entry counts: itself, or what it replaced where only itself is put aside."""
    rules = [hold.chosen for hold in holds]
    found: Entry | None = entry
    while found is not None and any(rule.has(id, found) for rule in rules):
        found = found.replaced
    return found


def counted(near: Iterable[Near], holds: Sequence[Hold], without: Collection[str]) -> list[Near]:
    """What of the entries found counts: neither left out nor put aside."""
    stand = [(one, standing(one.id, one.entry, holds)) for one in near if one.id not in without]
    return [replace(one, entry=entry) for one, entry in stand if entry is not None]


def without(chosen: Chosen, id: str, entry: Entry) -> Entry | None:
    """An entry after those chosen are gone from it and from what it replaced; None when nothing is left."""
    behind = None if entry.replaced is None else without(chosen, id, entry.replaced)
    return behind if chosen.has(id, entry) else replace(entry, replaced=behind)
