"""Every call through the door, remembered: a ring of the newest in memory, all of them in a journal on disk."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine import moment
from lakehouse.engine.kept import Kept
from lakehouse.engine.log import Behind, Log, Tail
from lakehouse.engine.percentile import percentile
from lakehouse.engine.redact import Redactor
from lakehouse.errors import InvalidInput

GATHER_SECS = 0.005  # a write for each call, waited for, is 90 us of a call that takes 30
WORKFLOW = "workflow"
KEPT = ("id", "ts", "source", "op", "success", "parent")  # of a call that is kept whole
SOURCES = ("api", "http", "mcp", "cli", "python", "page", WORKFLOW, "chat", "scrum", "audit", "harness")


@dataclass(frozen=True)
class Op:
    """One observed call. Summaries and the error are cut at 500 characters, without credentials."""

    id: str
    ts: str
    source: str
    op: str
    success: bool
    duration_ms: float
    input_summary: str
    output_summary: str
    error: str | None = None
    parent: str | None = None
    workflow: str | None = None
    node_id: str | None = None


@dataclass(frozen=True)
class Stats:
    """What was observed since `since`: this start, and before it what the journal put back into the ring."""

    total: int
    failed: int
    success_rate: float | None
    by_source: dict[str, int]
    by_op: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    ring_size: int
    ring_capacity: int
    since: str
    persist_errors: int
    last_error: str | None


class Observer:
    """Records operations. A journal that cannot be written is counted and never fails the work it describes."""

    def __init__(self, home: Path, settings: config.Observer, redact: Redactor) -> None:
        self._journal = Log(home / "observer" / "ops.jsonl")
        self.kept = Kept(home, settings.keep_bytes, redact)
        self._ring: deque[Op] = deque(maxlen=settings.ring_size)
        self._capacity = settings.ring_size
        self._redact = redact
        self._since = moment.now()
        self._failed = 0
        self._by_source: Counter[str] = Counter()
        self._by_op: Counter[str] = Counter()
        self._persist_errors = 0
        self._last_error: str | None = None
        self._failing = threading.Lock()
        self._waiting: list[Op] = []
        self._turn = anyio.Lock(fast_acquire=True)
        # Its own thread: recording must not queue behind forty long jobs.
        self._thread = anyio.CapacityLimiter(1)
        self._behind = Behind(self._write, GATHER_SECS)

    async def start(self) -> None:
        """Refill the ring with the newest operations of earlier runs. An unreadable journal is reported in stats."""
        try:
            tail: Tail = await anyio.to_thread.run_sync(self._journal.tail, self._capacity, limiter=self._thread)
        except OSError as error:
            self._last_error = error.strerror or type(error).__name__
            return
        for record in tail.records:
            op = _op(record)
            if op is not None:
                self._count(op)
        if self._ring:
            self._since = self._ring[0].ts

    async def record_call(
        self,
        *,
        id: str,
        parent: str | None,
        source: str,
        op: str,
        input: Any,
        output: Any,
        error: str | None,
        seconds: float,
        settled: bool = True,
        workflow: str | None = None,
        node_id: str | None = None,
    ) -> None:
        """Keep one finished call; `error` is None for a success. Of a node: its workflow, and its path in the run.

        It survives the death of the process afterwards, or, not `settled`, some milliseconds later.

        Raises InvalidInput for an unknown source and an empty op.
        """
        _check_source(source)
        if not op.strip():
            raise InvalidInput("op: it is empty.", fix="Name the operation.")
        observed = Op(
            id=id,
            ts=moment.text_of(time.time() - seconds),
            source=source,
            op=op,
            success=error is None,
            duration_ms=round(seconds * 1000, 3),
            input_summary=self._redact.summary(input),
            output_summary="" if output is None else self._redact.summary(output),
            error=None if error is None else self._redact.text(error),
            parent=parent,
            workflow=workflow,
            node_id=node_id,
        )
        self._count(observed)
        if self.kept.limit:
            try:
                about = {name: getattr(observed, name) for name in KEPT}
                await self.kept.put(about, input, output)
            except OSError as failed:
                self._fail(1, failed.strerror or str(failed))
        if not settled:
            if not self._behind.put(observed):
                self._fail(1, "the disk does not keep up")
            return
        self._waiting.append(observed)
        async with self._turn:
            await self._flush()

    def recent(
        self, limit: int = 20, *, source: str | None = None, op: str | None = None, failed: bool = False
    ) -> list[Op]:
        """The newest operations, newest first; only those of a source, of a capability, or that failed when asked.

        Raises InvalidInput for an unknown source.
        """
        if source is not None:
            _check_source(source)
        found: list[Op] = []
        for one in reversed(self._ring):
            if len(found) >= limit:
                break
            if (source in (None, one.source)) and (op in (None, one.op)) and not (failed and one.success):
                found.append(one)
        return found

    def stats(self) -> Stats:
        """Counts, success rate and the durations of the operations in the ring (percentiles by nearest rank)."""
        total = self._by_source.total()
        durations = sorted(op.duration_ms for op in self._ring)
        return Stats(
            total=total,
            failed=self._failed,
            success_rate=(total - self._failed) / total if total else None,
            by_source=dict(sorted(self._by_source.items())),
            by_op=dict(sorted(self._by_op.items())),
            p50_ms=percentile(durations, 0.50) if durations else None,
            p95_ms=percentile(durations, 0.95) if durations else None,
            ring_size=len(self._ring),
            ring_capacity=self._capacity,
            since=self._since,
            persist_errors=self._persist_errors,
            last_error=self._last_error,
        )

    async def aclose(self) -> None:
        """Write what is still waiting and close the journal."""
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await self._flush()
                await anyio.to_thread.run_sync(self._behind.close, limiter=self._thread)
                await anyio.to_thread.run_sync(self._journal.close, limiter=self._thread)
                await self.kept.aclose()

    def _count(self, op: Op) -> None:
        self._ring.append(op)
        self._failed += not op.success
        self._by_source[op.source] += 1
        self._by_op[op.op] += 1

    async def _flush(self) -> None:
        """Write all that waits in one go: while one call writes, the others gather for the next."""
        batch, self._waiting = self._waiting, []
        if batch:
            await anyio.to_thread.run_sync(self._write, batch, limiter=self._thread)

    def _write(self, batch: list[Op]) -> None:
        try:
            self._journal.append([{k: v for k, v in vars(op).items() if v is not None} for op in batch])
        except OSError as error:
            self._fail(len(batch), error.strerror or str(error))

    def _fail(self, records: int, why: str) -> None:
        with self._failing:
            self._persist_errors += records
            self._last_error = why


def _op(record: dict[str, Any]) -> Op | None:
    try:
        return Op(**{field.name: record[field.name] for field in fields(Op) if field.name in record})
    except TypeError:  # another version's record, without what this one needs
        return None


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise InvalidInput(f"source: {source[:100]!r} is unknown.", fix=f"Known are {', '.join(SOURCES)}.")
