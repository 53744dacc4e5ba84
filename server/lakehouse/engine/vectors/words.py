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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.engine.lexical.postings import PAGE, Postings, pages

WORDS = "words.bin"
LAYOUT = 1
_BLOCK = 4096
_HEADER = 40


def text_of(meta: str) -> str:
    """The text of a row's metadata; empty where there is none."""
    if '"text"' not in meta:
        return ""
    return text_in(json.loads(meta))


def text_in(value: Any) -> str:
    """The text in metadata; empty where there is none."""
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def derived(metas: pa.LargeStringArray) -> Postings:
    """The postings of the texts in metadata."""
    from lakehouse.engine.lexical.indexing import build  # who opens an index need not wait for it

    return build(_texts(metas))


def packed(texts: Iterable[str]) -> Iterator[bytes]:
    """The contents of words.bin for the rows' texts, piece by piece; nothing when no row has a text."""
    from lakehouse.engine.lexical.indexing import build

    postings = build(texts)
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


def opened(data: pa.Buffer, rows: int) -> Postings:
    """The postings in words.bin of a segment with so many rows, mapped. Raises ValueError when it is no such file."""
    layout, own, terms, postings, width = (int(n) for n in np.frombuffer(data, np.uint64, 5))
    if layout != LAYOUT or own != rows or width not in (1, 2, 4):
        raise ValueError("it does not begin like a file of words")
    at = _HEADER

    def part(kind: Any, size: int) -> Any:
        nonlocal at
        found = np.frombuffer(data, kind, size, at)
        at += found.nbytes + -found.nbytes % 8
        return found

    starts, ends = part(np.uint64, terms * pages(rows) + 1), part(np.uint32, terms + 1)
    lengths, places, counts = part(np.uint32, rows), part(np.uint16, postings), part(f"u{width}", postings)
    vocabulary = memoryview(part(np.uint8, int(ends[-1])))
    ordered = (starts[1:] >= starts[:-1]).all() and (ends[1:] >= ends[:-1]).all()
    if not ordered or starts[-1] != postings or not _inside(starts, places, rows):
        raise ValueError("its parts do not fit together")
    return Postings(lengths, vocabulary, ends, starts, places, counts)


def _inside(starts: Any, places: Any, rows: int) -> bool:
    """Whether the postings in the last page, the only one that is not full, are of rows that there are."""
    every = pages(rows)
    edges = np.stack([starts[every - 1 : -1 : every], starts[every::every]], 1).astype(np.int64)
    edges = edges[edges[:, 0] < edges[:, 1]].ravel()
    if not len(edges):
        return True
    largest = np.maximum.reduceat(places, edges[:-1] if edges[-1] == len(places) else edges)[::2].max()
    return bool(largest < rows - (every - 1) * PAGE)


def _texts(metas: pa.LargeStringArray) -> Iterator[str]:
    for start in range(0, len(metas), _BLOCK):
        yield from map(text_of, metas[start : start + _BLOCK].to_pylist())
