"""Object storage by URL: key rules, caps, durable and create-only puts, listings."""

import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine import files
from lakehouse.errors import Busy, Conflict, Forbidden, InvalidInput, NotFound, TooLarge, Upstream

if TYPE_CHECKING:
    from obstore.store import LocalStore, MemoryStore

PRIMARY = "primary"
VECTORS_PREFIX = "_vectors/"
# Written only by the parts that own them, never by a caller's storage verb.
RESERVED = ("_catalog/", "datasets/", VECTORS_PREFIX, "_journal/")
MAX_LIST = 10_000
MAX_KEY_BYTES = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBERED = re.compile(r"#\d+$")


class KeyNotFound(NotFound):
    """No object has this key."""


class KeyExists(Conflict):
    """A create-only put found the key taken."""


@dataclass(frozen=True)
class StoredObject:
    """One object: its key, its size in bytes and the store's tag for this content."""

    key: str
    size: int
    etag: str | None = None


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
    if any(_NUMBERED.search(part) for part in parts):
        raise InvalidInput(
            f"key {key!r}: a part ends in # and digits.", fix="Those names are used for unfinished writes."
        )
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput("key: it is not valid Unicode.", fix="Send the key as UTF-8.") from None
    return key


class Bucket:
    """One bucket, by URL. Every acknowledged put is durable; a create-only put never overwrites.

    `root` is the folder of a file:// bucket, so that engines can read its objects in place; None for any other.
    """

    def __init__(self, url: str, name: str = PRIMARY) -> None:
        self.name = name
        self.url = url
        parts = urlsplit(url)
        self.root: Path | None = None
        if parts.scheme == "file":
            self.root = Path(unquote(parts.path))
        elif parts.scheme != "memory":
            raise InvalidInput(
                f"storage.url: {parts.scheme or url!r} buckets are not supported.",
                fix="Use file:///folder or memory://.",
            )
        self._opened: LocalStore | MemoryStore | None = None

    @property
    def _store(self) -> "LocalStore | MemoryStore":
        if self._opened is None:
            from obstore.store import LocalStore, MemoryStore

            if self.root is None:
                self._opened = MemoryStore()
            else:
                files.make_folder(self.root)
                self._opened = LocalStore(prefix=self.root)
        return self._opened

    async def put(self, key: str, data: bytes | memoryview, *, create: bool = False) -> StoredObject:
        """Store bytes durably under a key.

        Raises KeyExists when `create` is set and the key is taken, Upstream when the store fails.
        """
        check_key(key)
        if self.root is not None:
            await self._local(self._write, key, data, create)
        else:
            await self._remote_put(key, bytes(data), create)
        return StoredObject(key, len(data))

    async def put_file(self, key: str, path: Path, *, create: bool = False) -> StoredObject:
        """Move a finished local file into the bucket durably; the file is read-only there and gone from `path`.

        Raises KeyExists when `create` is set and the key is taken, Upstream when the store fails.
        """
        check_key(key)
        size = (await anyio.Path(path).stat()).st_size
        if self.root is not None:
            await self._local(self._adopt, key, path, create)
        else:
            await self._remote_put(key, path, create)
            await anyio.Path(path).unlink()
        return StoredObject(key, size)

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyNotFound."""
        check_key(key)
        import obstore

        async with self._translated(key):
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())

    async def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file, in parts. Raises KeyNotFound."""
        check_key(key)
        import obstore

        async with self._translated(key):
            found = await obstore.get_async(self._store, key)
            async with await anyio.open_file(path, "wb") as file:
                async for part in found.stream(min_chunk_size=files.COPY_BYTES):
                    await file.write(bytes(part))

    async def head(self, key: str) -> StoredObject:
        """The object's size and tag. Raises KeyNotFound."""
        check_key(key)
        import obstore

        async with self._translated(key):
            return _stored(await obstore.head_async(self._store, key))

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
        import obstore

        try:
            async with self._translated(key):
                await obstore.delete_async(self._store, key)
        except KeyNotFound:
            return
        if self.root is not None:
            await anyio.to_thread.run_sync(files.sync_folder, (self.root / key).parent)

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = MAX_LIST) -> Listing:
        """Objects whose key starts with `prefix`, sorted by key, at most `limit` of them (None: all).

        Raises Upstream when the store fails.
        """
        import obstore

        folder = prefix.rpartition("/")[0]  # stores list by whole path parts; the rest is ours
        found: list[StoredObject] = []
        async with self._translated(prefix):
            async for page in obstore.list(self._store, prefix=folder or None, chunk_size=1000):
                found.extend(_stored(o) for o in page if o["path"].startswith(prefix))
        found = sorted((o for o in found if after is None or o.key > after), key=lambda o: o.key)
        if limit is None or len(found) <= limit:
            return Listing(found)
        return Listing(found[:limit], True, found[limit - 1].key)

    async def _local(self, work: Any, *args: Any) -> None:
        try:
            await anyio.to_thread.run_sync(work, *args)
        except FileExistsError:
            raise KeyExists(f"the key {args[0]} is taken in bucket {self.name}.") from None
        except OSError as error:
            raise _failed(self.name, args[0], error) from error

    def _write(self, key: str, data: bytes | memoryview, create: bool) -> None:
        assert self.root is not None
        files.write(self.root / key, data, create=create)

    def _adopt(self, key: str, path: Path, create: bool) -> None:
        assert self.root is not None
        target = self.root / key
        files.make_folder(target.parent)
        if path.stat().st_dev != target.parent.stat().st_dev:
            copy = files.beside(target)
            shutil.copyfile(path, copy)
            path.unlink()
            path = copy
        path.chmod(0o444)
        files.sync_file(path)
        try:
            files.place(path, target, create=create)
        finally:
            path.unlink(missing_ok=True)

    async def _remote_put(self, key: str, data: bytes | Path, create: bool) -> None:
        import obstore

        async with self._translated(key):
            await obstore.put_async(self._store, key, data, mode="create" if create else "overwrite")

    @asynccontextmanager
    async def _translated(self, key: str) -> AsyncIterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            yield
        except FileNotFoundError:
            raise KeyNotFound(
                f"there is no object {key!r} in bucket {self.name}.", fix="List the keys first."
            ) from None
        except AlreadyExistsError:
            raise KeyExists(f"the key {key} is taken in bucket {self.name}.") from None
        except (BaseError, OSError, ValueError) as error:
            raise _failed(self.name, key, error) from error


def _stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], (meta.get("e_tag") or "").strip('"') or None)


def _failed(bucket: str, key: str, error: Exception) -> Upstream:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Upstream(
        f"bucket {bucket} failed at {key!r}: {reason}.",
        fix="Check that the bucket is reachable and has room; `lakehouse doctor` shows its state.",
    )


class Storage:
    """The primary bucket, the scratch folder beside it, and the rules for what callers may put."""

    def __init__(self, home: Path, settings: config.Storage) -> None:
        self.settings = settings
        self.bucket = Bucket(settings.url or (home / "objects").as_uri())
        self.scratch_root = home / "tmp"
        self._slots = anyio.Semaphore(settings.upload_slots)

    def max_put_bytes_for(self, key: str) -> int:
        """The largest object a caller may put under a key, bytes."""
        vectors = key.startswith(VECTORS_PREFIX)
        return self.settings.max_vectors_put_bytes if vectors else self.settings.max_put_bytes

    @asynccontextmanager
    async def upload_slot(self) -> AsyncIterator[None]:
        """One of the few places for callers' uploads. Raises Busy at once when all are taken."""
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            raise Busy("all upload slots are taken.", fix="Try again in 5 seconds.", retry_after=5) from None
        try:
            yield
        finally:
            self._slots.release()

    def check_public_write(self, key: str, size: int) -> None:
        """Raises InvalidInput, Forbidden or TooLarge when a caller may not put this much under this key."""
        check_key(key)
        if key.startswith(RESERVED):
            raise Forbidden(
                f"keys below {key.split('/')[0]}/ belong to Lakehouse.", fix="Choose another first part for the key."
            )
        if size > self.max_put_bytes_for(key):
            raise TooLarge(
                f"{size} bytes are over the limit of {self.max_put_bytes_for(key)} for {key!r}.",
                fix="Raise storage.max_put_bytes, or send less.",
            )

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A private folder for unfinished files, on the data directory's disk, removed afterwards."""
        folder = await anyio.to_thread.run_sync(self._new_scratch)
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    def _new_scratch(self) -> Path:
        self.scratch_root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.scratch_root))
