"""Records scored again: how many would now be sorted elsewhere than they were."""

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from lakehouse.engine.distillation import SCORER_VERSION, Category, EvidenceRecord, Score, score_record


class Persisted(BaseModel):
    """A record, and the category it was given then."""

    model_config = ConfigDict(extra="forbid")

    record: EvidenceRecord = Field(description="The evidence.")
    category: Category = Field(description="What it was given then.")


class _Between(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    was: Category = Field(alias="from", description="The category then.")
    now: Category = Field(alias="to", description="The category now.")


class Shift(_Between):
    """Records that went from one category to another."""

    count: int = Field(description="How many.")


class Moved(_Between):
    """One record, scored again."""

    id: str = Field(description="Its id.")
    input_sha256: str = Field(description="Of the record.")
    drifted: bool = Field(description="Whether the categories differ.")
    reasons: list[str] = Field(description="Why it is sorted there now.")


class Drift(BaseModel):
    """How far categories and scorer are apart."""

    scorer_version: str = Field(description="Of the scorer that scored again.")
    total: int = Field(description="Records scored.")
    matched: int = Field(description="Those that stay where they were.")
    drifted: int = Field(description="The others.")
    drift_rate: float = Field(description="drifted / total; 0 of none.")
    shift_matrix: list[Shift] = Field(description="Where they went: most first, then by name.")
    entries: list[Moved] | None = Field(None, description="Each record, in the order given; on request.")


def scorer_drift(
    persisted: Sequence[Persisted],
    *,
    include_entries: bool = False,
    score: Callable[[EvidenceRecord], Score] = score_record,
    version: str = SCORER_VERSION,
) -> Drift:
    """Score records again and compare. Of no records everything is 0. Raises InvalidInput for an empty record.

    `score` and its `version` stand for another scorer than the present one.
    """
    scores = [score(one.record) for one in persisted]
    entries = [
        Moved(
            id=one.record.id,
            was=one.category,
            now=scored.category,
            drifted=scored.category != one.category,
            reasons=scored.reasons,
            input_sha256=scored.input_sha256,
        )
        for one, scored in zip(persisted, scores, strict=True)
    ]
    shifts = Counter((entry.was, entry.now) for entry in entries if entry.drifted)
    drifted = sum(shifts.values())
    return Drift(
        scorer_version=version,
        total=len(entries),
        matched=len(entries) - drifted,
        drifted=drifted,
        drift_rate=drifted / len(entries) if entries else 0.0,
        shift_matrix=[
            Shift(was=was, now=now, count=count)
            for (was, now), count in sorted(shifts.items(), key=lambda one: (-one[1], one[0]))
        ],
        entries=entries if include_entries else None,
    )
