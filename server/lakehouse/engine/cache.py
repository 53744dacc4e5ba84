"""Whole immutable data files of a bucket that is not a local folder, kept as local files that engines can open."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine import files
from lakehouse.engine.manifests import DataFile
from lakehouse.engine.storage import Bucket
from lakehouse.errors import Upstream

_KEEP_SECS = 30 * 24 * 3600


class Cache:
    """A folder of files named by the SHA-256 of their contents: verified once, read-only, never out of date.

    Files nobody asked for in thirty days are removed when a process first uses the folder.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder = folder
        self._bucket = bucket
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._sweeping = threading.Lock()
        self._swept = False

    async def fetch(self, file: DataFile) -> Path:
        """The local copy of a data file, downloaded when it is not there yet.

        Raises KeyNotFound when the object is gone and Upstream when it is not what the manifest says.
        """
        path = self._folder / f"{file.sha256}.parquet"
        async with self._locks.setdefault(file.sha256, anyio.Lock()):
            if not await anyio.to_thread.run_sync(self._have, path, file.size_bytes):
                copy = files.beside(path)
                try:
                    await self._bucket.get_to(file.key, copy)
                    await anyio.to_thread.run_sync(_settle, copy, path, file)
                except OSError as error:
                    raise Upstream(
                        f"{file.key!r} could not be copied to the local cache: {error.strerror}.",
                        fix="Make room on the data directory's disk.",
                    ) from error
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.Path(copy).unlink(missing_ok=True)
        return path

    def _have(self, path: Path, size: int) -> bool:
        files.make_folder(self._folder)
        with self._sweeping:
            if not self._swept:
                self._sweep()
                self._swept = True
        try:
            if path.stat().st_size != size:
                return False
            path.touch()
        except FileNotFoundError:
            return False
        return True

    def _sweep(self) -> None:
        """Nothing of the folder is in use yet: leftovers of downloads go, and what was not touched for long."""
        oldest = time.time() - _KEEP_SECS
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path.suffix != ".parquet" or path.stat().st_mtime < oldest:
                    path.unlink()


def _settle(copy: Path, path: Path, file: DataFile) -> None:
    if copy.stat().st_size != file.size_bytes or files.sha256_of(copy) != file.sha256:
        raise Upstream(
            f"the object {file.key!r} is not the file the catalog recorded.",
            fix="Restore it from a backup, or ingest the source again.",
        )
    copy.chmod(0o444)
    files.sync_file(copy)
    files.place(copy, path)
