"""Evidence of one piece of work, and what a scorer says of it."""

import hashlib
import json
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Source = Literal["scrum_review", "observer_review", "audit", "playbook", "workflow", "chat"]
Category = Literal["accepted", "partially_accepted", "rejected", "needs_human_review"]
# A node's output may be data.
Words = Annotated[
    str, BeforeValidator(lambda given: json.dumps(given, sort_keys=True) if isinstance(given, dict | list) else given)
]
CATEGORIES: tuple[str, ...] = get_args(Category)


class Provenance(BaseModel):
    """Where it was read."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(description="Of the file.")
    path: str = Field(description="The file.")
    offset: int = Field(0, ge=0, description="Bytes before it.")


class EvidenceRecord(BaseModel):
    """One piece of work and what was said of it. Absent: nothing was."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    source: Source = Field(description="Who said it.")
    id: str = Field("", description="Its id.")
    task: str = Field("", description="What was to be done.")
    input: Words = Field("", description="What it was done with.")
    output: Words = Field("", description="What came of it.")
    markers: list[str] = Field(default_factory=list, description="Labels: attempt_1, accepted, rejected, cycle.")
    attempt: int | None = Field(None, ge=1, description="Which attempt it was, from 1.")
    verdict: str | None = Field(None, description="accept, cycle, reject or unknown.")
    severity: str | None = Field(None, description="Of an audit: block, warn, info or none.")
    success: bool | None = Field(None, description="Of a workflow or a playbook: whether it worked.")
    score: float | None = Field(None, ge=0, le=1, description="And how well.")
    model: str = Field("", description="Who did it.")
    provenance: Provenance | None = Field(None, description="Where it was read.")
    ts: str | None = Field(None, description="When.")

    @property
    def blank(self) -> bool:
        """Whether it holds nothing to judge by: no signal and no text."""
        given = (*self.markers, self.task, self.input, self.output, self.verdict or "", self.severity or "")
        return not any(text.strip() for text in given) and (self.attempt, self.success, self.score) == (None,) * 3

    @property
    def sha256(self) -> str:
        """Of its canonical JSON: sorted keys, no spaces, without what is absent."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Score(BaseModel):
    """What a record is worth."""

    category: Category = Field(description="accepted, partially_accepted, rejected or needs_human_review.")
    reasons: list[str] = Field(description="Why, in the order the rules were asked.")
    scorer_version: str = Field(description="Of the rules.")
    input_sha256: str = Field(description="Of the record.")
