"""Immutable files of a bucket that is not a local folder, kept as local files that engines can open."""

from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.engine.bucket import Bucket
from lakehouse.engine.shelf import Shelf
from lakehouse.errors import Upstream


class Altered(Upstream):
    """An object does not have the contents that are recorded for it."""


class Cache:
    """A bucket's files on a shelf, where those of all buckets are: verified once, read-only, never out of date."""

    def __init__(self, shelf: Shelf, bucket: Bucket) -> None:
        self.shelf = shelf
        self._bucket = bucket
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @property
    def max_bytes(self) -> int:
        """What all copies together may take."""
        return self.shelf.max_bytes

    async def fetch(self, key: str, sha256: str, size: int) -> Path:
        """The local copy of an object, downloaded when it is not there yet.

        Raises KeyNotFound when the object is gone, Altered when it is not what was recorded, and Upstream.
        """
        path = self.shelf.path(sha256)
        async with self._locks.setdefault(sha256, anyio.Lock()):
            if not await anyio.to_thread.run_sync(self.shelf.has, sha256, size):
                copy = files.beside(path)
                try:
                    await anyio.to_thread.run_sync(files.make_folder, path.parent)
                    await self._bucket.get_to(key, copy)
                    await anyio.to_thread.run_sync(self._settle, copy, key, sha256, size)
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
        return self.shelf.path(sha256) if self.shelf.has(sha256, size) else None

    def drop_spoiled(self, sha256: str) -> bool:
        """Remove the local copy when it does not have these contents, and say so; blocking."""
        with suppress(FileNotFoundError):
            if files.sha256_of(self.shelf.path(sha256)) != sha256:
                self.shelf.discard(sha256)
                return True
        return False

    async def adopt(self, path: Path, sha256: str) -> None:
        """Take over a local file with these contents, which is on the data directory's disk; it is gone from `path`.

        A disk that fails costs the copy only.
        """
        await anyio.to_thread.run_sync(self._adopt, path, sha256)

    def _adopt(self, path: Path, sha256: str) -> None:
        try:
            files.make_folder(self.shelf.path(sha256).parent)
            self.shelf.keep(path, sha256)
        except OSError:
            with suppress(OSError):
                path.unlink()

    def _settle(self, copy: Path, key: str, sha256: str, size: int) -> None:
        if copy.stat().st_size != size or files.sha256_of(copy) != sha256:
            raise Altered(
                f"the object {key!r} is not the file that was recorded.",
                fix="Restore it from a backup, or make it again from its source.",
            )
        self.shelf.keep(copy, sha256)
