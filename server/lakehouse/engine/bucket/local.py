"""Buckets on this machine: a folder whose files survive a crash, and memory that ends with the process."""

import errno
import os
import shutil
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.engine import files
from lakehouse.engine.bucket.keys import KeyNotFound, Listing, StoredObject, listed, missing, taken
from lakehouse.engine.bucket.store import Store, stored
from lakehouse.errors import Conflict, Upstream

if TYPE_CHECKING:
    from obstore.store import LocalStore, MemoryStore

UNFINISHED = "unfinished#0"  # the folder of writes under way; no key can name it, no listing shows it


class Local(Store):
    """What both have in common."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._opened: LocalStore | MemoryStore | None = None
        self._opening = threading.Lock()

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        with self._translated(key):
            return bytes(self._store().get(key).bytes())

    def get_to(self, key: str, path: Path) -> None:
        """Copy an object into a local file."""
        with self._translated(key):
            found = self._store().get(key)
            with path.open("wb") as file:
                for part in found.stream(min_chunk_size=files.COPY_BYTES):
                    file.write(part)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Some of the object's bytes."""
        with self._translated(key):
            return bytes(self._store().get_range(key, start=start, end=end))

    def head(self, key: str) -> StoredObject:
        """The object's size and tag."""
        with self._translated(key):
            return stored(self._store().head(key))

    def list(self, prefix: str, after: str | None, limit: int | None) -> Listing:
        """Objects sorted by key."""
        folder = prefix.rpartition("/")[0]  # stores list by whole path parts; the rest is ours
        found: list[StoredObject] = []
        with self._translated(""):
            if self._empty(folder):
                return Listing([])
            for page in self._store().list(prefix=folder or None, chunk_size=1000):
                found.extend(stored(o) for o in page if o["path"].startswith(prefix))
        return listed([o for o in found if after is None or o.key > after], limit)

    def _empty(self, folder: str) -> bool:
        return False

    @abstractmethod
    def _open(self) -> "LocalStore | MemoryStore":
        """The library's store."""

    def _store(self) -> "LocalStore | MemoryStore":
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = self._open()
                except OSError as error:
                    raise self._failed("", error) from error
            return self._opened

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        self._store()  # its folder has errors of its own
        from obstore.exceptions import AlreadyExistsError, BaseError

        path = self.root / key if self.root is not None and key else None
        try:
            yield
        except AlreadyExistsError:
            raise taken(self.name, key) from None
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            if self._unsound():
                raise self._failed(key, error) from error
            if isinstance(error, FileExistsError) and path is not None and not _vacant(path):
                raise taken(self.name, key) from None
            raise Conflict(
                f"the key {key!r} cannot be stored: a part of it is an object's key, or it is a folder of others.",
                fix="Choose another key.",
            ) from None
        except (BaseError, OSError, ValueError) as error:
            # The local store has no name for "a part of the key is an object" and "the key is a folder".
            absent = isinstance(error, FileNotFoundError) or (isinstance(error, BaseError) and path and _vacant(path))
            if absent and not self._unsound():
                raise missing(self.name, key) from None
            raise self._failed(key, error) from error

    def _unsound(self) -> bool:
        """Whether something else is where the folder should be."""
        # In this order: the first write may make the folder in between.
        return self.root is not None and os.path.lexists(self.root) and not self.root.is_dir()

    def _failed(self, key: str, error: Exception) -> Upstream:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return Upstream(
            f"bucket {self.name} failed at {key!r}: {reason}.",
            fix="Check that the bucket is reachable and has room; `lakehouse doctor` shows its state.",
        )


class Folder(Local):
    """A folder. Puts are forced to the disk before they return; a file that was put is read-only."""

    kind = "file"
    root: Path

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(name)
        self.root = root

    def get(self, key: str) -> bytes:
        """The file's bytes."""
        try:
            return (self.root / key).read_bytes()  # the library takes six times as long for a small one
        except OSError:
            return super().get(key)  # it says what is wrong

    def put(self, key: str, data: bytes | memoryview, create: bool) -> None:
        """Write a whole file, durably."""
        with self._translated(key):
            files.write(self.root / key, data, create=create, unfinished=self._unfinished())

    def put_file(self, key: str, path: Path, create: bool) -> int:
        """Move a file here, from another file system by copying it."""
        with self._translated(key):
            size = path.stat().st_size
            copy, target = path, self.root / key
            try:
                files.make_folder(target.parent)
                if path.stat().st_dev != target.parent.stat().st_dev:
                    copy = files.beside(target, self._unfinished())
                    shutil.copyfile(path, copy)
                copy.chmod(0o444)
                os.utime(copy)  # put now, whenever it was written: what is young is not taken for left over
                files.sync_file(copy)
                files.place(copy, target, create=create)
                return size
            finally:
                copy.unlink(missing_ok=True)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, durably."""
        for key in keys:
            with suppress(KeyNotFound), self._translated(key):
                self._store().delete(key)
                files.sync_folder((self.root / key).parent)

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder."""
        # By the operating system: a library's listing fails when a file it has just seen is removed.
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._unsound():
                raise self._failed(folder, error) from error
            return []
        except OSError as error:
            raise self._failed(folder, error) from error

    def sweep(self, older_than: float) -> None:
        """Remove unfinished files."""
        oldest = time.time() - older_than
        for path in (self.root / UNFINISHED).glob("*"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def _empty(self, folder: str) -> bool:
        if self._unsound():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return bool(folder) and not (self.root / folder).is_dir()

    def _open(self) -> "LocalStore":
        from obstore.store import LocalStore

        files.make_folder(self.root)
        return LocalStore(prefix=self.root)

    def _unfinished(self) -> Path:
        folder = self.root / UNFINISHED
        files.make_folder(folder)
        return folder


class Memory(Local):
    """Memory: for tests and for data nobody wants to keep."""

    kind = "memory"

    def put(self, key: str, data: bytes | memoryview, create: bool) -> None:
        """Keep the bytes."""
        with self._translated(key):
            self._store().put(key, bytes(data), mode="create" if create else "overwrite")

    def put_file(self, key: str, path: Path, create: bool) -> int:
        """Keep a copy of the file."""
        with self._translated(key):
            size = path.stat().st_size
            self._store().put(key, path, mode="create" if create else "overwrite")
            return size

    def delete(self, keys: Sequence[str]) -> None:
        """Forget objects."""
        for key in keys:
            with suppress(KeyNotFound), self._translated(key):
                self._store().delete(key)

    def names(self, folder: str) -> Sequence[str]:
        """The names directly in a folder."""
        found = self.list(folder, None, None).objects
        return sorted({o.key.removeprefix(folder).partition("/")[0] for o in found})

    def _open(self) -> "MemoryStore":
        from obstore.store import MemoryStore

        return MemoryStore()


def _vacant(path: Path) -> bool:
    """Whether there is certainly no file here; a folder is none."""
    try:
        return path.is_dir() or not path.exists()
    except OSError:  # not allowed to look
        return False
