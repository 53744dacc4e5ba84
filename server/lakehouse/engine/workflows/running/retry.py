"""Which failures are worth another attempt, how often, and after how long."""

import re
from typing import Literal

from lakehouse.engine.chat import Blank
from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.references import MissingReference
from lakehouse.errors import (
    Busy,
    Forbidden,
    InvalidInput,
    LakehouseError,
    NotInstalled,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
)

FailureClass = Literal["fatal", "transient", "unknown"]

# Parts of lower-cased messages of what is behind us: models, shells, servers. Numbers count only as whole words.
_FATAL = re.compile(
    r"unauthorized|forbidden|permission denied|credit balance|insufficient[ _]quota|invalid api key|invalid_api_key"
    r"|authentication|\b40[13]\b"
)
_TRANSIENT = re.compile(
    r"timeout|timed out|econn|rate limit|rate_limit|too many requests|overloaded|connection (?:refused|reset|aborted)"
    r"|temporarily unavailable|exited with code|\b(?:429|50[0234]|529)\b"
)
# These fail the same way however often they are tried.
_HOPELESS = (Unauthorized, Forbidden, InvalidInput, NotInstalled, TooLarge, MissingReference)


def classed(error: LakehouseError) -> FailureClass:
    """fatal: never tried again. transient: it may pass. unknown: tried again only by a node that asks for it.

    Our own errors are told by their class, those that pass on what something else said by its message.
    """
    if isinstance(error, _HOPELESS):
        return "fatal"
    if isinstance(error, Busy | TimedOut | Blank) or (isinstance(error, Unavailable) and error.retry_after is not None):
        return "transient"
    message = error.detail.lower()
    if _FATAL.search(message):
        return "fatal"
    return "transient" if _TRANSIENT.search(message) else "unknown"


def delay(node: Node, error: LakehouseError, failures: int) -> float | None:
    """Seconds until the next attempt after so many failed ones; None: it is not tried again.

    They double with each failure, and are never less than what the error itself asks for.
    """
    retry = node.retry
    if retry is None or failures > retry.retries:
        return None
    kind = classed(error)
    if kind == "fatal" or (kind == "unknown" and retry.on_error != "all"):
        return None
    return max(retry.delay * 2.0 ** (failures - 1), float(error.retry_after or 0))
