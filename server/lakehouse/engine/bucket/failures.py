"""What a remote store's failures mean, and what to do about each.

The library has one class for most of them; the words here are chosen by the status in its message. That message is
never shown or chained: it quotes the service, which quotes key ids.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.engine.bucket.keys import NoRanges, missing
from lakehouse.errors import Unavailable, Upstream

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,40})</Code>")
_IDENTITY = re.compile(r"169\.254\.|fd00:ec2::254|metadata\.google|token request|[Cc]redential|sts\.")
_AGAIN = "Try again; `lakehouse doctor` shows the bucket's state."
_WHERE = "Check storage.url, storage.endpoint and the network; `lakehouse doctor` shows the bucket's state."
_WHO = "Check the credentials (storage.secrets, or the provider's own variables) and what they may do in this bucket."


@contextmanager
def translated(bucket: str, key: str, *, reading: bool = False) -> Iterator[None]:
    """Raise Upstream for whatever the library raises; with `reading`, KeyNotFound for "not found".

    Errors of the local disk pass.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if error.errno is not None:
            raise
        if reading:
            raise missing(bucket, key) from None
        raise _no_bucket(bucket) from None
    except OSError:
        raise
    except (BaseError, ValueError) as error:
        raise _failed(bucket, key, error) from None


def status_of(error: Exception) -> int | None:
    """The HTTP status a store answered, when it answered."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def foreign(bucket: str) -> Upstream:
    """The error for answers no object store gives."""
    return Upstream(
        f"bucket {bucket}: what answers there is no object store.", fix="Check storage.url and storage.endpoint."
    )


def ignores_conditions(bucket: str) -> Unavailable:
    """The error for a store on which two writers would overwrite each other's commits."""
    return Unavailable(
        f"bucket {bucket} overwrites what it should only create, so that several writers could lose each other's "
        "commits; nothing is written to it.",
        fix="Set storage.single_writer = true if only this data directory writes to the bucket, or move it to a store "
        "with conditional writes.",
    )


def _failed(bucket: str, key: str, error: Exception) -> Upstream:
    text, status = str(error), status_of(error)
    code = _CODE.search(text)
    said = f"{status} {code[1]}" if code else str(status)
    at = f"bucket {bucket} failed at {key!r}" if key else f"bucket {bucket} failed"
    if status is None and "non-partial response" in text:
        return NoRanges(
            f"{at}: the service sends whole objects only.", fix="Raise storage.cache_bytes over their size."
        )
    if status is None and "builder error" in text:
        return Upstream(f"{at}: its endpoint is http.", fix="Set storage.allow_http = true, or use https.")
    if status == 404 and not _IDENTITY.search(text):
        return _no_bucket(bucket)
    if _IDENTITY.search(text) and status not in (401, 403, 400):
        return Upstream(f"{at}: no credentials were found.", fix=_WHO)
    if status in (401, 403) and "169.254." in text:
        return Upstream(f"{at}: no credentials were found.", fix=_WHO)
    if status in (401, 403):
        return Upstream(f"{at}: access was refused ({said}).", fix=_WHO)
    if status in (301, 307, 400) or "redirect" in text:
        where = "Check storage.region and storage.endpoint."
        return Upstream(f"{at}: the service did not take the request ({said}).", fix=where)
    if status is not None:
        return Upstream(f"{at}: the service answered {said}.", fix=_AGAIN)
    if "HTTP error" in text or "error sending request" in text:
        return Upstream(f"{at}: the service cannot be reached, or does not answer.", fix=_WHERE)
    return Upstream(f"{at}: the answer was not that of an object store ({type(error).__name__}).", fix=_WHERE)


def _no_bucket(bucket: str) -> Upstream:
    return Upstream(
        f"bucket {bucket}: the service has no bucket of that name.", fix="Create it there, or correct storage.url."
    )
