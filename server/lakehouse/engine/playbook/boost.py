"""How far an endorsement moves a result."""

CEILING = 0.5  # against feedback that feeds itself: the best entry halves a distance, and no more


def boosted(distance: float, effect: float) -> float:
    """A distance (smaller is nearer) after an effect of -1 to 1: halved at 1, half as long again at -1."""
    return distance * (1 - CEILING * effect)


def lifted(score: float, effect: float) -> float:
    """The same for a score, where larger is better: doubled at 1, two thirds at -1."""
    return score / (1 - CEILING * effect)
