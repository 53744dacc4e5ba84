"""The words of a segment's texts, for BM25: its file words.bin. Load it in a worker thread.

A row's text is its metadata's `text`, where that is a string. words.bin is, little-endian and in this order:

header       5 uint64: layout (1), rows, terms, postings, bytes of a count
starts       terms x pages + 1 uint64: where the postings of each term in each page of 65,536 rows begin
ends         terms+1 uint32: where each term begins in the vocabulary
lengths      rows uint32: how many terms each row has
rows         postings uint16: the row within its page, ascending
counts       postings uint8, uint16 or uint32: how often the term stands in the row
vocabulary   the terms in UTF-8, sorted by it

Each part begins at a multiple of 8. A segment without any text has no such file, nor has one of an earlier version:
its words are derived in memory when they are first asked for.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.engine.lexical.postings import Postings, build, pages

WORDS = "words.bin"
LAYOUT = 1
_BLOCK = 4096
_HEADER = 40


def text_of(meta: str) -> str:
    """The text of a row's metadata; empty where there is none."""
    if '"text"' not in meta:
        return ""
    value = json.loads(meta)
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def derived(metas: pa.LargeStringArray) -> Postings:
    """The postings of the texts in metadata."""
    return build(_texts(metas))


def packed(metas: pa.LargeStringArray) -> Iterator[bytes]:
    """The contents of words.bin, piece by piece; nothing when no row has a text."""
    postings = derived(metas)
    if not postings.total:
        return
    parts: tuple[Any, ...] = (
        postings.starts,
        postings.ends,
        postings.lengths,
        postings.rows,
        postings.counts,
        np.frombuffer(postings.vocabulary, np.uint8),
    )
    sizes = (len(postings.lengths), len(postings.ends) - 1, len(postings.rows), postings.counts.itemsize)
    yield np.array([LAYOUT, *sizes], np.uint64).tobytes()
    for part in parts:
        yield part.tobytes()
        yield bytes(-part.nbytes % 8)


def opened(data: pa.Buffer) -> Postings:
    """The postings in words.bin, mapped. Raises ValueError when it is not such a file."""
    layout, rows, terms, postings, count = (int(n) for n in np.frombuffer(data, np.uint64, 5))
    if layout != LAYOUT:
        raise ValueError(f"its layout {layout} is not {LAYOUT}")
    at = _HEADER

    def part(kind: Any, size: int) -> Any:
        nonlocal at
        found = np.frombuffer(data, kind, size, at)
        at += found.nbytes + -found.nbytes % 8
        return found

    starts, ends, lengths = part(np.uint64, terms * pages(rows) + 1), part(np.uint32, terms + 1), part(np.uint32, rows)
    own, counts = part(np.uint16, postings), part(f"u{count}", postings)
    found = Postings(memoryview(part(np.uint8, int(ends[-1]))), ends, starts, own, counts, lengths)
    if (
        starts[-1] != postings
        or (own >= rows).any()
        or (starts[1:] < starts[:-1]).any()
        or (ends[1:] < ends[:-1]).any()
    ):
        raise ValueError("its parts do not fit together")
    return found


def _texts(metas: pa.LargeStringArray) -> Iterator[str]:
    for start in range(0, len(metas), _BLOCK):
        yield from map(text_of, metas[start : start + _BLOCK].to_pylist())
