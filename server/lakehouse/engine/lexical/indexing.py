"""Texts are indexed: postings made at once for many texts, or text by text. Load it in a worker thread."""

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.engine.lexical.analysis import SPACED, cut, terms
from lakehouse.engine.lexical.postings import PAGE, Counted, Found, Postings, pages

_ROWS = PAGE // 4  # of a block, at most
_TOGETHER = 256  # texts: from here on indexing them together takes a third of the time
_SIZE = 2**24  # of a block's texts, but for the last of them


def build(texts: Iterable[str]) -> Postings:
    """The postings of texts, row by row; an empty text has none. They are read a few thousand at a time."""
    vocabulary = _Vocabulary()
    done = list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]]()
    lengths = [np.empty(0, np.uint32)]
    base = 0
    for block in _blocks(texts):
        found, rows = _of(vocabulary, block)
        keys = np.sort(found * len(block) + rows)
        first = _changes(keys)
        own, row = np.divmod(keys[first], len(block))
        done.append((own, row + base, np.diff(first, append=len(keys)).astype(np.uint32)))
        lengths.append(np.bincount(rows, minlength=len(block)).astype(np.uint32))
        base += len(block)
    names = sorted((term.encode(), number) for term, number in vocabulary.numbers.items())
    order = np.array([number for _, number in names], np.int64)
    ends = np.cumsum([0, *(len(name) for name, _ in names)]).astype(np.uint32)
    # `free` is where the next row of a term in a page goes.
    spread = np.zeros((len(names), pages(base)), np.int64)
    for own, row, _ in done:
        if len(own):
            spread[:, row[0] // PAGE] += np.bincount(own, minlength=len(names))
    starts = np.append(0, np.cumsum(spread[order]))
    free = np.empty_like(spread)
    free[order] = starts[:-1].reshape(spread.shape)
    most = max((int(counts.max()) for _, _, counts in done if len(counts)), default=0)
    all_rows = np.empty(int(starts[-1]), np.uint16)
    all_counts = np.empty(int(starts[-1]), fitting(most))
    while done:
        own, row, counts = done.pop(0)
        first = _changes(own)
        runs, page = np.diff(first, append=len(own)), row[0] // PAGE if len(row) else 0
        places = np.arange(len(own)) + np.repeat(free[own[first], page] - first, runs)
        all_rows[places], all_counts[places] = row - page * PAGE, counts
        free[own[first], page] += runs
    vocabulary_bytes = memoryview(b"".join(name for name, _ in names))
    return Postings(np.concatenate(lengths), vocabulary_bytes, ends, starts.astype(np.uint64), all_rows, all_counts)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in blocks of bounded size; each lies in one page."""
    block: list[str] = []
    size = 0
    for row, text in enumerate(texts):
        if block and (row % _ROWS == 0 or size > _SIZE):
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    if block:
        yield block


def _changes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a sorted array has a value for the first time."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.empty(0, np.int64)


def fitting(largest: int) -> Any:
    """The smallest unsigned type, of 1, 2 or 4 bytes, that holds numbers up to `largest`."""
    return np.uint8 if largest < 256 else np.uint16 if largest < 65_536 else np.uint32


class _Vocabulary:
    """Numbers for terms, and what each word as it was written gives."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._words: dict[str, tuple[int, ...]] = {}

    def of(self, word: str) -> tuple[int, ...]:
        found = self._words.get(word)
        if found is None:
            found = tuple(self.numbers.setdefault(term, len(self.numbers)) for term in terms(word))
            self._words[word] = found
        return found


def _of(vocabulary: _Vocabulary, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The terms of texts by number, and the text each stands in."""
    import pyarrow.compute as pc  # 25 ms, for which a search need not wait

    packed = pa.array(texts, pa.large_string())
    buffers = packed.buffers()
    spaced = (buffers[2].to_pybytes() if buffers[2] is not None else b"").translate(SPACED)
    split = pc.ascii_split_whitespace(pa.LargeStringArray.from_buffers(len(packed), buffers[1], pa.py_buffer(spaced)))
    encoded = split.flatten().dictionary_encode()
    rows = np.repeat(np.arange(len(texts)), np.diff(np.asarray(split.offsets)))
    given = [vocabulary.of(word) for word in encoded.dictionary.to_pylist()]
    sizes = np.array([len(numbers) for numbers in given], np.int64)
    flat = np.array([number for numbers in given for number in numbers], np.int64)
    words = np.asarray(encoded.indices)
    repeats = sizes[words]
    # Term j of the word at place i: where the word's terms begin, plus j.
    shift = (np.cumsum(sizes) - sizes)[words] - (np.cumsum(repeats) - repeats)
    return flat[np.arange(int(repeats.sum())) + np.repeat(shift, repeats)], np.repeat(rows, repeats)


class Growing:
    """The postings of texts that become more. What was found for the first n texts stays true of them.

    From `together` new texts on they are indexed together.
    """

    def __init__(self, together: int = _TOGETHER) -> None:
        self._together = together
        self._one = threading.Lock()
        self._count = 0
        self._lengths = np.zeros(64, np.uint32)
        self._found: dict[str, tuple[array[int], array[int]]] = {}
        self._many: list[tuple[int, Postings]] = []  # rows that came together, from the first of them on

    def first(self, count: int, text: Callable[[int], str]) -> "First":
        """The postings of the first `count` texts; `text` gives that of a row, and only new ones are asked for."""
        with self._one:
            if count - self._count < self._together:
                for row in range(self._count, count):
                    self._add(row, text(row))
            else:
                self._add_many(list(map(text, range(self._count, count))))
            return First(self._lengths[:count], self)

    def _make_room(self, rows: int) -> None:
        if rows > len(self._lengths):
            self._lengths = np.append(self._lengths, np.zeros(rows, np.uint32))

    def _add_many(self, texts: list[str]) -> None:
        start, self._count = self._count, self._count + len(texts)
        self._make_room(self._count)
        self._many.append((start, build(texts)))
        self._lengths[start : self._count] = self._many[-1][1].lengths

    def _add(self, row: int, text: str) -> None:
        self._make_room(row + 1)
        often: dict[str, int] = {}
        for word in cut(text):
            for term in terms(word):
                often[term] = often.get(term, 0) + 1
        for term, count in often.items():
            found = self._found.get(term)
            if found is None:
                self._found[term] = array("I", (row,)), array("I", (count,))
            else:
                found[0].append(row)
                found[1].append(count)
        self._lengths[row] = sum(often.values())
        self._count = row + 1

    def _find(self, term: str) -> Found | None:
        with self._one:
            one_by_one, many = self._found.get(term), [*self._many]
            # Copies: an array that is looked at cannot grow.
            parts = (
                [] if one_by_one is None else [(np.array(one_by_one[0], np.uint32), np.array(one_by_one[1], np.uint32))]
            )
        for start, postings in many:
            found = postings.find(term)
            if found is not None:
                parts.append((found[0] + np.uint32(start), found[1].astype(np.uint32)))
        if len(parts) < 2:
            return parts[0] if parts else None
        rows, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(rows)
        return rows[order], counts[order]


@dataclass(frozen=True)
class First(Counted):
    """The postings of the first texts of growing ones."""

    growing: Growing

    def find(self, term: str) -> Found | None:
        """The rows of a term."""
        found = self.growing._find(term)
        if found is None:
            return None
        end = int(np.searchsorted(found[0], len(self.lengths)))
        return (found[0][:end], found[1][:end]) if end else None
