"""Object storage: buckets by name, the scratch folder, and what callers may put, read and remove."""

import logging
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
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.redact import Redactor
from lakehouse.engine.shelf import Shelf
from lakehouse.engine.storage.failures import Failure
from lakehouse.engine.storage.objects import RESERVED, VECTORS_PREFIX, Objects, Placed, max_put_bytes
from lakehouse.engine.storage.rescue import Replayed
from lakehouse.errors import InvalidInput, LakehouseError, disk_failed

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_LIST",
    "PRIMARY",
    "RESERVED",
    "VECTORS_PREFIX",
    "Bucket",
    "Failure",
    "KeyExists",
    "KeyNotFound",
    "Listing",
    "Placed",
    "Replayed",
    "Storage",
    "StoredObject",
    "buckets_of",
    "check_key",
    "max_put_bytes",
]

log = logging.getLogger("lakehouse")

DATA_PREFIX = "datasets/"
_DEAD_SECONDS = 600  # a write that goes on touches its file


def buckets_of(home: Path, settings: config.Storage) -> dict[str, Bucket]:
    """The buckets of these settings by name, the primary one first. Raises InvalidInput for an address that is none."""
    found = {PRIMARY: Bucket(settings.url or (home / "objects").as_uri(), settings=settings)}
    for other in settings.buckets:
        own = settings.model_copy(
            update={
                "endpoint": other.endpoint,
                "region": other.region,
                "allow_http": other.allow_http,
                "single_writer": other.single_writer,
                "timeout_secs": other.timeout_secs or settings.timeout_secs,
            }
        )
        found[other.name] = Bucket(other.url, other.name, own, other.secret)
    return found


class Storage(Objects):
    """Buckets by name with callers' objects, the scratch folder, and local copies of what is elsewhere."""

    def __init__(
        self,
        home: Path,
        settings: config.Storage,
        redact: Redactor | None = None,
        record: Record = unrecorded,
    ) -> None:
        super().__init__(home, settings, buckets_of(home, settings), redact, record)
        self.shelf = Shelf(home / "cache" / "objects", settings.cache_bytes)
        self._caches = {name: Cache(self.shelf, bucket) for name, bucket in self.buckets.items()}
        self.cache = self._caches[PRIMARY]
        at_home = not settings.url
        self._claims = {
            name: Claims(bucket, alone=bucket.kind == "memory" or bucket.single_writer or (at_home and name == PRIMARY))
            for name, bucket in self.buckets.items()
        }

    def cache_of(self, bucket: str) -> Cache:
        """The local copies of a bucket's immutable files."""
        return self._caches[bucket]

    def claims_of(self, bucket: str) -> Claims:
        """What keeps a bucket's data files from being removed while they are about to be named."""
        return self._claims[bucket]

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

    async def replay(self) -> Replayed:
        """Move what was rescued to where it belongs; see Rescue.replay. Raises InvalidInput, Upstream."""
        if self.rescue is None:
            raise InvalidInput("storage.rescue names no bucket: nothing is rescued.", fix="Set it to a bucket's name.")
        async with self.scratch() as folder:
            return await self.rescue.replay(folder)

    async def aclose(self) -> None:
        """Write what failures are still to be noted; forget the copies of a bucket that ends with the process."""
        await anyio.to_thread.run_sync(self.failures.close)
        await anyio.to_thread.run_sync(self.shelf.clear if self.bucket.kind == "memory" else self.shelf.close)

    async def sweep(self) -> None:
        """Remove what a killed process left behind. Only the owner of the data directory may, before its parts run."""
        await anyio.to_thread.run_sync(self._sweep)

    def _sweep(self) -> None:
        shutil.rmtree(self.scratch_root, ignore_errors=True)
        self.shelf.sweep()
        if any(bucket.remote for bucket in self.buckets.values()):
            self._warn_of_secrets()
        for name, bucket in self.buckets.items():
            # The data directory's own bucket has one owner, whose writes begin after this; another may have more.
            bucket.sweep(*((_DEAD_SECONDS,) if name == PRIMARY and not self.settings.url else ()))

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
