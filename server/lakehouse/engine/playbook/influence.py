"""How much the entries near a question count: age, trust, and what one writer may move."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.engine.playbook.entry import Entry, Writer, seconds_of

if TYPE_CHECKING:
    from lakehouse import config

DAY = 86_400


@dataclass(frozen=True)
class Near:
    """An entry whose question is near, and its distance from the one that is asked."""

    id: str
    entry: Entry
    distance: float


@dataclass(frozen=True)
class Said:
    """What is said of one answer, and what of it counts: -1 to 1."""

    near: Near
    effect: float


class Influence:
    """The rules of one set of settings. What they give does not depend on the order of entries."""

    def __init__(self, settings: "config.Playbook") -> None:
        self._settings = settings

    def trusts(self, writer: Writer) -> bool:
        """Whether a writer's entries count whole and without a limit."""
        return writer.local or writer.who in self._settings.trusted

    def effect(self, entry: Entry, now: float | None = None) -> float:
        """The score with its sign, after decay and by trust: score x 0.5^(whole days / half-life) x weight."""
        half = self._settings.half_life_days
        days = max(0, math.floor(((time.time() if now is None else now) - seconds_of(entry.recorded_at)) / DAY))
        decayed = entry.score * 0.5 ** (days / half) if half else entry.score
        weight = 1.0 if self.trusts(entry.by) else self._settings.untrusted_weight
        return entry.polarity * decayed * weight

    def chosen(self, found: Sequence[Near], places: int) -> tuple[list[Near], bool]:
        """The entries nearest to a question, at most `places`, and whether more would not change them.

        Those of one writer who is not trusted take over half of the places only where others leave them free.
        """
        ordered = sorted(found, key=lambda near: (near.distance, near.id))
        share = math.ceil(places / 2)
        taken: list[Near] = []
        spare: list[Near] = []
        of: dict[str, int] = defaultdict(int)
        for near in ordered:
            key = near.entry.by.key
            of[key] += 1
            (taken if of[key] <= share or self.trusts(near.entry.by) else spare).append(near)
        full = len(taken) >= places
        return taken[:places] + spare[: max(0, places - len(taken))], full

    def weighed(self, found: Iterable[Near], now: float | None = None) -> list[Said]:
        """For each answer the strongest of what is said, after what one writer may move; nearest first.

        A writer who is not trusted has at most `writer_effect` on all answers together that not enough others say the
        same of: over that, all these effects shrink by one factor.
        """
        own: dict[str, dict[tuple[str, str], Said]] = defaultdict(dict)
        backers: dict[tuple[tuple[str, str], bool], set[str]] = defaultdict(set)
        for near in found:
            said = Said(near, self.effect(near.entry, now))
            if said.effect:
                key = near.entry.by.key
                backers[near.entry.answer, said.effect > 0].add(key)
                mine = own[key].get(near.entry.answer)
                own[key][near.entry.answer] = said if mine is None else min(mine, said, key=_strongest)
        best: dict[tuple[str, str], Said] = {}
        for of in own.values():
            for answer, said in self._limited(of, backers).items():
                best[answer] = min(best.get(answer, said), said, key=_strongest)
        return sorted(best.values(), key=lambda said: (said.near.distance, said.near.id))

    def _limited(
        self, of: dict[tuple[str, str], Said], backers: dict[tuple[tuple[str, str], bool], set[str]]
    ) -> dict[tuple[str, str], Said]:
        """What one writer says of each answer, within what it may move."""
        if self.trusts(next(iter(of.values())).near.entry.by):
            return of
        alone = {
            answer: said
            for answer, said in of.items()
            if len(backers[answer, said.effect > 0]) < self._settings.independent_writers
        }
        total = math.fsum(abs(said.effect) for said in alone.values())
        if total <= self._settings.writer_effect:
            return of
        factor = self._settings.writer_effect / total
        return of | {answer: Said(said.near, said.effect * factor) for answer, said in alone.items()}


def _strongest(said: Said) -> tuple[float, float, str]:
    """The order in which one entry is preferred to another: the larger effect, the nearer question."""
    return -abs(said.effect), said.near.distance, said.near.id
