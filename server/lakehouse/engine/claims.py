"""Claims on the data files of a bucket: between a gc that removes what nothing names, and a writer about to name it.

A data file is named by its contents, so a writer may find the very file it wants there already, unnamed, and a gc may
be about to remove it. A version must never be acknowledged whose file is then removed. The rules:

Writer. (w1) See whether the object is there already. (w2) If so, or if it will be put otherwise than now (a restore
names files of an older version; a large upload counts from its beginning), publish a *hold* that names it. (w3) Wait
until no *condemnation* names it. (w4) Put it, create-only. (w5) Commit a manifest that names it, within half the grace
of w2 or w4; later, hold it again first, and see that it is there.

Gc. (g1) Publish a condemnation that names all it means to remove. (g2) Read the holds. (g3) List the manifests and the
data files again. (g4) Remove, within the lease counted from before g1, and each key once, those of g1 that no hold
names, no version that stays names, and that are older than the grace. (g5) Withdraw the condemnation.

Why that is enough, on a store where a listing shows what was put before it. Take a file that a writer commits. Where
a g1 that names it came before the end of w3, the writer waited for its g5, or for longer than the lease; nothing is
removed after that, and w4 puts the file anew if it is gone. Where g1 came after w3, and the file was there at w1, g2
sees the hold; where it was not, what g3 lists was put after w1 and is young; where that is long ago, w5 is done, and
g3 sees the manifest. A hold is withdrawn only after its commit, and g3 follows g2, so one of the two is seen. A hold
that nobody withdraws, since its writer died, counts for the grace. The grace is measured by the store's own clock, the
lease by each one's own monotonic clock, so no two clocks are compared. Numbers of versions are never used twice, as
the newest manifest of a dataset stays, even a dropped one's: a removal that a network repeats late meets no other one.

Where one process alone writes to the bucket (the data directory's own, or storage.single_writer), all of this is done
in memory; what an earlier process left of it means nothing.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

from lakehouse.engine.bucket import Bucket, KeyNotFound, StoredObject
from lakehouse.errors import LakehouseError

HELD, CONDEMNED = "_catalog/_held/", "_catalog/_condemned/"
GRACE_SECS = 3600.0  # from a put to the commit that names it; a running query may read as long what was superseded
LEASE_SECS = 60.0  # in which a gc removes what it condemned
MARGIN_SECS = 60.0  # what a request may take that was sent at the end of the lease
_LARGE = 64 * 2**20  # a hold costs nothing beside such an upload
_FORGET_SECS = 24 * 3600


@dataclass
class Condemned:
    """What a gc may remove until `ends` (monotonic); `now` is the time by the store's clock."""

    keys: frozenset[str]
    ends: float
    now: float
    over: anyio.Event = field(default_factory=anyio.Event)

    @property
    def lapsed(self) -> bool:
        """Whether nothing may be removed any more."""
        return time.monotonic() >= self.ends


class Claims:
    """The claims on one bucket's files. `alone` says that no other process writes there."""

    def __init__(self, bucket: Bucket, *, alone: bool, lease: float = LEASE_SECS, margin: float = MARGIN_SECS) -> None:
        self._bucket, self._alone = bucket, alone
        self._lease, self._margin = lease, margin
        self._here: dict[int, Condemned] = {}  # what this process condemned
        self._holds: dict[str, frozenset[str]] = {}  # holds of this process, by the key of their object
        self._since: dict[str, float] = {}  # when this process put or held a file it has not committed yet
        self._seen: dict[str, float] = {}  # others' condemnations, since when they are known here

    async def ready(self, key: str, size: int) -> None:
        """Before a data file of so many bytes is put: w1 to w3."""
        self._note([key])
        if await self._bucket.exists(key) or (self._bucket.remote and size >= _LARGE):
            await self.hold([key])
        else:
            await self._clear(frozenset([key]))

    async def put(self, key: str, seconds: float) -> None:
        """After a data file was put, which took so long."""
        if seconds > GRACE_SECS / 4:
            await self.hold([key])
        self._note([key])

    async def hold(self, keys: Collection[str]) -> None:
        """Keep files from being removed until they are committed, or the grace is over. See then that they are there.

        Raises Upstream.
        """
        named = frozenset(keys)
        if not named:
            return
        name = f"{HELD}{secrets.token_hex(16)}.json"
        if not self._alone:
            await self._bucket.put(name, json.dumps(sorted(named)).encode(), create=True)
        self._holds[name] = named
        self._note(named)
        await self._clear(named)

    def stale(self, keys: Collection[str]) -> list[str]:
        """Those of this process' own files that were put or held so long ago that they may be gone."""
        now = time.time()
        return [key for key in keys if not 0 <= now - self._since.get(key, now) < GRACE_SECS / 2]

    async def release(self, keys: Collection[str]) -> None:
        """Withdraw what held files that are committed now. What cannot be withdrawn ends with the grace."""
        for key in keys:
            self._since.pop(key, None)
        over = [name for name, named in self._holds.items() if named <= frozenset(keys)]
        for name in over:
            del self._holds[name]
        if over and not self._alone:
            with suppress(LakehouseError):
                await self._bucket.delete_all(over)

    @asynccontextmanager
    async def condemn(self, keys: Collection[str]) -> AsyncIterator[Condemned]:
        """Publish what is to be removed, for as long as the block runs."""
        named = frozenset(keys)
        ends = time.monotonic() + self._lease
        name = f"{CONDEMNED}{secrets.token_hex(16)}.json"
        if self._alone:
            condemned = Condemned(named, float("inf"), time.time())
        else:
            await self._bucket.put(name, json.dumps(sorted(named)).encode(), create=True)
            condemned = Condemned(named, ends, (await self._bucket.head(name)).modified)
        self._here[id(condemned)] = condemned
        try:
            yield condemned
        finally:
            del self._here[id(condemned)]
            condemned.over.set()
            if not self._alone:
                with anyio.CancelScope(shield=True):
                    await self._bucket.delete(name)

    async def held(self, now: float, grace: float) -> set[str]:
        """The files that writers hold; `now` is the store's time. Removes what killed processes left."""
        if self._alone:
            oldest = time.time() - grace
            return {key for named in self._holds.values() for key in named if self._since.get(key, 0) >= oldest}
        found: set[str] = set()
        for stored in (await self._bucket.list(HELD, limit=None)).objects:
            if stored.modified >= now - grace:
                found |= await self._named(stored)
        return found

    async def tidy(self, now: float, grace: float) -> None:
        """Remove the claims of processes that were killed; `now` is the store's time."""
        left: list[str] = []
        for prefix, age in ((HELD, grace), (CONDEMNED, self._lease + self._margin)):
            listed = (await self._bucket.list(prefix, limit=None)).objects
            left += [stored.key for stored in listed if self._alone or stored.modified < now - age]
        await self._bucket.delete_all(left)

    def _note(self, keys: Collection[str]) -> None:
        now = time.time()
        if len(self._since) > 1000:
            self._since = {key: at for key, at in self._since.items() if now - at < _FORGET_SECS}
        self._since |= dict.fromkeys(keys, now)

    async def _clear(self, keys: frozenset[str]) -> None:
        """Wait until nothing condemns one of the keys, and nothing can be removed any more that did."""
        if self._alone:
            for condemned in [*self._here.values()]:
                if condemned.keys & keys:
                    await condemned.over.wait()
            return
        pause = 0.1
        while await self._blocked(keys):
            await anyio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _blocked(self, keys: frozenset[str]) -> bool:
        now = time.monotonic()
        listed = (await self._bucket.list(CONDEMNED, limit=None)).objects
        self._seen = {stored.key: self._seen.get(stored.key, now) for stored in listed}
        for stored in listed:
            if now - self._seen[stored.key] <= self._lease + self._margin and keys & await self._named(stored):
                return True
        return False

    async def _named(self, stored: StoredObject) -> set[str]:
        try:
            return set(json.loads(await self._bucket.get(stored.key)))
        except KeyNotFound:
            return set()  # withdrawn meanwhile
