"""What callers put, read, list and remove: their rules, the bucket that is meant, and what is done when it fails."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.bucket import MAX_LIST, PRIMARY, Bucket, KeyNotFound, Listing, StoredObject, check_key
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.journal import Record, unrecorded
from lakehouse.engine.redact import Redactor
from lakehouse.engine.removals import Removals
from lakehouse.engine.storage.failures import Failure, Failures
from lakehouse.engine.storage.rescue import Rescue
from lakehouse.engine.storage.rescue import key_of as rescued_key
from lakehouse.errors import (
    Busy,
    Forbidden,
    InvalidInput,
    LakehouseError,
    NotFound,
    TooLarge,
    Unavailable,
    Upstream,
    did_you_mean,
)

VECTORS_PREFIX = "_vectors/"
# Written only by the parts that own them, never by a caller's storage verb.
RESERVED = ("_catalog/", "datasets/", VECTORS_PREFIX, "_journal/", "_profiles/", "_rescue/", "_errors/")
_ANSWER_SECS = 5
MAX_INLINE = 16 * 2**20  # bytes of one object in one answer


def max_put_bytes(settings: config.Storage, key: str) -> int:
    """The largest object that may be put under a key, bytes."""
    return settings.max_vectors_put_bytes if key.startswith(VECTORS_PREFIX) else settings.max_put_bytes


@dataclass(frozen=True)
class Placed(StoredObject):
    """A caller's object and the bucket it belongs to; `rescued` says that another bucket holds it for now."""

    bucket: str = PRIMARY
    rescued: bool = False


@dataclass(frozen=True)
class State:
    """A bucket's name and kind, and whether it answers now."""

    name: str
    kind: str
    reachable: bool
    problem: str | None = None


class Objects:
    """Callers' objects of some buckets.

    What a caller puts while its bucket fails goes to the rescue bucket, if there is one. Lakehouse's own writes never
    do: a dataset's commit that its bucket does not take has failed. Failures of any bucket are noted in `failures`.
    """

    def __init__(
        self,
        home: Path,
        settings: config.Storage,
        buckets: Mapping[str, Bucket],
        redact: Redactor | None,
        record: Record = unrecorded,
    ) -> None:
        self.settings = settings
        self._record = record
        self.removals = Removals()
        self.buckets = buckets
        roots = [bucket.root for bucket in buckets.values() if bucket.root is not None]
        # Places of this machine whose files callers from outside, and those bound to a profile, may not name.
        self.shut: tuple[Path, ...] = (home, *roots, settings.secrets)
        self.bucket = buckets[PRIMARY]
        self.scratch_root = home / "tmp"
        self.failures = Failures(home, self.bucket, redact)
        for name, bucket in buckets.items():
            bucket.told = partial(self.failures.tell, name)
        self.rescue = Rescue(buckets[settings.rescue], buckets) if settings.rescue else None
        self._slots = anyio.Semaphore(settings.upload_slots)

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

    def bucket_of(self, name: str | None) -> Bucket:
        """A bucket by name, None for the primary one. Raises NotFound naming those there are."""
        found = self.buckets.get(name or PRIMARY)
        if found is None:
            raise NotFound(f"there is no bucket {name!r}.", fix=did_you_mean(str(name), self.buckets))
        return found

    def place_of(self, key: str, bucket: str | None = None) -> tuple[Bucket, str]:
        """The bucket and the key that are meant: `bucket://key` is a reference, and no legal key looks like one.

        Raises NotFound for an unknown bucket, InvalidInput when the reference and `bucket` differ.
        """
        name, reference, rest = key.partition("://")
        if not reference:
            return self.bucket_of(bucket), key
        if bucket not in (None, name):
            raise InvalidInput(f"bucket: it is {bucket!r}, and the key says {name!r}.", fix="Give the bucket once.")
        return self.bucket_of(name), rest

    async def put(self, key: str, data: bytes, bucket: str | None = None) -> Placed:
        """A caller's put: own keys only, within the cap, in one of the upload slots; replaces what was there.

        Raises InvalidInput, NotFound (no such bucket), Forbidden, TooLarge, Busy (all slots taken), Conflict, Upstream.
        """
        target, key = self.place_of(key, bucket)
        self.check_public_write(key, len(data))
        async with self.upload_slot():
            return await self._told(await self._put(target, key, data))

    async def put_file(self, key: str, path: Path, bucket: str | None = None) -> Placed:
        """A caller's put of a local file, which is moved; it takes none of the upload slots, and no memory.

        Raises what `put` raises, but Busy.
        """
        target, key = self.place_of(key, bucket)
        self.check_public_write(key, (await anyio.to_thread.run_sync(path.stat)).st_size)
        return await self._told(await self._put(target, key, path))

    async def _told(self, stored: Placed) -> Placed:
        after = {"size": stored.size} | ({"rescued": True} if stored.rescued else {})
        await self._record("put", "object", f"{stored.bucket}://{stored.key}", after=after)
        return stored

    async def _put(self, target: Bucket, key: str, data: bytes | Path) -> Placed:
        place = (target.name, key)
        rescue = self.rescue if self.rescue is not None and self.rescue.bucket is not target else None
        if rescue is None:
            await _write(target, key, data)
            return await _head(target, key)
        async with rescue.lock(place):
            spare = await anyio.to_thread.run_sync(_second_name, data) if isinstance(data, Path) else data
            size = await anyio.to_thread.run_sync(_size, spare)
            try:
                with self.failures.held() as noted:
                    try:
                        await _write(target, key, data)
                    except (Upstream, Unavailable) as error:
                        await self._rescued(rescue, place, spare, error)
                        noted[:] = [replace(one, rescued=True) for one in noted]
                        return Placed(key, size, bucket=target.name, rescued=True)
                await rescue.replaced(place)
            finally:
                if isinstance(spare, Path):
                    with anyio.CancelScope(shield=True):
                        await anyio.Path(spare).unlink(missing_ok=True)
        return await _head(target, key)

    async def file_of(self, key: str, bucket: str | None = None) -> tuple[Placed, Path, bool]:
        """An object of any size and any key as a local file, and whether that is a copy for its reader to remove.

        Raises NotFound, KeyNotFound, and Upstream when the store or the data directory's disk fails.
        """
        target, key = self.place_of(key, bucket)
        found, source, stored_as = await self._find(target, key)
        if source.root is not None:
            return found, source.root / stored_as, False
        path = await anyio.to_thread.run_sync(self._new_file)
        try:
            await source.get_to(stored_as, path)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(path.unlink)
            raise
        return found, path, True

    async def get(self, key: str, bucket: str | None = None) -> tuple[Placed, bytes]:
        """A caller's read of a whole object, of any key: what Lakehouse itself keeps is open to reading.

        Raises NotFound, KeyNotFound, and TooLarge over 16 MiB, which is the most that is ever sent in one answer.
        """
        target, key = self.place_of(key, bucket)
        found, source, stored_as = await self._find(target, key)
        if found.size > MAX_INLINE:
            raise TooLarge(
                f"the object {key!r} has {found.size} bytes; one answer holds {MAX_INLINE}.",
                fix="Ingest it as a dataset and query that, or copy the file from the bucket itself.",
            )
        return found, await source.get(stored_as)

    async def delete(self, key: str, bucket: str | None = None) -> None:
        """A caller's delete: own keys only; removing what is not there is fine.

        Raises InvalidInput, NotFound (no such bucket), Forbidden, Upstream.
        """
        target, key = self.place_of(key, bucket)
        self.check_public_write(key, 0)
        await target.delete(key)
        if self.rescue is not None:
            await self.rescue.forget((target.name, key))
        await self._record("delete", "object", f"{target.name}://{key}")

    async def list(
        self, prefix: str = "", *, after: str | None = None, limit: int = MAX_LIST, bucket: str | None = None
    ) -> Listing:
        """Objects of one bucket by the beginning of their keys; what is rescued for it is not among them.

        Raises InvalidInput, NotFound (no such bucket), Upstream.
        """
        target, prefix = self.place_of(prefix, bucket)
        return await target.list(prefix, after=after, limit=limit)

    async def states(self) -> Sequence[State]:
        """Whether each bucket answers; a few seconds are waited for one that does not."""
        return await fan_out([partial(state_of, bucket) for bucket in self.buckets.values()])

    async def errors(self, limit: int, since: str | None = None) -> Sequence[Failure]:
        """The newest failures of buckets, newest first. Raises InvalidInput for a `since` that is no moment."""
        return await anyio.to_thread.run_sync(self.failures.newest, limit, since)

    async def _rescued(self, rescue: Rescue, place: tuple[str, str], data: bytes | Path, error: LakehouseError) -> None:
        try:
            await rescue.put(place, data)
        except (Upstream, Unavailable, InvalidInput) as failed:
            raise Upstream(
                f"{error.detail} The rescue bucket {rescue.bucket.name} did not take it either: {failed.detail}",
                fix=error.fix,
            ) from error

    async def _find(self, target: Bucket, key: str) -> tuple[Placed, Bucket, str]:
        """An object, the bucket it is read from and its key there: a rescued one is newer than what its bucket has."""
        check_key(key)
        place = (target.name, key)
        rescue = self.rescue if self.rescue is not None and self.rescue.bucket is not target else None
        waits = rescue is not None and await rescue.has(place)
        try:
            if not waits:
                return await _head(target, key), target, key
        except (KeyNotFound, Upstream, Unavailable):
            if rescue is None:
                raise
            found = await rescue.head(place)
            if found is None:
                raise
        else:
            assert rescue is not None
            found = await rescue.head(place)
            if found is None:  # moved home by another process
                return await _head(target, key), target, key
        return _placed(found, target.name, rescued=True), rescue.bucket, rescued_key(place)

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

    def _new_file(self) -> Path:
        self.scratch_root.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=self.scratch_root)
        os.close(descriptor)
        return Path(path)


async def state_of(bucket: Bucket) -> State:
    """Whether a bucket answers now."""
    problem = f"it did not answer within {_ANSWER_SECS} seconds."
    with anyio.move_on_after(_ANSWER_SECS):
        try:
            await bucket.list(limit=1)
            return State(bucket.name, bucket.kind, True)
        except LakehouseError as error:
            problem = error.detail
    return State(bucket.name, bucket.kind, False, problem)


async def _write(target: Bucket, key: str, data: bytes | Path) -> None:
    await (target.put_file(key, data) if isinstance(data, Path) else target.put(key, data))


async def _head(bucket: Bucket, key: str) -> Placed:
    return _placed(await bucket.head(key), bucket.name)


def _placed(found: StoredObject, bucket: str, rescued: bool = False) -> Placed:
    return Placed(found.key, found.size, found.etag, found.modified, bucket, rescued)


def _second_name(path: Path) -> Path:
    """A file under one more name, since a put that fails takes the first."""
    spare = path.with_name(f"{path.name}.spare")
    try:
        os.link(path, spare)
    except OSError:  # a file system without links
        shutil.copyfile(path, spare)
    return spare


def _size(data: bytes | Path) -> int:
    return data.stat().st_size if isinstance(data, Path) else len(data)
