"""What objects are called and how they are shown: the rules for keys, one object, a listing."""

import re
from dataclasses import dataclass, field

from lakehouse.errors import Conflict, InvalidInput, NotFound, Upstream

PRIMARY = "primary"  # secrets are looked up by this name
MAX_LIST = 10_000
MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255  # what file systems take as one name
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBERED = re.compile(r"#\d+$")


class KeyNotFound(NotFound):
    """No object has this key."""


class KeyExists(Conflict):
    """A create-only put found the key taken."""


class NoRanges(Upstream):
    """A service sends whole objects only."""


@dataclass(frozen=True)
class StoredObject:
    """One object: its key, its size in bytes, the store's tag for this content, and when it was put by its clock.

    `modified` is in seconds since 1970; 0 where the store was not asked.
    """

    key: str
    size: int
    etag: str | None = None
    modified: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Listing:
    """Objects sorted by key. `truncated` says the limit cut it; go on with `after=next`."""

    objects: list[StoredObject]
    truncated: bool = False
    next: str | None = None


def check_key(key: str) -> str:
    """Return the key when it is a legal one.

    Raises InvalidInput for an empty, over-long, absolute or climbing key and for control characters.
    """
    if not key:
        raise InvalidInput("key: it is empty.", fix="Name the object, for instance notes/today.txt.")
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise InvalidInput(f"key: it is over {MAX_KEY_BYTES} bytes.", fix="Choose a shorter key.")
    if _CONTROL.search(key):
        raise InvalidInput("key: it holds a control character.", fix="Use printable characters only.")
    parts = key.split("/")
    if key.startswith("/") or "" in parts or "." in parts or ".." in parts:
        raise InvalidInput(
            f"key {key!r}: it starts or ends with / or has an empty, '.' or '..' part.", fix="Write it as folder/name."
        )
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART_BYTES for part in parts):
        raise InvalidInput(
            f"key: a part between slashes is over {MAX_PART_BYTES} bytes.", fix="Choose shorter names for its parts."
        )
    if any(_NUMBERED.search(part) for part in parts):
        raise InvalidInput(
            f"key {key!r}: a part ends in # and digits.", fix="Those names are used for unfinished writes."
        )
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput("key: it is not valid Unicode.", fix="Send the key as UTF-8.") from None
    return key


def taken(bucket: str, key: str) -> KeyExists:
    """The error for a key that a create-only put found taken."""
    return KeyExists(f"the key {key} is taken in bucket {bucket}.")


def missing(bucket: str, key: str) -> KeyNotFound:
    """The error for a key that no object has."""
    return KeyNotFound(f"there is no object {key!r} in bucket {bucket}.", fix="List the keys first.")


def listed(found: list[StoredObject], limit: int | None) -> Listing:
    """A listing of objects in any order; the first `limit` by key."""
    found = sorted(found, key=lambda o: o.key)
    if limit is None or len(found) <= limit:
        return Listing(found)
    return Listing(found[:limit], True, found[limit - 1].key)
