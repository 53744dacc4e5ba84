"""The queries that were asked: when, by whom, over which versions, how long they took and how they ended."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.acting import acting
from lakehouse.engine.log import Behind, Log
from lakehouse.engine.redact import Redactor

KEPT = 10_000  # in memory, newest first to be looked through; all of them are in the file
CUT = 2000  # characters of a statement that are kept
_GATHER_SECS = 0.005  # a write for each query, waited for, takes as long as a tenth of a small one

log = logging.getLogger("lakehouse")


@dataclass
class Entry:
    """A query that is asked: what becomes known of it on the way."""

    sql: str
    profile: str | None = None
    scope: str | None = None
    began: float = field(default_factory=time.perf_counter)
    outcome: str = "cancelled"
    read: Sequence[tuple[str, int]] = ()
    rows: int = 0
    bytes: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Asked:
    """One query that ended. `datasets` are name@version; the outcome is ok, cancelled, or an error's code.

    `scope` is the digest of what `profile` was bound to then.
    """

    ts: str
    who: str
    sql: str
    outcome: str
    ms: float
    datasets: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0
    error: str | None = None
    call: str | None = None
    profile: str | None = None
    scope: str | None = None


class History:
    """Remembers queries, over restarts too. One that cannot be written is counted and fails no query."""

    def __init__(self, home: Path, redact: Redactor, slow_ms: float) -> None:
        self.lost = 0
        self._log = Log(home / "sql" / "history.jsonl", max_bytes=16 * 2**20)
        self._behind = Behind(self._write, _GATHER_SECS)
        self._redact, self._slow_ms = redact, slow_ms
        self._ring: deque[Asked] = deque(maxlen=KEPT)
        self._loading = anyio.Lock(fast_acquire=True)
        self._loaded = False
        self._counting = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Remember a query that ended now. It survives the death of the process some milliseconds later."""
        actor, seconds = acting.get(), time.perf_counter() - entry.began
        past = Asked(
            ts=moment.text_of(time.time() - seconds),
            who=actor.name,
            sql=self._redact.text(entry.sql.strip(), CUT),
            outcome=entry.outcome,
            ms=round(seconds * 1000, 3),
            datasets=tuple(f"{name}@{version}" for name, version in entry.read),
            rows=entry.rows,
            bytes=entry.bytes,
            error=None if entry.error is None else self._redact.text(entry.error),
            call=actor.call,
            profile=entry.profile,
            scope=entry.scope,
        )
        self._ring.append(past)
        if not self._behind.put(past):
            self._lose(1)
        if self._slow_ms and past.ms >= self._slow_ms:
            about = {
                "ms": past.ms,
                "outcome": past.outcome,
                "who": past.who,
                "datasets": past.datasets,
                "sql": past.sql,
            }
            log.warning("sql.slow %s", json.dumps(about, ensure_ascii=False))

    async def recent(
        self,
        limit: int = 20,
        *,
        min_ms: float = 0,
        failed_only: bool = False,
        contains: str | None = None,
        scope: str | None = None,
    ) -> list[Asked]:
        """Queries, newest first: those that took so long, that failed, whose text has this in it.

        With a profile's digest as the scope, only those that were asked under it as it is now: what it was bound to
        before may not be its reader's to know.
        """
        await self._load()
        part = contains.casefold() if contains else ""
        found: list[Asked] = []
        for past in reversed(self._ring):
            if (
                past.ms >= min_ms
                and not (failed_only and past.outcome == "ok")
                and part in past.sql.casefold()
                and scope in (None, past.scope)
            ):
                found.append(past)
                if len(found) == limit:
                    break
        return found

    async def aclose(self) -> None:
        """Write what waits, and let the file go."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._behind.close)
            await anyio.to_thread.run_sync(self._log.close)

    async def _load(self) -> None:
        """Put the queries of earlier runs before those of this one."""
        async with self._loading:
            if self._loaded:
                return
            earlier = await anyio.to_thread.run_sync(self._earlier)
            known = {(past.ts, past.sql, past.call) for past in self._ring}
            older = [past for past in earlier if (past.ts, past.sql, past.call) not in known]
            newer = list(self._ring)
            self._ring.clear()
            self._ring.extend([*older, *newer])
            self._loaded = True

    def _earlier(self) -> list[Asked]:
        try:
            records = self._log.tail(KEPT).records
        except OSError:
            return []
        found = [_past(record) for record in records]
        return [past for past in found if past is not None]

    def _write(self, batch: list[Asked]) -> None:
        try:
            self._log.append([{k: v for k, v in asdict(past).items() if v is not None} for past in batch])
        except OSError:
            self._lose(len(batch))

    def _lose(self, count: int) -> None:
        with self._counting:
            self.lost += count


def _past(record: dict[str, Any]) -> Asked | None:
    try:
        given = {each.name: record[each.name] for each in fields(Asked) if each.name in record}
        return Asked(**given | {"datasets": tuple(given.get("datasets", ()))})
    except TypeError:  # another version's record
        return None
