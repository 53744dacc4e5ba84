"""What every kind of store can do. All methods block, and raise errors of ours only."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lakehouse.engine.bucket.keys import Listing, StoredObject


class Store(ABC):
    """Objects by checked keys. `kind` is the scheme of its URLs, `name` what its bucket is called.

    Every method raises Upstream when the store fails.
    """

    kind: str
    root: Path | None = None  # the folder of a local store
    remote = False  # whether a request may take long, and other machines may write to the same bucket

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def put(self, key: str, data: bytes | memoryview, create: bool) -> None:
        """Store bytes durably. Raises KeyExists when `create` is set and the key is taken."""

    @abstractmethod
    def put_file(self, key: str, path: Path, create: bool) -> int:
        """Store a finished file durably and return its size; it may be moved. Raises KeyExists as `put` does."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyNotFound."""

    @abstractmethod
    def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file, in parts. Raises KeyNotFound."""

    @abstractmethod
    def get_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`. Raises KeyNotFound, and NoRanges where the service gives no parts."""

    @abstractmethod
    def head(self, key: str) -> StoredObject:
        """The object's size and tag. Raises KeyNotFound."""

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; removing what is not there is fine."""

    @abstractmethod
    def list(self, prefix: str, after: str | None, limit: int | None) -> Listing:
        """Objects whose keys start with `prefix` and come after `after`, sorted by key."""

    @abstractmethod
    def names(self, folder: str) -> Sequence[str]:
        """The names directly in a folder, objects and folders alike, sorted. `folder` ends in a slash."""

    def sweep(self, older_than: float) -> None:
        """Remove what interrupted writes left, untouched for so many seconds; a service does that by itself."""
        return


def stored(meta: Any) -> StoredObject:
    """An object as the library describes it."""
    tag = (meta.get("e_tag") or "").strip('"') or None
    return StoredObject(meta["path"], meta["size"], tag, meta["last_modified"].timestamp())
