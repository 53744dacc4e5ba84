"""When a cron expression is due. It is read as Debian's cron does, in a time zone.

A time that the clock leaves out in spring is due right after the gap, one that it shows twice in autumn once; steps and
ranges of hours or minutes (`*/15 * * * *`) go by elapsed time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MAX_COUNTED = 10_000  # a trigger of each minute that nobody watched for a week


def check_cron(expression: str, timezone: str) -> tuple[str, str, str]:
    """Where something is wrong with the two, what, and what to do; empty texts where nothing is."""
    fields = expression.split()
    if len(fields) != 5:
        fix = 'Write minute, hour, day, month, weekday: "0 6 * * 1-5".'
        return "cron", f"it has {len(fields)} fields, and cron has 5.", fix
    try:
        _zone(timezone)
    except (LookupError, ValueError, OSError):
        return "timezone", f"{timezone[:60]!r} is no time zone of this machine.", "Write Europe/Berlin, or UTC."
    try:
        ever = next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError as error:
        return "cron", f"{str(error)[:1].lower()}{str(error)[1:]}.", 'Write it as "0 6 * * 1-5".'
    return ("", "", "") if ever is not None else ("cron", "it is never due.", "See its day and its month.")


def following(expression: str, timezone: str, after: float) -> float | None:
    """The first moment after another that it is due, in seconds since 1970; None: in the next 50 years, never."""
    return next(_dues(expression, timezone, after), None)


def between(expression: str, timezone: str, after: float, until: float) -> tuple[int, float | None]:
    """How often it was due after a moment and until another, counted to 10,000, and when it was last."""
    count, last = 0, None
    for due in _dues(expression, timezone, after):
        if due > until:
            return count, last
        count, last = count + 1, due
        if count == MAX_COUNTED:
            break
    if count == MAX_COUNTED:
        back = CronSim(expression, datetime.fromtimestamp(until + 1, _zone(timezone)), reverse=True)
        last = max(last or 0.0, next(back).timestamp())
    return count, last


def _dues(expression: str, timezone: str, after: float) -> Iterator[float]:
    for moment in CronSim(expression, datetime.fromtimestamp(after, _zone(timezone))):
        due = moment.timestamp()
        if due > after:
            yield due


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
