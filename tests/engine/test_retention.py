"""Which versions are kept: numbers, days, the time after a drop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import config
from lakehouse.engine.upkeep.retention import Standing, expired

DAY = 86400.0
NOW = 1000 * DAY


def chain(*days: float, dropped: tuple[int, ...] = ()) -> list[Standing]:
    """Versions committed so many days ago, oldest first."""
    return [Standing(n, NOW - ago * DAY, n in dropped) for n, ago in enumerate(days, 1)]


@pytest.mark.parametrize(
    ("settings", "versions", "gone"),
    [
        ({}, chain(90, 60, 30), []),
        ({"keep_versions": 2}, chain(90, 60, 30), [1]),
        ({"keep_versions": 1}, chain(90, 60, 30), [1, 2]),
        ({"keep_versions": 9}, chain(90, 60, 30), []),
        ({"keep_days": 40}, chain(90, 60, 30), [1]),  # 2 was superseded 30 days ago
        ({"keep_days": 20}, chain(90, 60, 30), [1, 2]),
        ({"keep_days": 20}, chain(90), []),
        ({"keep_versions": 2, "keep_days": 20}, chain(90, 60, 30), [1]),  # a limit that keeps it is enough
        ({"keep_versions": 1, "keep_days": 70}, chain(90, 60, 30), []),
        ({"keep_versions": 1}, chain(90, 60, 0.001), [1]),  # 2 was superseded a moment ago
        ({"keep_dropped_days": 7}, chain(90, 60, 30, dropped=(3,)), [1, 2]),
        ({"keep_dropped_days": 31}, chain(90, 60, 30, dropped=(3,)), []),
        ({}, chain(90, 60, 30, dropped=(3,)), []),
        ({"keep_versions": 1, "keep_days": 1}, chain(90, 60, 30, dropped=(3,)), [1]),  # what it held last stays
        ({"keep_dropped_days": 7}, chain(90, 60, 30, dropped=(2,)), []),  # it was restored since
        ({"keep_versions": 1}, chain(90, 60, 30, dropped=(2,)), [1, 2]),
        ({"keep_versions": 2}, chain(90, 60, 30, dropped=(2,)), []),
    ],
)
def test_what_goes(settings: dict[str, float], versions: list[Standing], gone: list[int]) -> None:
    found = expired(versions, config.Datasets(**settings), NOW, grace=3600)
    assert sorted(found) == gone
    assert all(why for why in found.values())


def test_what_is_used_stays() -> None:
    settings = config.Datasets(keep_versions=1)
    assert sorted(expired(chain(90, 60, 30), settings, NOW, grace=3600, used=[1])) == [2]


@given(
    st.lists(st.tuples(st.floats(0, 400), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 4),
    st.sampled_from([0, 1, 30]),
    st.sampled_from([0, 5]),
)
def test_the_newest_and_what_no_limit_concerns_stay(
    days: list[tuple[float, bool]], keep: int, keep_days: float, dropped_days: float
) -> None:
    """Whatever the settings: the newest version stays, and a limit on numbers keeps that many."""
    ages = sorted((age for age, _ in days), reverse=True)
    versions = [Standing(n, NOW - age * DAY, drop) for n, (age, (_, drop)) in enumerate(zip(ages, days, strict=True))]
    settings = config.Datasets(keep_versions=keep, keep_days=keep_days, keep_dropped_days=dropped_days)
    gone = set(expired(versions, settings, NOW, grace=3600))
    newest = versions[-1]
    assert newest.version not in gone
    held = [one for one in versions if not one.dropped]
    if not newest.dropped:
        assert not gone & {one.version for one in held[len(held) - keep :]} if keep else True
        if not keep and not keep_days:
            assert not gone
    elif not dropped_days and held:
        assert held[-1].version not in gone
