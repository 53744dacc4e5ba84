"""Results too large for one answer, kept on disk under an unguessable id and read back in pages."""

import bisect
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import pydantic_core

from lakehouse import config
from lakehouse.engine import files
from lakehouse.errors import InvalidInput, NotFound, TooLarge, Upstream

T = TypeVar("T")
Given = TypeVarTuple("Given")
URI = "lakehouse://results/"
MAX_INLINE = 16 * 2**20  # bytes of one answer
MAX_ROWS = 10_000  # rows of one page
# What a page holds when nobody says how much: it fits an MCP text of 50 KB with its JSON around it.
PAGE_CHARS = 20_000
PAGE_BYTES = 32_000
_BLOCK = 65_536
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RowPage:
    """Some rows of a kept table. `complete` is False when the result itself was cut before it was kept."""

    columns: list[dict[str, Any]]
    rows: list[list[Any]]
    row_count: int
    offset: int
    next_offset: int | None
    complete: bool


@dataclass(frozen=True)
class TextPage:
    """A piece of a kept JSON text; all pieces in order are exactly the text."""

    text: str
    offset: int
    next_offset: int | None
    total_chars: int


class Results:
    """Result handles in the data directory. Each is readable until it expires, or until the room is needed.

    A handle is a `<id>.note` beside its data: written last, so that one without the other is never seen.
    """

    def __init__(self, home: Path, settings: config.Results) -> None:
        self._folder = home / "results"
        self._settings = settings
        # Readers and writers of big results must not take every thread there is.
        self._threads = anyio.CapacityLimiter(4)

    @staticmethod
    def uri_of(id: str) -> str:
        """The handle of a result: its resource address."""
        return URI + id

    async def keep_json(self, value: Any) -> str:
        """Keep any JSON value; returns its id. NaN and infinities become null.

        Raises InvalidInput when it is not JSON, TooLarge over `results.max_bytes`, Upstream when the disk is full.
        """
        return await self._run(self._keep_json, value)

    async def keep_rows(self, columns: Sequence[dict[str, Any]], path: Path, row_count: int, complete: bool) -> str:
        """Keep a finished Arrow IPC file, which is moved here; returns its id.

        `columns` are what pages call them (name and type), `complete` says whether these are all rows there were.

        Raises InvalidInput when the file is not Arrow IPC or does not hold `row_count` rows, TooLarge over
        `results.max_bytes`, Upstream when the disk is full.
        """
        return await self._run(self._keep_rows, list(columns), path, row_count, complete)

    async def read(self, id: str, offset: int = 0, limit: int | None = None) -> RowPage | TextPage:
        """A page of a result: rows of a table, characters of a JSON text, from `offset` on, at most `limit` of them.

        Without a limit the page has the size that suits a model's context. `id` may be the whole address.

        Raises NotFound for an unknown or expired id, InvalidInput for a bad offset or limit, TooLarge when a single
        row does not fit into one answer.
        """
        if offset < 0 or (limit is not None and limit < 1):
            raise InvalidInput("offset, limit: offset is 0 or more, limit 1 or more.", fix="Leave them out.")
        return await self._run(self._read, id, offset, limit)

    async def whole(self, id: str) -> str:
        """The whole result as JSON text: the value, or `{columns, rows, row_count, complete}`.

        Raises NotFound, and TooLarge over 16 MiB.
        """
        return await self._run(self._whole, id)

    async def sweep(self) -> None:
        """Remove what expired and what a killed process left unfinished. Only before the first result is kept."""
        await self._run(self._sweep)

    async def _run(self, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        return await anyio.to_thread.run_sync(work, *args, limiter=self._threads)

    def _keep_json(self, value: Any) -> str:
        text, data = _encoded(value)
        blocks, position = [], 0
        for start in range(0, len(text), _BLOCK):
            blocks.append(position)
            position += len(text[start : start + _BLOCK].encode())
        self._make_room(len(data))
        id = secrets.token_hex(16)
        with _disk():
            files.write(self._folder / f"{id}.json", data, mode=0o600)
            self._write_note(id, {"kind": "json", "total_chars": len(text), "blocks": blocks})
        return id

    def _keep_rows(self, columns: list[dict[str, Any]], path: Path, row_count: int, complete: bool) -> str:
        starts, total = _measured(path)
        if total != row_count:
            raise InvalidInput(f"row_count: the file holds {total} rows, not {row_count}.", fix="Count again.")
        self._make_room(path.stat().st_size)
        id = secrets.token_hex(16)
        note = {"kind": "rows", "columns": columns, "row_count": row_count, "complete": complete, "starts": starts}
        with _disk():
            files.make_folder(self._folder)
            path.chmod(0o400)
            files.sync_file(path)
            files.place(path, self._folder / f"{id}.arrow")
            self._write_note(id, note)
        return id

    def _write_note(self, id: str, note: dict[str, Any]) -> None:
        files.write(self._folder / f"{id}.note", json.dumps(note).encode(), mode=0o600)

    def _read(self, id: str, offset: int, limit: int | None) -> RowPage | TextPage:
        with self._found(id) as (path, note):
            if note["kind"] == "json":
                total = note["total_chars"]
                text = _text(path, note["blocks"], offset, min(limit or PAGE_CHARS, MAX_INLINE // 4))
                end = offset + len(text)
                return TextPage(text, offset, end if text and end < total else None, total)
            if limit is not None and limit > MAX_ROWS:
                raise InvalidInput(f"limit: a page holds {MAX_ROWS} rows at most.", fix="Ask for several pages.")
            rows = _rows(path, note["starts"], offset, limit or MAX_ROWS, PAGE_BYTES if limit is None else MAX_INLINE)
            total, end = note["row_count"], offset + len(rows)
            after = end if rows and end < total else None
            return RowPage(note["columns"], rows, total, offset, after, note["complete"])

    def _whole(self, id: str) -> str:
        too_large = TooLarge(
            f"the result is over {MAX_INLINE} bytes, the most one answer holds.",
            fix="Read it in pages with get_result.",
        )
        with self._found(id) as (path, note):
            if note["kind"] == "json":
                if path.stat().st_size > MAX_INLINE:
                    raise too_large
                return path.read_text(encoding="utf-8")
            rows = _rows(path, note["starts"], 0, note["row_count"], MAX_INLINE)
        table = {"columns": note["columns"], "rows": rows, "row_count": note["row_count"], "complete": note["complete"]}
        text = _dumped(table)
        if len(rows) < note["row_count"] or len(text.encode()) > MAX_INLINE:
            raise too_large
        return text

    @contextmanager
    def _found(self, id: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The data file and the note of a result that is still readable."""
        id = id.removeprefix(URI)
        gone = NotFound(
            f"there is no result {id[:80]!r}; it may have expired.",
            fix=f"Results stay readable for {self._settings.keep_secs:g} seconds (results.keep_secs). Run it again.",
        )
        path = self._folder / f"{id}.note"
        try:
            if not _ID.fullmatch(id) or path.stat().st_mtime + self._settings.keep_secs <= time.time():
                raise gone
            note: dict[str, Any] = json.loads(path.read_bytes())
            yield path.with_suffix(".json" if note["kind"] == "json" else ".arrow"), note
        except FileNotFoundError:
            raise gone from None

    def _sweep(self) -> None:
        for path in self._folder.glob("*"):
            if path.suffix != ".note" and not path.with_suffix(".note").exists():
                _remove(path)
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Remove what expired, then the oldest, until `size` more bytes fit."""
        most = self._settings.max_bytes
        if size > most:
            raise TooLarge(
                f"the result has {size} bytes; handles hold {most}.", fix="Ask for less, or raise results.max_bytes."
            )
        expired = time.time() - self._settings.keep_secs
        kept: list[tuple[float, int, Path]] = []
        for note in self._folder.glob("*.note"):
            with suppress(FileNotFoundError):  # another thread is at it, too
                data = next((p for p in (note.with_suffix(".json"), note.with_suffix(".arrow")) if p.exists()), note)
                kept.append((note.stat().st_mtime, data.stat().st_size, note))
        room = most - size - sum(taken for _, taken, _ in kept)
        for kept_at, taken, note in sorted(kept):
            if kept_at > expired and room >= 0:
                break
            # The note first: without it there is no result.
            for path in (note, note.with_suffix(".json"), note.with_suffix(".arrow")):
                _remove(path)
            room += taken


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Upstream(
            f"the result could not be kept: {error.strerror or type(error).__name__}.",
            fix="Make room on the data directory's disk.",
        ) from error


def _encoded(value: Any) -> tuple[str, bytes]:
    """A value as compact JSON, as text and as UTF-8."""
    try:
        data = pydantic_core.to_json(value, inf_nan_mode="null")
        return data.decode(), data
    except (pydantic_core.PydanticSerializationError, UnicodeEncodeError):
        pass
    try:
        # Half a surrogate pair has no UTF-8, but it has an escape.
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"value: it is not JSON: {error}.", fix="Keep plain data.") from error
    return text, text.encode()


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _text(path: Path, blocks: Sequence[int], offset: int, limit: int) -> str:
    """Characters from `offset` on, read from where their block begins."""
    first, last = offset // _BLOCK, (offset + limit - 1) // _BLOCK
    if first >= len(blocks):
        return ""
    with path.open("rb") as file:
        file.seek(blocks[first])
        data = file.read(blocks[last + 1] - blocks[first] if last + 1 < len(blocks) else -1)
    return data.decode()[offset - first * _BLOCK :][:limit]


def _measured(path: Path) -> tuple[list[int], int]:
    """Where each record batch of an Arrow IPC file begins, in rows, and how many rows there are."""
    import pyarrow

    starts, total = [], 0
    try:
        with pyarrow.memory_map(str(path)) as source:
            reader = pyarrow.ipc.open_file(source)
            for place in range(reader.num_record_batches):
                starts.append(total)
                total += reader.get_batch(place).num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(
            f"path: it is not an Arrow IPC file ({type(error).__name__}).", fix="Write it with pyarrow.ipc.new_file."
        ) from error
    return starts, total


def _rows(path: Path, starts: Sequence[int], offset: int, limit: int, max_bytes: int) -> list[list[Any]]:
    """Rows from `offset` on, as many as fit into `limit` and into `max_bytes` of JSON, but at least one."""
    rows: list[list[Any]] = []
    room = max_bytes
    for row in islice(_rows_from(path, starts, offset), limit):
        size = len(_dumped(row).encode())
        if not rows and size > MAX_INLINE:
            raise TooLarge(
                f"row {offset} alone is over {MAX_INLINE} bytes.",
                fix="Query fewer columns, or a part of the long text with substring().",
            )
        room -= size
        if rows and room < 0:
            break
        rows.append(row)
    return rows


def _rows_from(path: Path, starts: Sequence[int], offset: int) -> Iterator[list[Any]]:
    import pyarrow

    from lakehouse.engine.arrow_json import rows_of

    with pyarrow.memory_map(str(path)) as source:
        reader = pyarrow.ipc.open_file(source)
        for place in range(max(0, bisect.bisect_right(starts, offset) - 1), len(starts)):
            batch = reader.get_batch(place)
            # About a megabyte at a time, so that a small page of wide rows does not encode a whole batch.
            step = max(1, min(100, 2**20 * batch.num_rows // max(1, batch.nbytes)))
            for begin in range(max(0, offset - starts[place]), batch.num_rows, step):
                yield from rows_of([batch.slice(begin, step)])
