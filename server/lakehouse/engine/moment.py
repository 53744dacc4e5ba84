"""Moments as they are stored and shown: RFC 3339, UTC, microseconds, so that their text sorts like the time."""

import time
from datetime import UTC, datetime


def now() -> str:
    """The time now, as text."""
    return text_of(time.time())


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a moment's text."""
    return datetime.fromisoformat(text).timestamp()


def text_of(seconds: float) -> str:
    """Seconds since 1970 as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
