"""Rows of several segments as those of one: which are kept, and where they go. Load it in a worker thread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.engine.vectors.batch import Rows

Kept = tuple[Rows, Rows]  # rows with a vector, rows without


def split(rows: Rows, vectors: int) -> Kept:
    """Sorted rows of a segment, divided into those with a vector, which come first there, and the others."""
    at = int(np.searchsorted(rows, vectors))
    return rows[:at], rows[at:]


def places_after(kept: Sequence[Kept], counts: Sequence[int]) -> tuple[Rows, ...]:
    """For each source the new place of each of its rows, -1 for those that are not kept.

    The rows with a vector come first, source by source, then those without.
    """
    moved = tuple(np.full(count, -1, np.int64) for count in counts)
    at = 0
    for kind in (0, 1):
        for places, rows in zip(moved, kept, strict=True):
            places[rows[kind]] = np.arange(at, at + len(rows[kind]))
            at += len(rows[kind])
    return moved


def joined_texts(texts: Sequence[Sequence[Any]], kept: Sequence[Kept]) -> list[Any]:
    """The columns of ids and metadata of the kept rows, in their new order."""
    return [
        pa.concat_arrays(
            [
                columns[column].take(pa.array(rows[kind]))
                for kind in (0, 1)
                for columns, rows in zip(texts, kept, strict=True)
            ]
        )
        for column in (0, 1)
    ]
