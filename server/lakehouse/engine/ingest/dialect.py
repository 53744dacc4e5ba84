"""What a delimited file looks like: its delimiter and header, found in its first megabyte and never by a sniffer.

A sniffer that finds no consistent delimiter reads a ragged file as one column, and one open quote makes it give up
quoting altogether.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.plain import not_utf8
from lakehouse.errors import InvalidInput

DELIMITERS = (",", "\t", ";", "|")
HEAD_BYTES = 2**20
csv.field_size_limit(2**31 - 1)  # how much is read is bounded elsewhere
_COMPARED = 50  # rows whose cell count is compared with the header's


@dataclass(frozen=True)
class Dialect:
    """How a file is cut into cells. `names` are the header's, as written."""

    delimiter: str
    names: tuple[str, ...]


def examine(path: Path, delimiter: str | None = None, *, lenient: bool = False) -> Dialect:
    """Find the delimiter (unless given) and the header of a plain UTF-8 file; `lenient` of rows that are not UTF-8.

    Raises InvalidInput for an empty file, for bytes that are not UTF-8, and for a header that cannot name columns.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    whole = len(head) < HEAD_BYTES
    try:
        text = codecs.utf_8_decode(head, "surrogateescape" if lenient else "strict", whole)[0].removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise not_utf8(head.count(b"\n", 0, error.start) + 1, head[error.start : error.end]) from None
    if not text.strip():
        raise InvalidInput("the file is empty.", fix="It needs a header line and at least one row.")
    if delimiter is None:
        delimiter = _delimiter(text, whole)
    names = next(_records(text, delimiter, whole), None)
    if names is None:
        raise InvalidInput(
            "the header has no end within its first megabyte.", fix="Look for a quote that is opened and never closed."
        )
    if not any(name.strip() for name in names):
        raise InvalidInput("line 1 is blank where the header should be.", fix="Start the file with the column names.")
    if any("\udc80" <= mark <= "\udcff" for name in names for mark in name):
        raise not_utf8(1, delimiter.join(names).encode("utf-8", "surrogateescape"))
    if any("\x00" in name for name in names):
        raise InvalidInput(
            "the header holds NUL bytes; this looks like UTF-16 without a byte order mark.",
            fix='Give encoding="utf-16-le" or "utf-16-be".',
        )
    kinds.check_names(names, "the header")
    return Dialect(delimiter, tuple(names))


def _delimiter(text: str, whole: bool) -> str:
    """The candidate that cuts the header, and of those the one that cuts most rows into as many cells."""
    best, best_rank = DELIMITERS[0], (0.0, 1)
    for candidate in DELIMITERS:
        records = _records(text, candidate, whole)
        header = next(records, [])
        if len(header) < 2:
            continue
        counts = [len(record) for _, record in zip(range(_COMPARED), records, strict=False) if record]
        rank = (sum(c == len(header) for c in counts) / len(counts) if counts else 0.0, len(header))
        if rank > best_rank:
            best, best_rank = candidate, rank
    return best


def _records(text: str, delimiter: str, whole: bool) -> Iterator[list[str]]:
    """The complete records of a text that may have been cut off."""
    lines = sum(1 for _ in io.StringIO(text, newline=""))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for record in reader:
        if whole or reader.line_num < lines:
            yield record
