"""The rules that sort evidence, and their version. A pure function: the same record always gets the same score.

What was said of a piece of work is read from fields and from markers. Where two of them contradict each other nobody
can tell which is right, and a human has to; else the rules of the record's source decide.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lakehouse.engine.distillation.record import Category, EvidenceRecord, Score
from lakehouse.errors import InvalidInput

SCORER_VERSION = "1.0.0"  # changes with any rule, so that drift can tell old categories from new ones
ACCEPTED_FROM, PARTIAL_FROM = 0.8, 0.4
VERDICTS = {
    **dict.fromkeys(("accept", "accepted", "approve", "approved"), "accept"),
    **dict.fromkeys(("reject", "rejected"), "reject"),
    **dict.fromkeys(("cycle", "cycled"), "cycle"),
    "unknown": "unknown",
}
SEVERITIES: dict[str, Category] = {
    "block": "rejected",
    "warn": "partially_accepted",
    "info": "accepted",
    "none": "accepted",
}
OBSERVED: dict[str, Category] = {"accept": "accepted", "cycle": "partially_accepted"}
_ATTEMPT = re.compile(r"(?:(accepted|rejected)_(?:on_)?)?attempt_([1-9][0-9]{0,3})")
Judgement = tuple[Category, str]


@dataclass(frozen=True)
class Signals:
    """What a record says, wherever it stands in it: each with the place it was read from."""

    verdicts: dict[str, str]  # by place: accept, reject, cycle, unknown
    attempts: dict[str, int]
    strange: list[str]  # what is said and means nothing here

    @property
    def verdict(self) -> str | None:
        """What was decided. Of contradicting ones, any: those are found before."""
        return next(iter(self.verdicts.values()), None)

    @property
    def attempt(self) -> int | None:
        """Which attempt it was."""
        return next(iter(self.attempts.values()), None)


def score_record(record: EvidenceRecord) -> Score:
    """Sort a record into a category, with the reasons. Raises InvalidInput for one that holds nothing."""
    if record.blank:
        raise InvalidInput(
            "record: it is empty.", fix="Give what was done (task, output) and what was said of it (markers, verdict)."
        )
    signals = signals_of(record)
    conflicts = list(_conflicts(record, signals))
    if conflicts:
        category: Category = "needs_human_review"
        reasons = [f"conflicting signals: {conflict}" for conflict in conflicts]
    elif signals.strange:
        category, reasons = "needs_human_review", signals.strange
    elif signals.verdict == "reject":
        category, reasons = "rejected", ["it was rejected"]
    else:
        category, reason = _RULES[record.source](record, signals)
        reasons = [reason]
    return Score(category=category, reasons=reasons, scorer_version=SCORER_VERSION, input_sha256=record.sha256)


def signals_of(record: EvidenceRecord) -> Signals:
    """The verdicts and attempts that a record names in fields and markers. Other markers are labels, and ignored."""
    verdicts: dict[str, str] = {}
    attempts: dict[str, int] = {}
    strange: list[str] = []
    if record.verdict is not None and record.verdict.strip():
        known = VERDICTS.get(record.verdict.strip().lower())
        if known is None:
            strange.append(f"verdict {record.verdict.strip()[:40]!r} is none of accept, cycle, reject, unknown")
        else:
            verdicts["verdict"] = known
    if record.attempt is not None:
        attempts["attempt"] = record.attempt
    for marker in record.markers:
        said = marker.strip().lower()
        if said in VERDICTS:
            verdicts[f"marker {said}"] = VERDICTS[said]
        elif matched := _ATTEMPT.fullmatch(said):
            attempts[f"marker {said}"] = int(matched[2])
            if matched[1]:
                verdicts[f"marker {said}"] = VERDICTS[matched[1]]
    severity = (record.severity or "").strip().lower()
    if severity and severity not in SEVERITIES:
        strange.append(f"severity {severity[:40]!r} is none of block, warn, info, none")
    return Signals(verdicts, attempts, strange)


def _conflicts(record: EvidenceRecord, signals: Signals) -> Iterator[str]:
    for values in (signals.verdicts, signals.attempts):
        if len(set(values.values())) > 1:
            yield " but ".join(f"{place} says {value}" for place, value in values.items())
    accepts, rejects = "accept" in signals.verdicts.values(), "reject" in signals.verdicts.values()
    severity = (record.severity or "").strip().lower()
    if accepts and severity == "block":
        yield "it was accepted, but an audit blocks it"
    if rejects and severity in ("info", "none"):
        yield f"it was rejected, but its severity is {severity}"
    if record.score is not None and (
        rejects if record.score >= ACCEPTED_FROM else accepts and record.score < PARTIAL_FROM
    ):
        yield f"it was {'rejected' if rejects else 'accepted'}, but has a score of {record.score:g}"
    if record.success is False and (accepts or (record.score or 0) >= ACCEPTED_FROM):
        yield "it failed, but " + ("was accepted" if accepts else f"has a score of {record.score:g}")
    if record.success is True and rejects:
        yield "it worked, but was rejected"


def _scrum(record: EvidenceRecord, signals: Signals) -> Judgement:
    verdict, attempt = signals.verdict, signals.attempt
    if verdict in ("cycle", "unknown"):
        return "needs_human_review", f"the review's verdict is {verdict}"
    if attempt is None:
        return "needs_human_review", "the review does not say on which attempt"
    if attempt == 1:
        return "accepted", "the review accepted it on attempt 1"
    if attempt <= 3:
        return "partially_accepted", f"the review accepted it on attempt {attempt}"
    return "needs_human_review", f"it took {attempt} attempts"


def _observer(record: EvidenceRecord, signals: Signals) -> Judgement:
    verdict = signals.verdict or "unknown"
    return OBSERVED.get(verdict, "needs_human_review"), f"the observer's verdict is {verdict}"


def _audit(record: EvidenceRecord, signals: Signals) -> Judgement:
    severity = (record.severity or "").strip().lower()
    if not severity:
        return "needs_human_review", "the audit gives no severity"
    return SEVERITIES[severity], f"the audit's severity is {severity}"


def _outcome(record: EvidenceRecord, signals: Signals) -> Judgement:
    if record.success is False:
        return "rejected", "it failed"
    if record.score is None:
        return "needs_human_review", "it has no score"
    for least, category in ((ACCEPTED_FROM, "accepted"), (PARTIAL_FROM, "partially_accepted")):
        if record.score >= least:
            return category, f"its score {record.score:g} is {least:g} or more"  # type: ignore[return-value]
    return "rejected", f"its score {record.score:g} is below {PARTIAL_FROM:g}"


def _unruled(record: EvidenceRecord, signals: Signals) -> Judgement:
    return "needs_human_review", f"there is no rule for {record.source}"


_RULES: dict[str, Callable[[EvidenceRecord, Signals], Judgement]] = {
    "scrum_review": _scrum,
    "observer_review": _observer,
    "audit": _audit,
    "playbook": _outcome,
    "workflow": _outcome,
    "chat": _unruled,
}
