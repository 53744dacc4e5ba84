"""The rules that sort evidence, and how far old categories are from them."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lakehouse.engine.distillation import CATEGORIES, SCORER_VERSION, EvidenceRecord, Score, score_record
from lakehouse.engine.distillation.record import Source
from lakehouse.engine.drift import Persisted, scorer_drift
from lakehouse.errors import InvalidInput

CASES: dict[str, list[Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "cases" / "distillation.yaml").read_text(encoding="utf-8")
)
SORTED = [
    ({"source": source} | record, category, reason)
    for source, rows in CASES.items()
    if source != "empty"
    for record, category, reason in rows
]
WORDS = st.sampled_from(
    ["attempt_1", "attempt_2", "accepted", "rejected", "cycle", "accepted_on_attempt_1", "blue", ""]
)
RECORDS = st.builds(
    EvidenceRecord,
    source=st.sampled_from(get_args(Source)),
    task=st.text(max_size=5),
    output=st.just("a diff"),
    markers=st.lists(WORDS, max_size=3),
    attempt=st.none() | st.integers(1, 5),
    verdict=st.none() | st.sampled_from(["accept", "reject", "cycle", "unknown", "odd"]),
    severity=st.none() | st.sampled_from(["block", "warn", "info", "none", "odd"]),
    success=st.none() | st.booleans(),
    score=st.none() | st.floats(0, 1),
)


@pytest.mark.parametrize(("record", "category", "reason"), SORTED, ids=str)
def test_rules(record: dict[str, Any], category: str, reason: str) -> None:
    """A-S24-1, S24.2: each rule, with its reason; what contradicts itself is for a human."""
    score = score_record(EvidenceRecord(**record))
    assert (score.category, score.scorer_version) == (category, SCORER_VERSION)
    assert reason in "; ".join(score.reasons)


@pytest.mark.parametrize("record", CASES["empty"], ids=str)
def test_an_empty_record_is_an_error(record: dict[str, Any]) -> None:
    """A-S24-1."""
    for source in get_args(Source):
        with pytest.raises(InvalidInput, match="it is empty"):
            score_record(EvidenceRecord(source=source, **record))


@pytest.mark.parametrize("wrong", [{"score": 1.1}, {"score": float("nan")}, {"attempt": 0}, {"marker": []}], ids=str)
def test_what_is_no_record(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvidenceRecord(source="workflow", **wrong)


def test_the_hash_is_of_what_is_said() -> None:
    """What is absent and what is said to be absent are the same; the rest changes it."""
    said = EvidenceRecord(source="audit", severity="warn")
    assert said.sha256 == EvidenceRecord(source="audit", severity="warn", markers=[], attempt=None).sha256
    assert said.sha256 == "62b5615f59ab34d84de592fb4f55f11fa651c12b8e47442dbe2c696b6b6c47ce"
    assert said.sha256 != EvidenceRecord(source="audit", severity="warn", output="x").sha256
    data = {"b": [1], "a": "x"}
    assert EvidenceRecord(source="audit", output=data).output == '{"a": "x", "b": [1]}'
    assert len(EvidenceRecord(source="audit", output="half \ud800").sha256) == 64


@settings(max_examples=60)
@given(RECORDS)
def test_scoring_is_pure(record: EvidenceRecord) -> None:
    """The same record gets the same score, the record stays as it is, and nothing contradictory is accepted."""
    before = record.model_copy(deep=True)
    score = score_record(record)
    assert score == score_record(before) and record == before
    assert score.category in CATEGORIES and score.reasons and score.input_sha256 == before.sha256
    if score.category in ("accepted", "partially_accepted"):
        assert record.verdict not in ("reject", "odd") and "rejected" not in record.markers
        assert record.severity != "odd"


def bumped(record: EvidenceRecord) -> Score:
    """Another scorer: what was accepted needs a human now."""
    score = score_record(record)
    category = "needs_human_review" if score.category == "accepted" else score.category
    return score.model_copy(update={"category": category, "scorer_version": "2.0.0"})


def persisted(*rows: tuple[str, str]) -> list[Persisted]:
    return [
        Persisted(record=EvidenceRecord(source="audit", id=f"r{n}", severity=severity), category=category)
        for n, (severity, category) in enumerate(rows)
    ]


def test_no_drift() -> None:
    """A-S25-3, A-S21-5."""
    drift = scorer_drift(persisted(("info", "accepted"), ("warn", "partially_accepted")))
    assert (drift.total, drift.matched, drift.drifted, drift.drift_rate) == (2, 2, 0, 0.0)
    assert drift.shift_matrix == [] and drift.entries is None and drift.scorer_version == SCORER_VERSION


def test_shifts_and_their_order() -> None:
    """A-S25-2, A-S25-3: the most frequent first, then by name; entries on request, in the order given."""
    rows = [
        *(("warn", "rejected"), ("block", "accepted"), ("info", "rejected"), ("block", "accepted")),
        *(("info", "needs_human_review"), ("info", "accepted")),
    ]
    drift = scorer_drift(persisted(*rows), include_entries=True)
    assert [(s.was, s.now, s.count) for s in drift.shift_matrix] == [
        ("accepted", "rejected", 2),
        ("needs_human_review", "accepted", 1),
        ("rejected", "accepted", 1),
        ("rejected", "partially_accepted", 1),
    ]
    assert (drift.total, drift.matched, drift.drifted, drift.drift_rate) == (6, 1, 5, 5 / 6)
    assert drift.entries is not None and [entry.id for entry in drift.entries] == [f"r{n}" for n in range(6)]
    assert [entry.drifted for entry in drift.entries] == [True] * 5 + [False]
    assert drift.model_dump()["shift_matrix"][0] == {"from": "accepted", "to": "rejected", "count": 2}


def test_another_scorer() -> None:
    """A-S25-1: new rules make drift, and the version says whose they are."""
    rows = persisted(("info", "accepted"), ("warn", "partially_accepted"))
    assert scorer_drift(rows).drifted == 0
    drift = scorer_drift(rows, score=bumped, version="2.0.0")
    assert (drift.drifted, drift.scorer_version) == (1, "2.0.0")


def test_of_nothing() -> None:
    """A-S25-3: zeros."""
    drift = scorer_drift([], include_entries=True)
    assert (drift.total, drift.matched, drift.drifted, drift.drift_rate, drift.entries) == (0, 0, 0, 0.0, [])


@settings(max_examples=40)
@given(st.lists(st.tuples(RECORDS, st.sampled_from(CATEGORIES)), max_size=12), st.randoms())
def test_the_matrix_does_not_depend_on_the_order(pairs: list[tuple[EvidenceRecord, Any]], random: Any) -> None:
    """A-S25-2: the counts add up, and the order of the records changes nothing."""
    rows = [Persisted(record=record, category=category) for record, category in pairs]
    drift = scorer_drift(rows)
    assert drift.matched + drift.drifted == drift.total == len(rows)
    assert sum(shift.count for shift in drift.shift_matrix) == drift.drifted
    keys = [(-shift.count, shift.was, shift.now) for shift in drift.shift_matrix]
    assert keys == sorted(set(keys))
    random.shuffle(rows)
    assert scorer_drift(rows) == drift
