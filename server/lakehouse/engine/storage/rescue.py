"""Callers' objects whose bucket failed: kept in another one, read from there, and moved home later."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from lakehouse.engine.bucket import Bucket, KeyNotFound, StoredObject, check_key
from lakehouse.errors import InvalidInput, LakehouseError, Unavailable, Upstream

PREFIX = "_rescue/"
Place = tuple[str, str]  # a bucket's name and a key


@dataclass(frozen=True)
class Replayed:
    """What came of a replay: objects that are home now, those a later put had replaced, those left, and why."""

    moved: tuple[Place, ...]
    superseded: tuple[Place, ...]
    left: int
    problem: LakehouseError | None = None


class Rescue:
    """The bucket that stands in for others.

    What is rescued is the newest its caller put, so it is what is read, until it is replayed or put or deleted anew.
    Which keys wait is listed once a process; what another process rescues is found when the target has nothing.
    """

    def __init__(self, bucket: Bucket, buckets: Mapping[str, Bucket]) -> None:
        self.bucket = bucket
        self._buckets = buckets
        self._waiting: set[Place] | None = None
        self._locks: WeakValueDictionary[Place, anyio.Lock] = WeakValueDictionary()

    def lock(self, place: Place) -> anyio.Lock:
        """Who writes a key while its rescued copy may be on the way home holds this."""
        return self._locks.setdefault(place, anyio.Lock(fast_acquire=True))

    async def has(self, place: Place) -> bool:
        """Whether an object is known to wait here."""
        if self._waiting is None:
            try:
                self._waiting = {each for each, _ in await self._listed()}
            except (Upstream, Unavailable):
                return False
        return place in self._waiting

    async def put(self, place: Place, data: bytes | Path) -> None:
        """Keep an object. Raises Upstream, or InvalidInput when its key is too long to be kept here."""
        key = key_of(place)
        if isinstance(data, Path):
            await self.bucket.put_file(key, data)
        else:
            await self.bucket.put(key, data)
        if self._waiting is not None:
            self._waiting.add(place)

    async def head(self, place: Place) -> StoredObject | None:
        """The rescued object under its own key; None when there is none, or this bucket fails, too."""
        try:
            found = await self.bucket.head(key_of(place))
        except (KeyNotFound, InvalidInput, Upstream, Unavailable):
            return None
        return StoredObject(place[1], found.size, found.etag, found.modified)

    async def forget(self, place: Place) -> None:
        """Remove what was rescued of a key, if anything: it has been put or deleted since. Raises Upstream."""
        if await self.has(place):
            await self.bucket.delete(key_of(place))
            if self._waiting is not None:
                self._waiting.discard(place)

    async def replaced(self, place: Place) -> None:
        """A newer object is in the bucket itself: what was rescued of the key is not read any more, and removed."""
        if await self.has(place):
            assert self._waiting is not None
            self._waiting.discard(place)
            with suppress(Upstream, Unavailable):  # then a replay sees that it is the older one
                await self.bucket.delete(key_of(place))

    async def waiting(self) -> int | None:
        """How many objects wait here; None when the bucket does not say."""
        try:
            return len(await self._listed())
        except (Upstream, Unavailable):
            return None

    async def replay(self, scratch: Path) -> Replayed:
        """Move what is rescued to its own bucket, oldest first; stops at the first error, which it returns.

        An object that was written to its bucket after it was rescued is newer, and stays.
        """
        listed = await self._listed()
        self._waiting = {place for place, _ in listed}
        moved: list[Place] = []
        superseded: list[Place] = []
        for place, found in sorted(listed, key=lambda each: (each[1].modified, each[1].key)):
            try:
                async with self.lock(place):
                    if place in self._waiting:
                        (moved if await self._move(place, found, scratch) else superseded).append(place)
            except LakehouseError as error:
                return Replayed(tuple(moved), tuple(superseded), len(listed) - len(moved) - len(superseded), error)
        return Replayed(tuple(moved), tuple(superseded), 0)

    async def _move(self, place: Place, found: StoredObject, scratch: Path) -> bool:
        target = self._buckets.get(place[0])
        if target is None:
            raise Unavailable(
                f"{found.key!r} was rescued for bucket {place[0]!r}, which there is no more.",
                fix="Configure that bucket again, or delete the object in the rescue bucket.",
            )
        try:
            there = (await target.head(place[1])).modified
        except KeyNotFound:
            there = None
        newer = there is not None and there > found.modified
        if not newer:
            path = scratch / "object"
            await self.bucket.get_to(found.key, path)
            await target.put_file(place[1], path)
        with anyio.CancelScope(shield=True):
            await self.forget(place)
        return not newer

    async def _listed(self) -> list[tuple[Place, StoredObject]]:
        objects = (await self.bucket.list(PREFIX, limit=None)).objects
        found = [(each.key.removeprefix(PREFIX).partition("/"), each) for each in objects]
        return [((name, key), each) for (name, slash, key), each in found if slash]


def key_of(place: Place) -> str:
    """The key of a rescued object. Raises InvalidInput when it is too long."""
    return check_key(f"{PREFIX}{place[0]}/{place[1]}")
