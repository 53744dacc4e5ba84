"""What `as_of` may say: the number of a version, or a moment."""

import re
from datetime import UTC, datetime, timedelta

from lakehouse.engine import moment
from lakehouse.errors import InvalidInput

_NUMBER = re.compile(r"v?(\d{1,18})")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def version_number(when: int | str) -> int | None:
    """The version that is meant, or None when it is a moment. 3, "3" and "v3" are the third."""
    if isinstance(when, int):
        return when
    found = _NUMBER.fullmatch(when.strip())
    return int(found[1]) if found else None


def moment_of(text: str) -> str:
    """A moment as manifests have it. A day means its end; without a zone it is UTC. Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if _DAY.fullmatch(text.strip()):
            found += timedelta(days=1, microseconds=-1)
        return moment.text_of(found.timestamp())
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"as_of: {text[:80]!r} is neither a version nor a moment.",
            fix="Write 3, or 2026-05-01, or 2026-05-01T12:00:00Z.",
        ) from None
