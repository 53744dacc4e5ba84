"""The journal of mutations: who changed what, when, from what to what. Events are added, and never changed."""

import json
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.acting import acting
from lakehouse.engine.bucket import Bucket, KeyNotFound
from lakehouse.engine.journal import event as form
from lakehouse.engine.journal.ahead import MAX_EVENTS, SPAN_SECS, Ahead, events_of
from lakehouse.engine.journal.event import Event, Record, micros_of, unrecorded
from lakehouse.engine.redact import MARK, Redactor, secret_name
from lakehouse.errors import InvalidInput, LakehouseError, TooLarge, Upstream

log = logging.getLogger("lakehouse")

FLUSH_SECS = 10.0
MAX_NAME = 200  # characters of what a caller's own event names
MAX_VALUE = 16 * 2**10  # bytes of JSON of its before, or after
_AT_ONCE = 16  # files read together
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


@dataclass
class Found:
    """Events, newest first, and the files that could not be read."""

    events: list[Event]
    problems: list[str] = field(default_factory=list)


def _never(work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    return False


class Journal:
    """Events of one data directory, and of all others that keep theirs in the same bucket.

    An event is on the disk when `record` returns. Every ten seconds, at a thousand events and at the end the new ones
    become a Parquet file in the bucket. A disk that cannot take an event does not undo what it tells of: that is
    counted in `unwritten` and logged.
    """

    def __init__(self, home: Path, bucket: Callable[[], Bucket], redact: Redactor, later: Later = _never) -> None:
        """`bucket` gives the one that keeps the files; it is asked for when it is needed."""
        self._ahead = Ahead(home / "journal")
        self._of_bucket = bucket
        self._redact = redact
        self._later = later
        self._waiting: list[Event] = []
        self._lost: set[str] = set()
        self._turn = anyio.Lock(fast_acquire=True)
        self._flushing = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)
        self._last = 0
        self._fresh = False  # whether there are events that no flush has taken yet
        self._timed = False
        self._behind = ""
        self.unwritten = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, one sentence each."""
        lost = [f"{self.unwritten} events could not be written."] if self.unwritten else []
        return lost + ([f"Events wait on this disk: {self._behind}"] if self._behind else [])

    @property
    def _bucket(self) -> Bucket:
        return self._of_bucket()

    async def record(
        self,
        action: str,
        entity_type: str,
        entity_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one event of something that is done: what (ingest, drop, put, …) to what (dataset, object, index, …).

        `before` and `after` are what of it changed, small. It raises nothing.
        """
        await self._add(self._event(action, entity_type, entity_id, before, after, False))

    async def append(
        self, action: str, entity_type: str, entity_id: str, *, before: Any = None, after: Any = None
    ) -> Event:
        """Add a caller's own event. Who it is of is never theirs to say.

        Raises InvalidInput for names that are blank or too long, TooLarge, and Upstream when the disk fails.
        """
        for name, text in (("action", action), ("entity_type", entity_type), ("entity_id", entity_id)):
            if not text.strip() or len(text) > MAX_NAME:
                raise InvalidInput(f"{name}: it is blank, or over {MAX_NAME} characters.", fix="Use a short name.")
        for name, value in (("before", before), ("after", after)):
            if len(json.dumps(value)) > MAX_VALUE:
                raise TooLarge(f"{name}: it is over {MAX_VALUE} bytes of JSON.", fix="Give what changed of it only.")
        event = self._event(action, entity_type, entity_id, before, after, True)
        if not await self._add(event):
            raise Upstream("the event could not be written to the data directory's disk.", fix="Make room on it.")
        return event

    async def query(
        self,
        entity_type: str | None = None,
        entity_id: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 100,
    ) -> Found:
        """Events that fit all that is given, newest first.

        `since` and `until` are days or moments, both included. Raises InvalidInput, and Upstream when the bucket
        cannot be listed.
        """
        begin, end = _moment(since, "since", False), _moment(until, "until", True)

        def fits(event: Event) -> bool:
            return (
                entity_type in (None, event.entity_type)
                and entity_id in (None, event.entity_id)
                and action in (None, event.action)
                and actor in (None, event.actor)
                and (begin is None or event.ts >= begin)
                and (end is None or event.ts <= end)
            )

        # These first: what is flushed meanwhile is met twice, and never missed.
        fresh = await anyio.to_thread.run_sync(self._ahead.events, limiter=self._thread)
        found = {event.id: event for event in fresh if fits(event)}
        answer = Found([])
        for day in await form.days(self._bucket):
            if end is not None and day > end[:10]:
                continue
            if self._enough(found, limit, day, begin):
                break
            keys = await form.keys_of(self._bucket, day)
            for number in range(0, len(keys), _AT_ONCE):
                some = [key for key in keys[number : number + _AT_ONCE] if _may_hold(key, begin)]
                if not some or _full(found, limit, micros_of(form.id_of(some[0])) + SPAN_SECS * 10**6):
                    break
                for event in await self._read(some, answer.problems):
                    if fits(event):
                        found[event.id] = event
        answer.events = [found[id] for id in sorted(found, reverse=True)[:limit]]
        return answer

    async def flush(self) -> None:
        """Put what is new into the bucket. What cannot be stays on the disk for the next time."""
        async with self._flushing:
            self._fresh = False
            try:
                for path in await anyio.to_thread.run_sync(self._ahead.seal, limiter=self._thread):
                    await self._flush(path)
                self._behind = ""
            except (LakehouseError, OSError) as error:
                why = error.detail if isinstance(error, LakehouseError) else str(error.strerror)
                self._fresh, self._behind = True, why
                log.warning("journal.flush_failed %s", why)

    async def aclose(self) -> None:
        """Put what is new into the bucket, and close the files."""
        with anyio.CancelScope(shield=True):
            self._later = _never
            await self.flush()
            await anyio.to_thread.run_sync(self._ahead.close, limiter=self._thread)

    def _event(self, action: str, entity_type: str, entity_id: str, before: Any, after: Any, appended: bool) -> Event:
        actor = acting.get()
        self._last = micros = max(self._last + 1, time.time_ns() // 1000)
        clean = self._redact.whole
        return Event(
            id=f"{micros:014x}{os.urandom(4).hex()}",
            ts=moment.text_of(micros / 10**6),
            actor=clean(actor.name),
            action=clean(action),
            entity_type=clean(entity_type),
            entity_id=clean(entity_id),
            before=clean(_masked(before)),
            after=clean(_masked(after)),
            correlation_id=actor.call,
            appended=appended,
        )

    async def _add(self, event: Event) -> bool:
        """Write an event, together with others that come at the same time; whether that was done."""
        self._waiting.append(event)
        with anyio.CancelScope(shield=True):  # what it tells of is done
            async with self._turn:
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._write(batch)
        if event.id in self._lost:
            self._lost.remove(event.id)
            return False
        if not self._timed:
            self._timed = self._later(self._flush_soon)
        return True

    async def _write(self, batch: list[Event]) -> None:
        try:
            await anyio.to_thread.run_sync(self._ahead.append, batch, limiter=self._thread)
            self._fresh = True
        except OSError as error:
            self.unwritten += len(batch)
            self._lost.update(event.id for event in batch)
            log.error("journal.unwritten %s events: %s", len(batch), error.strerror)
        if self._ahead.count >= MAX_EVENTS:
            self._later(self.flush)

    async def _flush_soon(self) -> None:
        try:
            while True:
                await anyio.sleep(FLUSH_SECS)
                await self.flush()
                if not self._fresh:
                    return
        finally:
            self._timed = False

    async def _flush(self, path: Path) -> None:
        events = await anyio.to_thread.run_sync(events_of, path, limiter=self._thread)
        if events:
            events.sort(key=lambda event: event.id)
            data = await anyio.to_thread.run_sync(form.encoded, events)
            # Not create-only: the same file again is the same object, and no other has its name.
            await self._bucket.put(form.key_of(events[0]), data)
        await anyio.to_thread.run_sync(self._ahead.remove, path, limiter=self._thread)

    async def _read(self, keys: list[str], problems: list[str]) -> list[Event]:
        found: list[list[Event]] = [[] for _ in keys]

        async def read(place: int, key: str) -> None:
            try:
                data = await self._bucket.get(key)
                found[place] = await anyio.to_thread.run_sync(partial(form.decoded, data, key))
            except KeyNotFound:
                return  # it has just been removed, by hand
            except Upstream as error:
                problems.append(error.detail)

        async with anyio.create_task_group() as tasks:
            for place, key in enumerate(keys):
                tasks.start_soon(read, place, key)
        return [event for events in found for event in events]

    def _enough(self, found: Mapping[str, Event], limit: int, day: str, begin: str | None) -> bool:
        """Whether nothing of a day can be wanted any more. A file may hold the first seconds of the day after."""
        last = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1, seconds=SPAN_SECS)
        if begin is not None and moment.text_of(last.timestamp()) < begin:
            return True
        return _full(found, limit, int(last.timestamp() * 10**6))


def _full(found: Mapping[str, Event], limit: int, newest: int) -> bool:
    """Whether there are enough events already that are newer than a moment, in microseconds."""
    return len(found) >= limit and sum(micros_of(id) > newest for id in found) >= limit


def _may_hold(key: str, begin: str | None) -> bool:
    return begin is None or moment.text_of(micros_of(form.id_of(key)) / 10**6 + SPAN_SECS) >= begin


def _moment(text: str | None, name: str, end: bool) -> str | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if end and len(text.strip()) == 10:
            found += timedelta(days=1, microseconds=-1)
        return moment.text_of(found.timestamp())
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            f"{name}: {text[:80]!r} is no moment.", fix="Write 2026-05-01 or 2026-05-01T12:00:00Z."
        ) from None


def _masked(value: Any) -> Any:
    """The value as JSON data, what is called like a credential hidden."""
    if isinstance(value, Mapping):
        return {str(k): MARK if v is not None and secret_name(str(k)) else _masked(v) for k, v in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list | tuple) else value


__all__ = ["Event", "Found", "Journal", "Record", "unrecorded"]
