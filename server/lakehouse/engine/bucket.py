"""One bucket by URL: key rules, durable and create-only puts, listings."""

import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.errors import Conflict, InvalidInput, NotFound, Upstream

if TYPE_CHECKING:
    from obstore.store import LocalStore, MemoryStore

T = TypeVar("T")
Given = TypeVarTuple("Given")
PRIMARY = "primary"
MAX_LIST = 10_000
MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255  # what file systems take as one name
UNFINISHED = "unfinished#0"  # the folder of writes under way; no key can name it, no listing shows it
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


Objects = list[StoredObject]  # inside the class below, `list` is its method


@dataclass(frozen=True)
class Listing:
    """Objects sorted by key. `truncated` says the limit cut it; go on with `after=next`."""

    objects: Objects
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


class Bucket:
    """One bucket, by URL. Every acknowledged put is durable; a create-only put never overwrites.

    `root` is the folder of a file:// bucket, so that engines can read its objects in place; None for any other.
    """

    def __init__(self, url: str, name: str = PRIMARY) -> None:
        self.name = name
        self.url = url
        parts = urlsplit(url)
        self.root: Path | None = None
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            self.root = Path(unquote(parts.path))
        elif parts.scheme == "file":
            raise InvalidInput(
                f"storage.url: {url!r} does not name a whole path.", fix="Write three slashes: file:///folder."
            )
        elif parts.scheme != "memory":
            raise InvalidInput(
                f"storage.url: {parts.scheme or url!r} buckets are not supported.",
                fix="Use file:///folder or memory://.",
            )
        self._opened: LocalStore | MemoryStore | None = None
        self._opening = threading.Lock()

    async def put(self, key: str, data: bytes | memoryview, *, create: bool = False) -> StoredObject:
        """Store bytes durably under a key.

        Raises KeyExists when `create` is set and the key is taken, Conflict when a folder has that name, Upstream
        when the store fails.
        """
        check_key(key)
        if self.root is not None:
            await self._run(key, self._write, self.root / key, data, create)
        else:
            await self._run(key, self._put, key, bytes(data), create)
        return StoredObject(key, len(data))

    async def put_file(self, key: str, path: Path, *, create: bool = False) -> StoredObject:
        """Move a finished local file into the bucket durably; the file is read-only there and gone from `path`.

        After a failure the local file is gone, too: put what must not be lost elsewhere first.

        Raises KeyExists when `create` is set and the key is taken, Upstream when the store fails.
        """
        check_key(key)
        return StoredObject(key, await self._run(key, self._put_file, key, path, create))

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyNotFound."""
        check_key(key)
        return await self._run(key, lambda: bytes(self._store().get(key).bytes()))

    async def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file, in parts. Raises KeyNotFound."""
        check_key(key)
        await self._run(key, self._get_to, key, path)

    async def head(self, key: str) -> StoredObject:
        """The object's size and tag. Raises KeyNotFound."""
        check_key(key)
        return await self._run(key, lambda: _stored(self._store().head(key)))

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
        with suppress(KeyNotFound):
            await self._run(key, self._delete, key)

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int | None = MAX_LIST) -> Listing:
        """Objects whose key starts with `prefix`, sorted by key, at most `limit` of them (None: all).

        Raises InvalidInput for a prefix no key can have, Upstream when the store fails.
        """
        folder = prefix.rpartition("/")[0]  # stores list by whole path parts; the rest is ours
        if folder:
            check_key(folder)
        found = await self._run("", self._list, folder, prefix, after)
        if limit is None or len(found) <= limit:
            return Listing(found)
        return Listing(found[:limit], True, found[limit - 1].key)

    def sweep(self, older_than: float = 24 * 3600) -> None:
        """Remove what interrupted writes left in a file:// bucket; blocking.

        Other processes may be writing to the same bucket, so only files untouched for `older_than` seconds go.
        """
        if self.root is None:
            return
        oldest = time.time() - older_than
        for path in (self.root / UNFINISHED).glob("*"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    async def _run(self, key: str, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        """Do a blocking piece of work on an object in a worker thread, with the store's errors translated."""
        # Never the store's own async methods: their threads call back into an interpreter that is ending, and a
        # process that just ran one of them aborts on exit (20 times of 30).
        return await anyio.to_thread.run_sync(self._translated, key, work, *args)

    def _translated(self, key: str, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        self._store()  # its folder has errors of its own
        from obstore.exceptions import AlreadyExistsError, BaseError

        path = self.root / key if self.root is not None and key else None
        try:
            return work(*args)
        except AlreadyExistsError:
            raise KeyExists(f"the key {key} is taken in bucket {self.name}.") from None
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            if isinstance(error, FileExistsError) and path is not None and not _vacant(path):
                raise KeyExists(f"the key {key} is taken in bucket {self.name}.") from None
            raise Conflict(
                f"the key {key!r} cannot be stored: a part of it is an object's key, or it is a folder of others.",
                fix="Choose another key.",
            ) from None
        except (BaseError, OSError, ValueError) as error:
            # The local store has no name for "a part of the key is an object" and "the key is a folder".
            if isinstance(error, FileNotFoundError) or (isinstance(error, BaseError) and path and _vacant(path)):
                raise KeyNotFound(
                    f"there is no object {key!r} in bucket {self.name}.", fix="List the keys first."
                ) from None
            raise _failed(self.name, key, error) from error

    def _store(self) -> "LocalStore | MemoryStore":
        with self._opening:
            if self._opened is None:
                from obstore.store import LocalStore, MemoryStore

                try:
                    if self.root is not None:
                        files.make_folder(self.root)
                    self._opened = LocalStore(prefix=self.root) if self.root is not None else MemoryStore()
                except OSError as error:
                    raise _failed(self.name, "", error) from error
            return self._opened

    def _unfinished(self) -> Path:
        assert self.root is not None
        folder = self.root / UNFINISHED
        files.make_folder(folder)
        return folder

    def _write(self, target: Path, data: bytes | memoryview, create: bool) -> None:
        files.write(target, data, create=create, unfinished=self._unfinished())

    def _put(self, key: str, data: bytes | Path, create: bool) -> None:
        self._store().put(key, data, mode="create" if create else "overwrite")

    def _put_file(self, key: str, path: Path, create: bool) -> int:
        size = path.stat().st_size
        copy = path
        try:
            if self.root is None:
                self._put(key, path, create)
                return size
            target = self.root / key
            files.make_folder(target.parent)
            if path.stat().st_dev != target.parent.stat().st_dev:
                copy = files.beside(target, self._unfinished())
                shutil.copyfile(path, copy)
            copy.chmod(0o444)
            files.sync_file(copy)
            files.place(copy, target, create=create)
            return size
        finally:
            copy.unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def _get_to(self, key: str, path: Path) -> None:
        found = self._store().get(key)
        with path.open("wb") as file:
            for part in found.stream(min_chunk_size=files.COPY_BYTES):
                file.write(part)

    def _delete(self, key: str) -> None:
        self._store().delete(key)
        if self.root is not None:
            files.sync_folder((self.root / key).parent)

    def _list(self, folder: str, prefix: str, after: str | None) -> Objects:
        if folder and self.root is not None and not (self.root / folder).is_dir():
            return []
        found: Objects = []
        for page in self._store().list(prefix=folder or None, chunk_size=1000):
            found.extend(_stored(o) for o in page if o["path"].startswith(prefix))
        return sorted((o for o in found if after is None or o.key > after), key=lambda o: o.key)


def _vacant(path: Path) -> bool:
    """Whether there is certainly no file here; a folder is none."""
    try:
        return path.is_dir() or not path.exists()
    except OSError:  # not allowed to look
        return False


def _stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], (meta.get("e_tag") or "").strip('"') or None)


def _failed(bucket: str, key: str, error: Exception) -> Upstream:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Upstream(
        f"bucket {bucket} failed at {key!r}: {reason}.",
        fix="Check that the bucket is reachable and has room; `lakehouse doctor` shows its state.",
    )
