"""What past work is worth learning from: evidence, and the scorer that sorts it."""

from lakehouse.engine.distillation.record import CATEGORIES, Category, EvidenceRecord, Provenance, Score
from lakehouse.engine.distillation.score import SCORER_VERSION, score_record

__all__ = ["CATEGORIES", "SCORER_VERSION", "Category", "EvidenceRecord", "Provenance", "Score", "score_record"]
