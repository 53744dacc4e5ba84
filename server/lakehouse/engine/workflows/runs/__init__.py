"""Runs as they are kept: records, the file they are in, and what is told of them."""

from lakehouse.engine.workflows.runs.record import Event, Failure, NodeRecord, Planned, RunRecord, Starter
from lakehouse.engine.workflows.runs.store import Store

__all__ = ["Event", "Failure", "NodeRecord", "Planned", "RunRecord", "Starter", "Store"]
