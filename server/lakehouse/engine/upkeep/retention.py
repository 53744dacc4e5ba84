"""Which versions of a dataset are kept: the rule alone, on numbers and times."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lakehouse import config

_DAY = 86400.0


@dataclass(frozen=True)
class Standing:
    """One version: its number, when it was committed by the store's clock, and whether the dataset ended with it."""

    version: int
    committed: float
    dropped: bool = False


def expired(
    versions: Sequence[Standing],
    settings: config.Datasets,
    now: float,
    *,
    grace: float,
    used: Collection[int] = (),
) -> Mapping[int, str]:
    """The versions of one dataset that need not be kept, and why. `versions` are all of them, oldest first.

    The newest version always stays, and so does what a dropped dataset held last, until its own time has passed. No
    version goes within `grace` seconds of the one that followed it, or while it is `used`: somebody may be reading.
    """
    found: dict[int, str] = {}
    newest = versions[-1]
    ended = newest.dropped and _over(settings.keep_dropped_days, newest.committed, now)
    newer = 0  # versions with contents that are newer than the one looked at
    for place in range(len(versions) - 1, -1, -1):
        one = versions[place]
        if one is newest:
            newer += not one.dropped
            continue
        superseded = versions[place + 1].committed
        last = newest.dropped and newer == 0
        why = ""
        if ended:
            why = f"the dataset was dropped over {settings.keep_dropped_days:g} days ago"
        elif not last:
            why = _superfluous(newer, superseded, settings, now)
        newer += not one.dropped
        if why and superseded < now - grace and one.version not in used:
            found[one.version] = why
    return found


def _superfluous(newer: int, superseded: float, settings: config.Datasets, now: float) -> str:
    """Why a version need not be kept; empty when a limit keeps it, or there is none."""
    reasons = []
    if settings.keep_versions:
        if newer < settings.keep_versions:
            return ""
        reasons.append(f"it is not among the newest {settings.keep_versions}")
    if settings.keep_days:
        if not _over(settings.keep_days, superseded, now):
            return ""
        reasons.append(f"it was superseded over {settings.keep_days:g} days ago")
    return ", and ".join(reasons)


def _over(days: float, since: float, now: float) -> bool:
    return bool(days) and now - since > days * _DAY
