"""Whether a node runs, given how the nodes it depends on ended."""

from collections.abc import Collection

from lakehouse.engine.workflows.model import Trigger
from lakehouse.engine.workflows.runs.record import NodeStatus


def fires(rule: Trigger, settled: Collection[NodeStatus]) -> bool:
    """Whether a rule holds for these final states (completed, failed, skipped). Without dependencies it does."""
    if not settled or rule == "all_done":
        return True
    if rule == "all_success":
        return all(status == "completed" for status in settled)
    if rule == "none_failed_min_one_success" and "failed" in settled:
        return False
    return "completed" in settled
