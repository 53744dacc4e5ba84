"""Pages of a kept result: characters of a text, rows of an Arrow file, rows of JSON lines."""

import bisect
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pydantic_core

from lakehouse.errors import InvalidInput, TooLarge

MAX_INLINE = 16 * 2**20  # bytes of one answer
MAX_ROWS = 10_000  # rows of one page
# What a page holds when nobody says how much: it fits an MCP text of 50 KB with its JSON around it.
PAGE_CHARS = 20_000
PAGE_BYTES = 32_000
_BLOCK_CHARS = 65_536
_BLOCK_LINES = 100


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


@dataclass(frozen=True)
class Lines:
    """A table as JSON lines, one a row: where every hundredth begins in bytes, and what the value has beside rows."""

    data: bytes
    starts: list[int]
    rest: dict[str, Any]

    @classmethod
    def of(cls, value: Any) -> "Lines | None":
        """The lines of a value that has columns and several rows; None for any other value.

        A single row over the size of an answer can only be read as text, so one row is not a table.
        """
        if not isinstance(value, dict) or not _table(value.get("columns"), value.get("rows")):
            return None
        data, starts = bytearray(), []
        for number, row in enumerate(value["rows"]):
            if number % _BLOCK_LINES == 0:
                starts.append(len(data))
            data += encoded(row)[1] + b"\n"
        return cls(bytes(data), starts, {key: inner for key, inner in value.items() if key != "rows"})

    @staticmethod
    def read(path: Path, starts: Sequence[int], offset: int) -> Iterator[list[Any]]:
        """The rows from `offset` on."""
        block = offset // _BLOCK_LINES
        if block >= len(starts):
            return
        with path.open("rb") as file:
            file.seek(starts[block])
            for line in islice(file, offset % _BLOCK_LINES, None):
                yield json.loads(line)

    @staticmethod
    def joined(rest: dict[str, Any], lines: str) -> str:
        """The JSON text of the whole value."""
        rows = lines.rstrip("\n").replace("\n", ",")  # within a row a line break is escaped
        return f'{dumped(rest)[:-1]},"rows":[{rows}]}}'


def encoded(value: Any) -> tuple[str, bytes]:
    """A value as compact JSON, as text and as UTF-8. Raises InvalidInput when it is not JSON."""
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


def dumped(value: Any) -> str:
    """A value as compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def blocks_of(text: str) -> list[int]:
    """Where each block of characters begins in the text's UTF-8, for `text_from`."""
    blocks, position = [], 0
    for start in range(0, len(text), _BLOCK_CHARS):
        blocks.append(position)
        position += len(text[start : start + _BLOCK_CHARS].encode())
    return blocks


def text_from(path: Path, blocks: Sequence[int], offset: int, limit: int) -> str:
    """Characters from `offset` on, read from where their block begins."""
    first, last = offset // _BLOCK_CHARS, (offset + limit - 1) // _BLOCK_CHARS
    if first >= len(blocks):
        return ""
    with path.open("rb") as file:
        file.seek(blocks[first])
        data = file.read(blocks[last + 1] - blocks[first] if last + 1 < len(blocks) else -1)
    return data.decode()[offset - first * _BLOCK_CHARS :][:limit]


def fitting(text: str, room: int) -> str:
    """As much of the beginning as is at most `room` bytes of JSON, but at least one character."""
    while len(text) > 1 and (size := len(dumped(text).encode())) > room:
        text = text[: max(1, int(len(text) * min(0.95, room / size)))]
    return text


def within(rows: Iterable[list[Any]], offset: int, limit: int, room: int) -> list[list[Any]]:
    """As many rows as fit into `limit` and into `room` bytes of JSON, but at least one; the first is row `offset`.

    Raises TooLarge for a first row over 16 MiB.
    """
    kept: list[list[Any]] = []
    for row in islice(rows, limit):
        size = len(dumped(row).encode()) + 1
        if not kept and size > MAX_INLINE:
            raise TooLarge(
                f"row {offset} alone is over {MAX_INLINE} bytes.",
                fix="Query fewer columns, or a part of the long text with substring().",
            )
        room -= size
        if kept and room < 0:
            break
        kept.append(row)
    return kept


def measured(path: Path) -> tuple[list[int], int]:
    """Where each record batch of an Arrow IPC file begins, in rows, and how many rows there are.

    Raises InvalidInput when it is no Arrow IPC file.
    """
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


def rows_of_arrow(path: Path, starts: Sequence[int], offset: int, types: Sequence[str]) -> Iterator[list[Any]]:
    """The rows from `offset` on of an Arrow IPC file whose columns have these DuckDB types."""
    import pyarrow

    from lakehouse.engine.arrow_json import rows_of

    with pyarrow.memory_map(str(path)) as source:
        reader = pyarrow.ipc.open_file(source)
        for place in range(max(0, bisect.bisect_right(starts, offset) - 1), len(starts)):
            batch = reader.get_batch(place)
            # About a megabyte at a time, so that a small page of wide rows does not encode a whole batch.
            step = max(1, min(100, 2**20 * batch.num_rows // max(1, batch.nbytes)))
            for begin in range(max(0, offset - starts[place]), batch.num_rows, step):
                yield from rows_of([batch.slice(begin, step)], types=types)


def _table(columns: Any, rows: Any) -> bool:
    return (
        isinstance(columns, list)
        and all(isinstance(column, dict) for column in columns)
        and isinstance(rows, list)
        and len(rows) > 1
        and all(isinstance(row, list) for row in rows)
    )
