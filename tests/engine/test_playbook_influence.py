"""What entries count for, over all orders and sizes: bounded, monotone, the same in any order, halved by age."""

import math
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine import moment
from lakehouse.engine.playbook import boosted, lifted
from lakehouse.engine.playbook.entry import Entry, Writer
from lakehouse.engine.playbook.influence import Influence, Near

DAY = 86_400
NOW = 1_700_000_000.0
PLAIN = Influence(config.Playbook())
scores = st.floats(0, 1)
names = st.sampled_from(["", "ann", "ben", "eve"])


def entry(
    score: float, *, answer: str = "a", who: str = "", days: float = 0, polarity: int = 1, query: str = "q"
) -> Entry:
    by = Writer(who or "cli", local=not who)
    return Entry(query, answer, "c", score, moment.text_of(NOW - days * DAY), polarity, by=by)


@st.composite
def found(draw: st.DrawFn, /, **fixed: Any) -> list[Near]:
    many = draw(
        st.lists(st.tuples(scores, st.sampled_from("abcdef"), names, st.sampled_from([1, -1]), scores), max_size=12)
    )
    made = []
    for place, (score, answer, who, polarity, distance) in enumerate(many):
        one = entry(score, answer=answer, who=fixed.get("who", who), polarity=polarity, query=f"q{place}")
        made.append(Near(one.id, one, distance))
    return made


@given(st.floats(0, 2), st.floats(-1, 1), st.floats(-1, 1))
def test_a_boost_is_monotone_and_bounded(distance: float, some: float, other: float) -> None:
    low, high = sorted((some, other))
    assert 0.5 * distance <= boosted(distance, high) <= boosted(distance, low) <= 1.5 * distance
    score = distance
    assert score / 1.5 <= lifted(score, low) <= lifted(score, high) <= 2 * score
    assert boosted(distance, 0) == distance and boosted(distance, 1) == distance * 0.5


@given(found(), st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(near: list[Near], source: random.Random) -> None:
    shuffled = source.sample(near, len(near))
    assert PLAIN.weighed(near, NOW) == PLAIN.weighed(shuffled, NOW)
    assert PLAIN.chosen(near, 5) == PLAIN.chosen(shuffled, 5)


@given(found())
def test_each_answer_once_and_within_bounds(near: list[Near]) -> None:
    said = PLAIN.weighed(near, NOW)
    answers = [one.near.entry.answer for one in said]
    assert len(answers) == len(set(answers))
    assert all(0 < abs(one.effect) <= one.near.entry.score for one in said)


@given(found(who="eve"))
def test_a_writer_alone_moves_no_more_than_its_limit(near: list[Near]) -> None:
    total = math.fsum(abs(one.effect) for one in PLAIN.weighed(near, NOW))
    assert total <= 2 * (1 + 1e-12)


@given(found(who=""))
def test_this_machines_own_entries_count_as_they_are(near: list[Near]) -> None:
    """The arithmetic of the plain rule, to the last bit: the strongest of each answer, by its score."""
    for one in PLAIN.weighed(near, NOW):
        of = [other.entry.score for other in near if other.entry.answer == one.near.entry.answer]
        assert abs(one.effect) == max(of)


@given(found(who="eve"), st.sampled_from([1, -1]))
def test_what_another_says_too_is_not_cut(near: list[Near], polarity: int) -> None:
    """Two independent writers of one mind lift the limit for that answer."""
    of_eve = entry(1.0, answer="x", who="eve", polarity=polarity)
    of_ben = entry(0.1, answer="x", who="ben", polarity=polarity, query="other")
    both = [*near, Near(of_eve.id, of_eve, 0.0), Near(of_ben.id, of_ben, 0.0)]
    said = {one.near.entry.answer_id: one.effect for one in PLAIN.weighed(both, NOW)}
    assert said["x"] == polarity


@given(found(), st.integers(1, 8))
def test_places(near: list[Near], places: int) -> None:
    """Never more than there are, none left free; over half for one token only where nobody else is left."""
    chosen, _ = PLAIN.chosen(near, places)
    assert len(chosen) == min(places, len(near)) and len({one.id for one in chosen}) == len(chosen)
    counts = {who: sum(one.entry.by.who == who for one in chosen) for who in ("ann", "ben", "eve")}
    left = [one for one in near if one not in chosen]
    for who, count in counts.items():
        others = [
            one for one in left if one.entry.by.who != who and (counts.get(one.entry.by.who, 0) < math.ceil(places / 2))
        ]
        assert count <= math.ceil(places / 2) or not others


@given(scores, st.integers(0, 40), st.floats(0, 0.999), st.floats(0.5, 400))
@settings(max_examples=60)
def test_decay(score: float, halves: int, part: float, half_life: float) -> None:
    """A-S17-11: by whole days; never more with age; exactly the score on its day and exactly half at each half-life."""
    rules = Influence(config.Playbook(half_life_days=half_life))
    assert rules.effect(entry(score, days=part), NOW) == score
    older = [rules.effect(entry(score, days=days), NOW) for days in (0, 1, 10, 100, 1000)]
    assert older == sorted(older, reverse=True)
    exact = Influence(config.Playbook(half_life_days=3))
    assert exact.effect(entry(score, days=3 * halves + part), NOW) == score * 0.5**halves
    assert exact.effect(entry(score, days=-halves), NOW) == score
    assert Influence(config.Playbook(half_life_days=0)).effect(entry(score, days=5000), NOW) == score


def test_trust() -> None:
    rules = Influence(config.Playbook(trusted=("ann",), untrusted_weight=0.5))
    assert [rules.effect(entry(1, who=who), NOW) for who in ("", "ann", "eve")] == [1, 1, 0.5]
    assert PLAIN.trusts(Writer("auth.token")) and not PLAIN.trusts(Writer("cli"))
