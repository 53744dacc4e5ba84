"""One entry of the journal, how others have one written, and its form in files."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lakehouse.engine.bucket import Bucket
from lakehouse.errors import Upstream

PREFIX = "_journal/"
_HASH = b"lakehouse.sha256"  # of a file's events, in its schema; the format itself keeps no checksums of its pages
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Event:
    """What was done to what, by whom, in which call. `ts` is UTC; ids sort like the time.

    `appended` ones were written by a caller, in words of its own; all others by Lakehouse, of what it did itself.
    """

    id: str
    ts: str
    actor: str
    action: str
    entity_type: str
    entity_id: str
    before: Any = None
    after: Any = None
    correlation_id: str | None = None
    appended: bool = False

    def line(self) -> dict[str, Any]:
        """As one line of the write-ahead file has it."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)}


class Record(Protocol):
    """Has an event written; see Journal.record."""

    async def __call__(
        self,
        action: str,
        entity_type: str,
        entity_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None: ...


async def unrecorded(
    action: str,
    entity_type: str,
    entity_id: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """For parts that stand alone: nobody keeps a journal."""


def micros_of(id: str) -> int:
    """When an event was, by its id: microseconds since 1970."""
    return int(id[:14], 16)


def event_of(line: Mapping[str, Any]) -> Event | None:
    """An event of a line; None for what is none."""
    try:
        return Event(**{name: value for name, value in line.items() if name in Event.__dataclass_fields__})
    except TypeError:
        return None


def key_of(first: Event) -> str:
    """The object that holds the events from this one on."""
    return f"{PREFIX}{first.ts[:10]}/{first.id}.parquet"


def encoded(events: Sequence[Event]) -> bytes:
    """Events as a Parquet file; `before` and `after` are JSON texts in it. It blocks."""
    import pyarrow
    import pyarrow.parquet

    text = ("id", "ts", "actor", "action", "entity_type", "entity_id", "before", "after", "correlation_id")
    columns: dict[str, Any] = {name: pyarrow.array([_text(name, e) for e in events], pyarrow.string()) for name in text}
    columns["appended"] = pyarrow.array([e.appended for e in events], pyarrow.bool_())
    table = pyarrow.table(columns)
    sink = pyarrow.BufferOutputStream()
    marked = table.replace_schema_metadata({_HASH: _hash(table.to_pylist())})
    pyarrow.parquet.write_table(marked, sink, compression="zstd")
    return bytes(sink.getvalue())


def decoded(data: bytes, key: str) -> list[Event]:
    """The events of a Parquet file. It blocks. Raises Upstream for one that is damaged."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        rows = table.to_pylist()
        # Files of earlier versions have none.
        if (table.schema.metadata or {}).get(_HASH) not in (None, _hash(rows)):
            raise Upstream(f"the journal's file {key} has other events than were stored.")
        for row in rows:
            for name in ("before", "after"):
                row[name] = None if row[name] is None else json.loads(row[name])
        return [event for row in rows if (event := event_of(row)) is not None]
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise Upstream(f"the journal's file {key} cannot be read ({type(error).__name__}).") from error


async def days(bucket: Bucket) -> list[str]:
    """The days that have files, the newest first."""
    return sorted(filter(_DAY.fullmatch, await bucket.names(PREFIX)), reverse=True)


async def keys_of(bucket: Bucket, day: str) -> list[str]:
    """The files of a day, the newest first."""
    found: Iterable[str] = (stored.key for stored in (await bucket.list(f"{PREFIX}{day}/", limit=None)).objects)
    return sorted((key for key in found if _named(key)), reverse=True)


def id_of(key: str) -> str:
    """The id of the first event in a file."""
    return key.rpartition("/")[2].removesuffix(".parquet")


def _named(key: str) -> bool:
    id = id_of(key)
    return key.endswith(".parquet") and len(id) == 22 and set(id) <= set("0123456789abcdef")


def _hash(rows: list[dict[str, Any]]) -> bytes:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest().encode()


def _text(name: str, event: Event) -> str | None:
    value = getattr(event, name)
    return json.dumps(value) if name in ("before", "after") and value is not None else value
