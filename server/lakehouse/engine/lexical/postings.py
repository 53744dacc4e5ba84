"""Postings: in which texts a term stands, and how often. Imports numpy: load it in a worker thread."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PAGE = 65_536

Found = tuple[NDArray[Any], NDArray[Any]]  # the rows of a term, ascending, and how often it stands in each


class Words(Protocol):
    """Texts by row, as terms. `lengths` has the number of terms in each row: 0 where there is no text."""

    @property
    def lengths(self) -> NDArray[np.uint32]: ...

    @property
    def documents(self) -> int: ...

    @property
    def total(self) -> int: ...

    def find(self, term: str) -> Found | None:
        """The rows a term stands in."""


@dataclass(frozen=True)
class Counted:
    """The number of terms in each row, and what follows from it."""

    lengths: NDArray[np.uint32]

    @cached_property
    def documents(self) -> int:
        """How many rows have a term."""
        return int(np.count_nonzero(self.lengths))

    @cached_property
    def total(self) -> int:
        """How many terms there are in all rows, each counted as often as it stands there."""
        return int(self.lengths.sum(dtype=np.int64))


@dataclass(frozen=True)
class Postings(Counted):
    """The postings of texts that do not change, terms in the order of their UTF-8.

    `vocabulary` is all terms in a row, term t at `ends[t]:ends[t+1]`. Rows are numbered in pages of 65,536: those of
    term t in page p are `rows[starts[n]:starts[n+1]]` with n = t x pages + p, each without p x 65,536.
    """

    vocabulary: memoryview
    ends: NDArray[np.uint32]
    starts: NDArray[np.uint64]
    rows: NDArray[np.uint16]
    counts: NDArray[Any]

    @property
    def pages(self) -> int:
        return pages(len(self.lengths))

    def find(self, term: str) -> Found | None:
        """The rows of a term."""
        wanted, ends = term.encode(), self.ends

        def at(place: int) -> bytes:
            return bytes(self.vocabulary[ends[place] : ends[place + 1]])

        place = bisect_left(range(len(ends) - 1), wanted, key=at)
        if place == len(ends) - 1 or at(place) != wanted:
            return None
        some = self.pages
        starts = [int(start) for start in self.starts[place * some : (place + 1) * some + 1]]
        rows, counts = self.rows[starts[0] : starts[-1]], self.counts[starts[0] : starts[-1]]
        if some == 1:
            return rows, counts
        whole = rows.astype(np.uint32)
        for page in range(1, some):
            whole[starts[page] - starts[0] : starts[page + 1] - starts[0]] += np.uint32(page * PAGE)
        return whole, counts


def pages(rows: int) -> int:
    """How many pages so many rows have."""
    return max(1, -(-rows // PAGE))
