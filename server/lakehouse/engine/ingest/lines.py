"""Where rows of a finished Parquet file stand in the source they were read from. Runs in the reading process."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq

from lakehouse.engine.ingest.quarantine import REJECTS, Rejects, Text, rows_of
from lakehouse.engine.ingest.rows import Fault

TEXT = ("csv", "tsv", "json", "jsonl")
BROKEN = Path("broken.parquet")
Place = tuple[int, str | None, bool]  # the line, the row as it was written, whether it is one that could be read


def of_text(path: Path, text: Text) -> Iterator[Place]:
    """The rows of a plain text source."""
    for row in rows_of(path, text):
        yield row.line, row.raw.decode("utf-8", "replace"), row.fault is None


def of_numbers() -> Iterator[Place]:
    """The rows of a source that has no lines: their numbers."""
    return ((number, None, True) for number in count(1))


def found(rows: Iterator[Place], wanted: Sequence[int]) -> list[tuple[int, int]]:
    """The lines of rows by number, ascending."""
    if not wanted:
        return []
    pairs, left = [], set(wanted)
    for number, line, _ in _stored(rows):
        if number in left:
            pairs.append((number, line))
            left.remove(number)
        if not left:
            break
    return pairs


def merged(rows: Iterator[Place]) -> list[tuple[int, int]]:
    """Write what is set aside already and the broken rows as one file of rejects, in the order of the source."""
    broken = [tuple(row.values()) for batch in pq.ParquetFile(BROKEN).iter_batches() for row in batch.to_pylist()]
    old = pq.read_table(REJECTS).to_pylist() if REJECTS.exists() else []
    fresh = Path("rejects-all.parquet")
    waiting, pending = iter(broken), iter(old)
    row, reject = next(waiting, None), next(pending, None)
    with Rejects(fresh) as rejects:
        for number, line, raw in _stored(rows):
            if row is None:
                break
            while reject is not None and reject["line"] <= line:
                rejects.add(reject["line"], Fault(reject["column"], reject["value"], reject["reason"]), reject["raw"])
                reject = next(pending, None)
            if row[0] == number:
                _, column, value, reason, written = row
                rejects.add(line, Fault(column, value or "", reason), raw if raw is not None else written)
                row = next(waiting, None)
        while reject is not None:
            rejects.add(reject["line"], Fault(reject["column"], reject["value"], reject["reason"]), reject["raw"])
            reject = next(pending, None)
    fresh.replace(REJECTS)
    return []


def _stored(rows: Iterator[Place]) -> Iterator[tuple[int, int, str | None]]:
    """The rows that were stored: their number, line and text."""
    aside: Counter[tuple[int, str | None]] = Counter()
    if REJECTS.exists():
        for batch in pq.ParquetFile(REJECTS).iter_batches(columns=["line", "raw"]):
            aside.update((row["line"], row["raw"]) for row in batch.to_pylist())
    number = 0
    for line, raw, sound in rows:
        if not sound:
            continue
        # Of a source without lines, a row is known by its number alone.
        if aside and (aside.get((line, raw), 0) > 0 or (raw is None and any(place == line for place, _ in aside))):
            aside[line, raw] -= 1
            continue
        number += 1
        yield number, line, raw
