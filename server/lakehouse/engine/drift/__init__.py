"""What changed in how things are judged. It measures, and never learns."""

from lakehouse.engine.drift.scorer import Drift, Moved, Persisted, Shift, scorer_drift

__all__ = ["Drift", "Moved", "Persisted", "Shift", "scorer_drift"]
