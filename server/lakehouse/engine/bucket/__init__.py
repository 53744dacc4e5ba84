"""One bucket by URL: key rules, durable and create-only puts, listings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.bucket.client import setting_of
from lakehouse.engine.bucket.keys import (
    MAX_KEY_BYTES,
    MAX_LIST,
    MAX_PART_BYTES,
    PRIMARY,
    KeyExists,
    KeyNotFound,
    Listing,
    NoRanges,
    StoredObject,
    check_key,
)
from lakehouse.engine.bucket.local import UNFINISHED, Folder, Memory
from lakehouse.engine.bucket.store import Store
from lakehouse.engine.fanout import fan_out
from lakehouse.errors import InvalidInput, LakehouseError, Unavailable, Upstream

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_LIST",
    "MAX_PART_BYTES",
    "PRIMARY",
    "UNFINISHED",
    "Bucket",
    "KeyExists",
    "KeyNotFound",
    "Listing",
    "NoRanges",
    "StoredObject",
    "check_key",
]

T = TypeVar("T")
Told = Callable[[str, str, LakehouseError], None]
Given = TypeVarTuple("Given")
_TOGETHER = 64  # local files that one thread reads in a go
_REQUESTS = 32  # threads that may wait for a remote store; others' work has its own


class Bucket:
    """One bucket, by URL. Every acknowledged put is durable; a create-only put never overwrites.

    `kind` is file, memory, s3, gs or az. `root` is the folder of a file:// bucket, so that engines can read its
    objects in place; None for any other. `remote` says that requests may take long. `told` hears of every failure of
    the store: of what was asked for, the key, and the error.
    """

    def __init__(self, url: str, name: str = PRIMARY, settings: config.Storage | None = None, secret: str = "") -> None:
        self.name = name
        self.url = url
        self.told: Told | None = None
        self.sends_parts = True  # until it was seen that only whole objects come
        self._store = _store(url, name, settings or config.Storage(), secret)
        self.kind, self.root, self.remote = self._store.kind, self._store.root, self._store.remote
        # Nobody else writes here: conflicts can only be with this process.
        self.single_writer = self.remote and settings is not None and settings.single_writer
        self._threads = anyio.CapacityLimiter(_REQUESTS) if self.remote else None

    async def put(self, key: str, data: bytes | memoryview, *, create: bool = False) -> StoredObject:
        """Store bytes durably under a key.

        Raises KeyExists when `create` is set and the key is taken, Conflict when a folder has that name, Unavailable
        when the store ignores conditions (see `storage.single_writer`), Upstream when it fails.
        """
        check_key(key)
        await self._write(self._store.put, key, data, create)
        return StoredObject(key, len(data))

    async def put_file(self, key: str, path: Path, *, create: bool = False, keep: bool = False) -> StoredObject:
        """Move a finished local file into the bucket durably; the file is read-only there and gone from `path`.

        It is named by its content or by chance. With `keep` a copy stays at `path` unless the bucket is a folder.
        After a failure the local file is gone, too: put what must not be lost elsewhere first.

        Raises what `put` raises.
        """
        check_key(key)
        stored = False
        try:
            size = await self._write(self._store.put_file, key, path, create)
            stored = True
        finally:
            if not (stored and keep):
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))
        return StoredObject(key, size)

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyNotFound."""
        check_key(key)
        return await self._read(self._store.get, key)

    async def get_all(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes of several objects, read at the same time. Raises KeyNotFound for the first that is missing."""
        return await fan_out([partial(self.get, key) for key in keys]) if keys else []

    async def get_each(self, keys: Sequence[str]) -> Sequence[bytes | LakehouseError]:
        """The bytes of many objects; of one that cannot be had its KeyNotFound or Upstream."""
        for key in keys:
            check_key(key)
        # A small file takes a tenth of the time that handing it to a thread does.
        size = 1 if self.remote else _TOGETHER
        parts = [keys[start : start + size] for start in range(0, len(keys), size)]
        return [one for part in await fan_out([partial(self._got, part) for part in parts]) for one in part]

    async def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file, in parts. Raises KeyNotFound."""
        check_key(key)
        await self._read(self._store.get_to, key, path)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes of an object from `start` up to `end`. Raises KeyNotFound, and NoRanges where none can be had."""
        check_key(key)
        try:
            return await self._read(self._store.get_range, key, start, end)
        except NoRanges:
            self.sends_parts = False
            raise

    async def head(self, key: str) -> StoredObject:
        """The object's size and tag. Raises KeyNotFound."""
        check_key(key)
        return await self._read(self._store.head, key)

    async def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""
        try:
            await self.head(key)
        except KeyNotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is fine."""
        check_key(key)
        await self.delete_all([key])

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Remove objects, in no order."""
        if keys:
            await self._write(self._store.delete, keys)

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = MAX_LIST) -> Listing:
        """Objects whose key starts with `prefix`, sorted by key, at most `limit` of them (None: all).

        Raises InvalidInput for a prefix no key can have, Upstream when the store fails.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        return await self._read(self._store.list, prefix, after, limit)

    async def names(self, folder: str) -> Sequence[str]:
        """The names directly in a folder, of objects and of folders, sorted; `folder` ends in a slash."""
        return await self._read(self._store.names, folder)

    async def names_of(self, folders: Sequence[str]) -> Sequence[Sequence[str]]:
        """The names directly in each of these folders."""
        names = self._store.names
        return await self._read(lambda every: [names(folder) for folder in every], folders) if folders else []

    def sweep(self, older_than: float = 24 * 3600) -> None:
        """Remove what interrupted writes left in a file:// bucket; blocking.

        Other processes may be writing to the same bucket, so only files untouched for `older_than` seconds go.
        """
        self._store.sweep(older_than)

    def put_aside(self, key: str, data: bytes) -> None:
        """Store bytes; blocking, and nobody is told when it fails. Raises what `put` raises."""
        self._store.put(check_key(key), data, False)

    async def _got(self, keys: Sequence[str]) -> Sequence[bytes | LakehouseError]:
        def read() -> list[bytes | LakehouseError]:
            return [_outcome(partial(self._store.get, key)) for key in keys]

        found = await anyio.to_thread.run_sync(read, abandon_on_cancel=self.remote, limiter=self._threads)
        for key, one in zip(keys, found, strict=True):
            if isinstance(one, Upstream | Unavailable):
                self._tell("get", key, one)
        return found

    async def _read(self, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        # Nothing is lost when a caller that goes does not wait for the answer of a service.
        with self._telling(work, args):
            return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=self.remote, limiter=self._threads)

    async def _write(self, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        with self._telling(work, args):
            return await anyio.to_thread.run_sync(work, *args, limiter=self._threads)

    @contextmanager
    def _telling(self, work: Callable[..., Any], args: Sequence[Any]) -> Iterator[None]:
        try:
            yield
        except (Upstream, Unavailable) as error:
            if not isinstance(error, NoRanges):
                self._tell(work.__name__, args[0] if isinstance(args[0], str) else args[0][0], error)
            raise

    def _tell(self, work: str, key: str, error: LakehouseError) -> None:
        if self.told is not None:
            self.told(work, key, error)


def _outcome(work: Callable[[], bytes]) -> bytes | LakehouseError:
    try:
        return work()
    except (KeyNotFound, Upstream, Unavailable) as error:
        return error


def _store(url: str, name: str, settings: config.Storage, secret: str) -> Store:
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InvalidInput(
                f"{setting_of(name)}: {url!r} does not name a whole path.", fix="Write three slashes: file:///folder."
            )
        return Folder(name, Path(unquote(parts.path)))
    if parts.scheme == "memory":
        return Memory(name)
    from lakehouse.engine.bucket.client import Client
    from lakehouse.engine.bucket.remote import Remote

    return Remote(name, Client(url, name, settings, secret))
