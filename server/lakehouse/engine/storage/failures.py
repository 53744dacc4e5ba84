"""The journal of buckets' failures: an object each in the primary bucket, and a table in the data directory to list."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engine import moment
from lakehouse.engine.bucket import Bucket
from lakehouse.engine.log import Behind
from lakehouse.engine.redact import Redactor
from lakehouse.errors import InvalidInput, LakehouseError

if TYPE_CHECKING:
    import sqlite_utils

log = logging.getLogger("lakehouse")

PREFIX = "_errors/"
_KEPT = 10_000  # rows of the table
_GATHER_SECS = 0.005
_REST_SECS = 30.0  # a bucket that did not take a record is not asked again for so long


@dataclass(frozen=True)
class Failure:
    """What a bucket failed at: when, the operation, the bucket, the key, the error; whether the object was rescued."""

    id: str
    ts: str
    op: str
    bucket: str
    key: str
    error_class: str
    message: str
    rescued: bool = False


_held: ContextVar[list[Failure] | None] = ContextVar("held", default=None)


class Failures:
    """Takes failures without waiting and without failing; a thread writes them.

    Each is an object `_errors/<day>/<ts>-<random>.json` of the primary bucket and a row of the table. Where one cannot
    be written the other is, and the log says it in any case.
    """

    def __init__(self, home: Path, primary: Bucket, redact: Redactor | None) -> None:
        self._path = home / "storage" / "errors.db"
        self._primary = primary
        self._redact = redact
        self._behind = Behind(self._write, _GATHER_SECS)
        self._fresh: dict[str, Failure] = {}  # not in the table yet
        self._table_lock = threading.Lock()
        self._rests_until = 0.0
        self._closing = False

    def tell(self, bucket: str, op: str, key: str, error: LakehouseError) -> None:
        """Note a failure."""
        name = f"{int(time.time() * 1e6):016d}-{secrets.token_hex(4)}"
        found = Failure(name, moment.now(), op, bucket, key, type(error).__name__, error.detail)
        held = _held.get()
        if held is not None:
            held.append(found)
        else:
            self._take(found)

    @contextmanager
    def held(self) -> Iterator[list[Failure]]:
        """Keep this task's failures back until the block ends; whoever has the list may say that all was rescued."""
        kept: list[Failure] = []
        token = _held.set(kept)
        try:
            yield kept
        finally:
            _held.reset(token)
            for one in kept:
                self._take(one)

    def newest(self, limit: int, since: str | None) -> list[Failure]:
        """The newest failures first, those not before `since` (RFC 3339, or a day); blocking. Raises InvalidInput."""
        after = _moment(since) if since else ""
        found = {one.id: self._cleaned(one) for one in list(self._fresh.values()) if one.ts >= after}
        try:
            with self._table_lock:
                for row in self._rows(limit, after):
                    found[row["id"]] = Failure(**{**row, "rescued": bool(row["rescued"])})
        except Exception as error:  # SQLite has many ways to fail; what is in memory is shown all the same
            log.warning("storage.errors_unkept %s", type(error).__name__)
        return sorted(found.values(), key=lambda one: one.id, reverse=True)[:limit]

    def close(self) -> None:
        """Return when what came is written; blocking. A bucket that rests is not waited for."""
        self._closing = True
        self._behind.close()
        self._closing = False

    def _take(self, found: Failure) -> None:
        if len(self._fresh) < _KEPT and self._behind.put(found):
            self._fresh[found.id] = found

    def _write(self, batch: list[Failure]) -> None:
        cleaned = [self._cleaned(one) for one in batch]
        for one in cleaned:
            log.warning("storage.failed %s %s://%s: %s", one.op, one.bucket, one.key, one.message)
        try:
            self._insert(cleaned)
        except Exception as error:  # the log has them, and memory for a while: no call may fail of this
            log.warning("storage.errors_unkept %s", type(error).__name__)
            for one in cleaned:
                self._fresh[one.id] = one
        else:
            for one in cleaned:
                self._fresh.pop(one.id, None)
        for one in cleaned:
            self._store(one)

    def _cleaned(self, one: Failure) -> Failure:
        if self._redact is None:
            self._redact = Redactor()
        key, message = self._redact.whole([one.key, one.message])
        return replace(one, key=key, message=message)

    def _store(self, one: Failure) -> None:
        if time.monotonic() < self._rests_until or (self._closing and one.bucket == self._primary.name):
            return
        record = {name: value for name, value in asdict(one).items() if name != "id"}
        try:
            self._primary.put_aside(f"{PREFIX}{one.ts[:10]}/{one.id}.json", json.dumps(record).encode())
        except Exception as error:  # the table and the log have it
            self._rests_until = time.monotonic() + _REST_SECS
            log.warning("storage.errors_unstored %s", type(error).__name__)

    def _insert(self, batch: list[Failure]) -> None:
        with self._table_lock, self._table() as database:
            with database.atomic():
                database.table("errors").insert_all([asdict(one) for one in batch], pk="id", replace=True)
                database.execute(
                    "DELETE FROM errors WHERE id <= (SELECT id FROM errors ORDER BY id DESC LIMIT 1 OFFSET ?)", [_KEPT]
                )

    def _rows(self, limit: int, after: str) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._table() as database:
            if not database["errors"].exists():
                return []
            return list(database["errors"].rows_where("ts >= ?", [after], order_by="id desc", limit=limit))

    @contextmanager
    def _table(self) -> "Iterator[sqlite_utils.Database]":
        import sqlite_utils

        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite_utils.Database(str(self._path))
        try:
            yield database
        finally:
            database.close()


def _moment(since: str) -> str:
    try:
        found = datetime.fromisoformat(since.strip())
        return moment.text_of((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"since: {since[:80]!r} is no moment.", fix="Write 2026-05-01T12:00:00Z.") from None
