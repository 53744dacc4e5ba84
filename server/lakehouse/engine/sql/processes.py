"""What the query processes of all readers share: places to run in, and a bound on how many processes there are."""

import time
from typing import TYPE_CHECKING

import anyio

from lakehouse import config

if TYPE_CHECKING:
    from lakehouse.engine.sql.pool import Pool

IDLE_SECS = 60  # a reader's processes end when it asked nothing for so long, and somebody else asks


class Processes:
    """`sql.workers` places for queries, whoever asks; one process more than that, a warm spare, is the most there are.

    Each reader bound to a profile has processes of its own. When all are there, the idle ones of whoever asked nothing
    for the longest end first.
    """

    def __init__(self, settings: config.Sql) -> None:
        self.most = settings.workers + 1
        self.slots = anyio.Semaphore(settings.workers, fast_acquire=True)
        self._pools: list[Pool] = []

    def join(self, pool: "Pool") -> None:
        """Count a pool's processes among those there may be."""
        self._pools.append(pool)

    def leave(self, pool: "Pool") -> None:
        """It has none any more."""
        if pool in self._pools:
            self._pools.remove(pool)

    @property
    def room(self) -> bool:
        """Whether another process may be started without one ending."""
        return sum(pool.size for pool in self._pools) < self.most

    async def make_room(self, pool: "Pool", needed: bool) -> None:
        """End idle processes of others: where it is `needed`, until this pool may start one; and those long unused."""
        if len(self._pools) == 1:
            return
        others = sorted((other for other in self._pools if other is not pool), key=lambda other: other.used_at)
        long_ago = time.monotonic() - IDLE_SECS
        for other in others:
            while other.used_at < long_ago and await other.end_idle():
                pass
        for other in others:
            # Nothing is awaited between the last look and the start that follows.
            while needed and not self.room and await other.end_idle():
                pass
