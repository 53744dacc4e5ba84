"""Results too large for one answer, kept on disk under an unguessable id and read back in pages."""

import copy
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine import files
from lakehouse.engine.results.pages import (
    MAX_INLINE,
    MAX_ROWS,
    PAGE_BYTES,
    PAGE_CHARS,
    Lines,
    RowPage,
    TextPage,
    blocks_of,
    dumped,
    encoded,
    fitting,
    measured,
    rows_of_arrow,
    text_from,
    within,
)
from lakehouse.errors import InvalidInput, NotFound, TooLarge, Upstream

__all__ = ["MAX_INLINE", "MAX_ROWS", "PAGE_BYTES", "PAGE_CHARS", "Kept", "Results", "RowPage", "TextPage"]

T = TypeVar("T")
Given = TypeVarTuple("Given")
URI = "lakehouse://results/"
_ENVELOPE = 300  # bytes of a page beside its columns and its rows or text
_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIXES = {"json": ".json", "lines": ".jsonl", "rows": ".arrow"}


@dataclass(frozen=True)
class Kept:
    """The file of a result: Arrow IPC (`rows`), a JSON array a line (`lines`), or one JSON text (`json`)."""

    id: str
    path: Path
    kind: str
    columns: list[dict[str, Any]]
    row_count: int
    complete: bool


class Results:
    """Result handles in the data directory. Each is readable until it expires, or until the room is needed.

    A handle is a `<id>.note` beside its data: written last, so that one without the other is never seen.
    """

    def __init__(self, home: Path, settings: config.Results) -> None:
        self._folder = home / "results"
        self._settings = settings
        self._scope: str | None = None
        # Readers and writers of big results must not take every thread there is.
        self._threads = anyio.CapacityLimiter(4)

    def within(self, scope: str) -> "Results":
        """The same room, where only the results kept within this scope are found. Without a scope, all are."""
        bound = copy.copy(self)
        bound._scope = scope
        return bound

    @staticmethod
    def uri_of(id: str) -> str:
        """The handle of a result: its resource address."""
        return URI + id

    async def keep_json(self, value: Any) -> str:
        """Keep any JSON value; returns its id. NaN and infinities become null.

        A value that has `columns` and several `rows` is read back in pages of rows, any other in pages of its text.

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

    async def read(
        self, id: str, offset: int = 0, limit: int | None = None, max_bytes: int | None = None
    ) -> RowPage | TextPage:
        """A page of a result: rows of a table, characters of a JSON text, from `offset` on, at most `limit` of them.

        Without a limit the page has the size that suits a model's context. As JSON it is at most `max_bytes` long
        (16 MiB when absent), unless a single row is longer. `id` may be the whole address.

        Raises NotFound for an unknown or expired id, InvalidInput for a bad offset or limit, TooLarge when a single
        row does not fit into one answer.
        """
        if offset < 0 or (limit is not None and limit < 1):
            raise InvalidInput("offset, limit: offset is 0 or more, limit 1 or more.", fix="Leave them out.")
        return await self._run(self._read, id, offset, limit, max_bytes or MAX_INLINE)

    async def whole(self, id: str) -> str:
        """The whole result as JSON text: the value, or `{columns, rows, row_count, complete}`.

        Raises NotFound, and TooLarge over 16 MiB.
        """
        return await self._run(self._whole, id)

    async def file(self, id: str) -> Kept:
        """The file of a result, which stays until it expires or the room is needed. Raises NotFound."""
        return await self._run(self._file, id)

    async def ids(self) -> list[str]:
        """The ids of the results that can still be read, newest first."""
        return await self._run(self._ids)

    async def sweep(self) -> None:
        """Remove what expired and what a killed process left unfinished. Only before the first result is kept."""
        await self._run(self._sweep)

    async def _run(self, work: Callable[[Unpack[Given]], T], *args: *Given) -> T:
        return await anyio.to_thread.run_sync(work, *args, limiter=self._threads)

    def _keep_json(self, value: Any) -> str:
        lines = Lines.of(value)
        if lines is not None:
            note = {"kind": "lines", "rest": lines.rest, "row_count": len(value["rows"]), "starts": lines.starts}
            return self._keep(lines.data, note)
        text, data = encoded(value)
        return self._keep(data, {"kind": "json", "total_chars": len(text), "blocks": blocks_of(text)})

    def _keep(self, data: bytes, note: dict[str, Any]) -> str:
        self._make_room(len(data))
        id = secrets.token_hex(16)
        with _disk():
            files.write(self._folder / f"{id}{_SUFFIXES[note['kind']]}", data, mode=0o600)
            self._write_note(id, note)
        return id

    def _keep_rows(self, columns: list[dict[str, Any]], path: Path, row_count: int, complete: bool) -> str:
        starts, total = measured(path)
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
        note = note if self._scope is None else {**note, "scope": self._scope}
        files.write(self._folder / f"{id}.note", json.dumps(note).encode(), mode=0o600)

    def _read(self, id: str, offset: int, limit: int | None, max_bytes: int) -> RowPage | TextPage:
        with self._found(id) as (path, note):
            if note["kind"] == "json":
                total, room = note["total_chars"], max_bytes - _ENVELOPE
                room = min(room, PAGE_BYTES) if limit is None else room
                text = text_from(path, note["blocks"], offset, min(limit or PAGE_CHARS, MAX_INLINE // 4))
                text = fitting(text, room)
                end = offset + len(text)
                return TextPage(text, offset, end if text and end < total else None, total)
            if limit is not None and limit > MAX_ROWS:
                raise InvalidInput(f"limit: a page holds {MAX_ROWS} rows at most.", fix="Ask for several pages.")
            facts = note.get("rest", note)
            columns = facts["columns"]
            room = max_bytes - _ENVELOPE - len(dumped(columns).encode())
            room = min(room, PAGE_BYTES) if limit is None else room
            rows = within(_rows(path, note, offset), offset, limit or MAX_ROWS, room)
            total, end = note["row_count"], offset + len(rows)
            after = end if rows and end < total else None
            return RowPage(columns, rows, total, offset, after, bool(facts.get("complete", True)))

    def _whole(self, id: str) -> str:
        too_large = TooLarge(
            f"the result is over {MAX_INLINE} bytes, the most one answer holds.",
            fix="Read it in pages with get_result.",
        )
        with self._found(id) as (path, note):
            if note["kind"] != "rows":
                if path.stat().st_size > MAX_INLINE:
                    raise too_large
                text = path.read_text(encoding="utf-8")
                return text if note["kind"] == "json" else Lines.joined(note["rest"], text)
            rows = within(_rows(path, note, 0), 0, note["row_count"], MAX_INLINE)
        table = {"columns": note["columns"], "rows": rows, "row_count": note["row_count"], "complete": note["complete"]}
        text = dumped(table)
        if len(rows) < note["row_count"] or len(text.encode()) > MAX_INLINE:
            raise too_large
        return text

    def _file(self, id: str) -> Kept:
        with self._found(id) as (path, note):
            facts = note.get("rest", note)
            complete = bool(facts.get("complete", True))
            return Kept(path.stem, path, note["kind"], facts.get("columns", []), note.get("row_count", 0), complete)

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
            if self._scope not in (None, note.get("scope")):
                raise gone
            yield path.with_suffix(_SUFFIXES[note["kind"]]), note
        except FileNotFoundError:
            raise gone from None

    def _ids(self) -> list[str]:
        expired = time.time() - self._settings.keep_secs
        found: list[tuple[float, str]] = []
        for note in self._folder.glob("*.note"):
            with suppress(FileNotFoundError):  # it expires just now
                if self._scope in (None, json.loads(note.read_bytes()).get("scope")):
                    found.append((note.stat().st_mtime, note.stem))
        return [id for kept_at, id in sorted(found, reverse=True) if kept_at > expired]

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
                data = next((p for p in map(note.with_suffix, _SUFFIXES.values()) if p.exists()), note)
                kept.append((note.stat().st_mtime, data.stat().st_size, note))
        room = most - size - sum(taken for _, taken, _ in kept)
        for kept_at, taken, note in sorted(kept):
            if kept_at > expired and room >= 0:
                break
            # The note first: without it there is no result.
            for path in (note, *map(note.with_suffix, _SUFFIXES.values())):
                _remove(path)
            room += taken


def _remove(path: Path) -> None:
    with suppress(OSError):  # what cannot be removed now is tried again with the next result
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


def _rows(path: Path, note: dict[str, Any], offset: int) -> Iterator[list[Any]]:
    if note["kind"] == "lines":
        return Lines.read(path, note["starts"], offset)
    return rows_of_arrow(path, note["starts"], offset, [column["type"] for column in note["columns"]])
