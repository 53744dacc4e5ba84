"""Immutable files of a bucket that is not a local folder, kept as local files that engines can open."""

import shutil
import threading
import time
from contextlib import suppress
from copy import copy
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.engine.bucket import Bucket
from lakehouse.errors import Upstream

_KEEP_SECS = 30 * 24 * 3600


class Altered(Upstream):
    """An object does not have the contents that are recorded for it."""


class Cache:
    """A folder of files named by the SHA-256 of their contents: verified once, read-only, never out of date.

    When a process first uses the folder, files nobody asked for in thirty days go, and then the oldest until the rest
    is within `max_bytes`. What was asked for since stays: somebody may have it open.
    """

    def __init__(self, folder: Path, bucket: Bucket, max_bytes: int) -> None:
        self._folder = folder
        self._bucket = bucket
        self.max_bytes = max_bytes
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._sweeping = threading.Lock()
        self._swept = False

    def of(self, bucket: Bucket) -> "Cache":
        """The same folder for the files of another bucket: what both have is kept once."""
        other = copy(self)
        other._bucket = bucket
        return other

    async def fetch(self, key: str, sha256: str, size: int) -> Path:
        """The local copy of an object, downloaded when it is not there yet.

        Raises KeyNotFound when the object is gone, Altered when it is not what was recorded, and Upstream.
        """
        path = self._path(sha256)
        async with self._locks.setdefault(sha256, anyio.Lock()):
            if not await anyio.to_thread.run_sync(self._have, path, size):
                copy = files.beside(path)
                try:
                    await anyio.to_thread.run_sync(files.make_folder, path.parent)
                    await self._bucket.get_to(key, copy)
                    await anyio.to_thread.run_sync(_settle, copy, path, key, sha256, size)
                except OSError as error:
                    raise Upstream(
                        f"{key!r} could not be copied to the local cache: {error.strerror}.",
                        fix="Make room on the data directory's disk.",
                    ) from error
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.Path(copy).unlink(missing_ok=True)
        return path

    def has(self, sha256: str, size: int) -> Path | None:
        """The local copy, when it is there; blocking."""
        path = self._path(sha256)
        return path if self._have(path, size) else None

    def drop_spoiled(self, sha256: str) -> bool:
        """Remove the local copy when it does not have these contents, and say so; blocking."""
        path = self._path(sha256)
        with suppress(FileNotFoundError):
            if files.sha256_of(path) != sha256:
                path.unlink()
                return True
        return False

    async def adopt(self, path: Path, sha256: str) -> None:
        """Take over a local file with these contents, which is on the data directory's disk; it is gone from `path`.

        A disk that fails costs the copy only.
        """
        await anyio.to_thread.run_sync(self._adopt, path, self._path(sha256))

    def sweep(self) -> None:
        """Remove old files and leftovers of downloads; blocking. Only the first time, when nothing is in use yet."""
        with self._sweeping:
            if not self._swept:
                self._sweep()
                self._swept = True

    def clear(self) -> None:
        """Remove every file; blocking."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _have(self, path: Path, size: int) -> bool:
        self.sweep()
        try:
            if path.stat().st_size != size:
                return False
            path.touch()
        except FileNotFoundError:
            return False
        return True

    def _adopt(self, path: Path, target: Path) -> None:
        self.sweep()
        try:
            files.make_folder(target.parent)
            _keep(path, target)
        except OSError:
            with suppress(OSError):
                path.unlink()

    def _sweep(self) -> None:
        oldest = time.time() - _KEEP_SECS
        kept: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):
                found = path.stat()
                if "#" in path.name or found.st_mtime < oldest:
                    path.unlink()
                else:
                    kept.append((found.st_mtime, found.st_size, path))
        room = self.max_bytes
        for _, size, path in sorted(kept, reverse=True):
            room -= size
            if room < 0:
                with suppress(OSError):
                    path.unlink()


def _settle(copy: Path, path: Path, key: str, sha256: str, size: int) -> None:
    if copy.stat().st_size != size or files.sha256_of(copy) != sha256:
        raise Altered(
            f"the object {key!r} is not the file that was recorded.",
            fix="Restore it from a backup, or make it again from its source.",
        )
    _keep(copy, path)


def _keep(copy: Path, path: Path) -> None:
    # Forced to the disk, though it could be fetched again: a file of the right size is believed after a power cut.
    copy.chmod(0o444)
    files.sync_file(copy)
    files.place(copy, path)
