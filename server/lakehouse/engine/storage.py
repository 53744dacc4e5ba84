"""Object storage: the primary bucket, the scratch folder, and what callers may put, read and remove."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine import credentials
from lakehouse.engine.bucket import (
    MAX_KEY_BYTES,
    MAX_LIST,
    PRIMARY,
    Bucket,
    KeyExists,
    KeyNotFound,
    Listing,
    StoredObject,
    check_key,
)
from lakehouse.engine.cache import Cache
from lakehouse.engine.claims import Claims
from lakehouse.errors import Busy, Forbidden, LakehouseError, TooLarge, disk_failed

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_LIST",
    "PRIMARY",
    "RESERVED",
    "VECTORS_PREFIX",
    "Bucket",
    "KeyExists",
    "KeyNotFound",
    "Listing",
    "Storage",
    "StoredObject",
    "check_key",
]

log = logging.getLogger("lakehouse")

VECTORS_PREFIX = "_vectors/"
DATA_PREFIX = "datasets/"
# Written only by the parts that own them, never by a caller's storage verb.
RESERVED = ("_catalog/", "datasets/", VECTORS_PREFIX, "_journal/", "_profiles/", "_rescue/", "_errors/")
_DEAD_SECONDS = 600  # a write that goes on touches its file
MAX_INLINE = 16 * 2**20  # bytes of one object in one answer


def max_put_bytes(settings: config.Storage, key: str) -> int:
    """The largest object that may be put under a key, bytes."""
    return settings.max_vectors_put_bytes if key.startswith(VECTORS_PREFIX) else settings.max_put_bytes


class Storage:
    """The primary bucket, the scratch folder beside it, and the rules for what callers may put."""

    def __init__(self, home: Path, settings: config.Storage) -> None:
        self.settings = settings
        self.bucket = Bucket(settings.url or (home / "objects").as_uri(), settings=settings)
        self.buckets = {PRIMARY: self.bucket}
        for other in settings.buckets:
            own = settings.model_copy(update={"endpoint": other.endpoint, "region": other.region})
            self.buckets[other.name] = Bucket(other.url, other.name, own)
        self.cache = Cache(home / "cache" / "objects", self.bucket, settings.cache_bytes)
        self._caches = {PRIMARY: self.cache}
        at_home = not settings.url
        self._claims = {
            name: Claims(bucket, alone=bucket.kind == "memory" or bucket.single_writer or (at_home and name == PRIMARY))
            for name, bucket in self.buckets.items()
        }
        self.scratch_root = home / "tmp"
        self._slots = anyio.Semaphore(settings.upload_slots)

    def cache_of(self, bucket: str) -> Cache:
        """The local copies of a bucket's immutable files."""
        if bucket not in self._caches:
            self._caches[bucket] = self.cache.of(self.buckets[bucket])
        return self._caches[bucket]

    def claims_of(self, bucket: str) -> Claims:
        """What keeps a bucket's data files from being removed while they are about to be named."""
        return self._claims[bucket]

    def max_put_bytes_for(self, key: str) -> int:
        """The largest object that may be put under a key, bytes."""
        return max_put_bytes(self.settings, key)

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

    async def put(self, key: str, data: bytes) -> StoredObject:
        """A caller's put: own keys only, within the cap, in one of the upload slots; replaces what was there.

        Raises InvalidInput, Forbidden, TooLarge, Busy (all slots taken), Conflict, Upstream.
        """
        self.check_public_write(key, len(data))
        async with self.upload_slot():
            await self.bucket.put(key, data)
            return await self.bucket.head(key)

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """A caller's put of a local file, which is moved; it takes none of the upload slots, and no memory.

        Raises InvalidInput, Forbidden, TooLarge, Conflict, Upstream.
        """
        self.check_public_write(key, (await anyio.to_thread.run_sync(path.stat)).st_size)
        await self.bucket.put_file(key, path)
        return await self.bucket.head(key)

    async def file_of(self, key: str) -> tuple[StoredObject, Path, bool]:
        """An object of any size and any key as a local file, and whether that is a copy for its reader to remove.

        Raises KeyNotFound, and Upstream when the store or the data directory's disk fails.
        """
        found = await self.bucket.head(key)
        if self.bucket.root is not None:
            return found, self.bucket.root / key, False
        path = await anyio.to_thread.run_sync(self._new_file)
        try:
            await self.bucket.get_to(key, path)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(path.unlink)
            raise
        return found, path, True

    async def put_immutable(self, key: str, path: Path, sha256: str, bucket: str = PRIMARY) -> None:
        """Move a finished file into a bucket, under a key nobody else gives other contents.

        Its local copy stays in the cache where objects cannot be read in place, as it is wanted next.

        Raises KeyExists, Unavailable, Upstream.
        """
        target, claims = self.buckets[bucket], self.claims_of(bucket)
        began, claimed = time.monotonic(), key.startswith(DATA_PREFIX)
        if claimed:
            await claims.ready(key, (await anyio.to_thread.run_sync(path.stat)).st_size)
        if target.root is not None:
            await target.put_file(key, path, create=True)
        else:
            await target.put_file(key, path, create=True, keep=True)
            await self.cache_of(bucket).adopt(path, sha256)
        if claimed:
            await claims.put(key, time.monotonic() - began)

    async def get(self, key: str) -> tuple[StoredObject, bytes]:
        """A caller's read of a whole object, of any key: what Lakehouse itself keeps is open to reading.

        Raises KeyNotFound, and TooLarge over 16 MiB, which is the most that is ever sent in one answer.
        """
        found = await self.bucket.head(key)
        if found.size > MAX_INLINE:
            raise TooLarge(
                f"the object {key!r} has {found.size} bytes; one answer holds {MAX_INLINE}.",
                fix="Ingest it as a dataset and query that, or copy the file from the bucket itself.",
            )
        return found, await self.bucket.get(key)

    async def delete(self, key: str) -> None:
        """A caller's delete: own keys only; removing what is not there is fine.

        Raises InvalidInput, Forbidden, Upstream.
        """
        self.check_public_write(key, 0)
        await self.bucket.delete(key)

    def check_public_write(self, key: str, size: int) -> None:
        """Raises InvalidInput, Forbidden or TooLarge when a caller may not put this much under this key."""
        check_key(key)
        # The bare name, too: an object called datasets would stand where the folder has to be. Some file systems
        # ignore case.
        first = key.split("/")[0].casefold()
        if f"{first}/" in RESERVED:
            raise Forbidden(f"keys below {first}/ belong to Lakehouse.", fix="Choose another first part for the key.")
        self.check_size(key, size)

    def check_size(self, key: str, size: int) -> None:
        """Raises TooLarge, naming the setting, when an object of so many bytes is over the limit of its key."""
        limit = self.max_put_bytes_for(key)
        if size > limit:
            setting = "max_vectors_put_bytes" if key.startswith(VECTORS_PREFIX) else "max_put_bytes"
            raise TooLarge(
                f"{size} bytes are over the limit of {limit} for {key!r}.",
                fix=f"Send less, or raise storage.{setting}.",
            )

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A private folder for unfinished files, on the data directory's disk, removed afterwards.

        Raises Upstream when the disk fails, also while the block writes: it is full more often than anything else.
        """
        try:
            folder = await anyio.to_thread.run_sync(self._new_scratch)
            try:
                yield folder
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
        except OSError as error:
            if error.errno is None:  # a time limit is an OSError, too
                raise
            raise disk_failed(error) from error

    async def aclose(self) -> None:
        """Forget the copies of a bucket that ends with the process."""
        if self.bucket.kind == "memory":
            await anyio.to_thread.run_sync(self.cache.clear)

    async def sweep(self) -> None:
        """Remove what a killed process left behind. Only the owner of the data directory may, before its parts run."""
        await anyio.to_thread.run_sync(self._sweep)

    def _sweep(self) -> None:
        shutil.rmtree(self.scratch_root, ignore_errors=True)
        self.cache.sweep()
        if self.bucket.remote:
            self._warn_of_secrets()
        # The data directory's own bucket has one owner, whose writes begin after this; another may have more writers.
        self.bucket.sweep(*(() if self.settings.url else (_DEAD_SECONDS,)))

    def _new_file(self) -> Path:
        self.scratch_root.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=self.scratch_root)
        os.close(descriptor)
        return Path(path)

    def _warn_of_secrets(self) -> None:
        try:
            found = credentials.read(self.settings.secrets)
        except LakehouseError:
            return  # whoever uses the bucket is told
        if found.readable:
            log.warning("storage.secrets_open %s can be read by others; make it 0600", found.path)

    def _new_scratch(self) -> Path:
        self.scratch_root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.scratch_root))
