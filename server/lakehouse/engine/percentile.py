"""The value that a share of values does not exceed."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank: of n rising values, at least one, the one at place ceil(share x n), counted from 1."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
