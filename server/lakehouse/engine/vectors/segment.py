"""One immutable segment: files written once, mapped, shared by every search. Load it in a worker thread.

rows.arrow   Arrow IPC file, uncompressed: id, meta (JSON text). Other columns may be added; readers go by name.
vec.f32      vectors x dimension float32, as they were given: for exact distances, retrieval and rebuilding
vec.i8       vectors x dimension codes for scanning (quantise.py)
step.f64     vectors float64: the size of a code step
norm.f64     vectors float64: the L2 norm
fields.bin   the metadata as typed columns (fields.py); a segment without it has them made when they are first needed
hash.u64     rows blake2b-64 hashes of the ids (little-endian), sorted; equal hashes stand beside each other
hash.row     rows uint32: the row of each hash
words.bin    the postings of the rows' texts, when one has a text (words.py)
seg.json     format.SegmentDoc

All numbers are little-endian. There is no 16-bit copy for the re-rank: gathering and scoring 100 rows of 384 takes 5 us
from 32 bits and 4 us from 16 (a row is a page either way), and exact distances need the 32-bit vectors anyway.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.engine.files import sha256_of
from lakehouse.engine.filters import Filter
from lakehouse.engine.lexical.postings import Postings
from lakehouse.engine.vectors import fields, masks, typed, words
from lakehouse.engine.vectors.batch import Rows
from lakehouse.engine.vectors.fields import Fields, Mask
from lakehouse.engine.vectors.format import FileRef, SegmentDoc, damaged, segment_key, write_segment_doc
from lakehouse.engine.vectors.mapping import mapped
from lakehouse.engine.vectors.quantise import Coded, Weights
from lakehouse.engine.vectors.rowset import inside
from lakehouse.engine.vectors.texts import Texts

ROWS, HASHES, HASH_ROWS = "rows.arrow", "hash.u64", "hash.row"
EXACT, CODES, STEPS, NORMS = "vec.f32", "vec.i8", "step.f64", "norm.f64"
DOC = "seg.json"
_STEP = 8192
_TOGETHER = 16  # ids are compared together, in a fifth of the time


class Segment:
    """An open segment. Reading it needs no lock; the files stay mapped until the last user lets go.

    `problem` is set when a file turned out to be damaged after the segment was opened.
    """

    def __init__(self, index: str, doc: SegmentDoc, check: str, paths: Mapping[str, Path]) -> None:
        self.index, self.doc, self.check = index, doc, check
        self.rows = doc.rows
        self.problem: str | None = None
        self._paths = paths
        for name, ref in doc.files.items():
            try:
                size = paths[name].stat().st_size
            except FileNotFoundError:
                raise damaged(self._key(name), "it is missing") from None
            if size != ref.size:
                raise damaged(self._key(name), f"it has {size} bytes instead of {ref.size}")
        shape = (doc.vectors, doc.dimension)
        self.coded = Coded(
            self._mapped(EXACT, np.float32, shape),
            self._mapped(CODES, np.int8, shape),
            self._mapped(STEPS, np.float64, shape[:1]),
            self._mapped(NORMS, np.float64, shape[:1]),
        )
        self._hashes: NDArray[np.uint64] = self._mapped(HASHES, np.uint64, (doc.rows,))
        self._hash_rows: NDArray[np.uint32] = self._mapped(HASH_ROWS, np.uint32, (doc.rows,))
        self._columns = self._map(fields.NAME) if fields.NAME in doc.files else None
        self._deriving = Lock()
        self.kept = masks.Kept()
        self._words = self._map(words.WORDS) if words.WORDS in doc.files else None
        table = self._opened()  # now: the files may be removed while a search still reads the segment
        self.ids: pa.LargeStringArray = table["id"]
        self.metas: pa.LargeStringArray = table["meta"]

    def _key(self, name: str) -> str:
        return segment_key(self.index, self.doc.id, name)

    def _mapped(self, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.doc.files[name].size != expected:
            raise damaged(self._key(name), f"it has {self.doc.files[name].size} bytes instead of {expected}")
        if not expected:  # nothing cannot be mapped
            return np.empty(shape, dtype)
        return np.frombuffer(self._map(name), dtype).reshape(shape)

    def _map(self, name: str) -> pa.Buffer:
        return mapped(self._paths[name], self._key(name))

    def _opened(self) -> pa.RecordBatch:
        mapped = self._map(ROWS)
        try:
            batch = pa.ipc.open_file(pa.BufferReader(mapped)).get_batch(0)
        except (pa.ArrowInvalid, OSError) as error:
            raise damaged(self._key(ROWS), "it is not an Arrow file") from error
        if len(batch) != self.rows:
            raise damaged(self._key(ROWS), f"it has {len(batch)} rows instead of {self.rows}")
        return batch

    @cached_property
    def names(self) -> Texts:
        """The ids, to be read one at a time."""
        return Texts(self.ids)

    @cached_property
    def details(self) -> Texts:
        """The metadata as JSON text, to be read one at a time."""
        return Texts(self.metas)

    @cached_property
    def pieces(self) -> masks.Pieces:
        """The rows that are pieces of documents."""
        return masks.Pieces(self.ids)

    @cached_property
    def weights(self) -> Weights:
        """What a scan multiplies the products of codes with."""
        return Weights.of(self.coded, self.doc.distance)

    @property
    def paths(self) -> Mapping[str, Path]:
        """Where its files lie, by their names."""
        return self._paths

    @cached_property
    def fields(self) -> Fields:
        """The metadata as typed columns."""
        if self._columns is None:
            return typed.of_texts(self.metas)
        try:
            return fields.read(self._columns, self.rows)
        except ValueError as error:
            raise damaged(self._key(fields.NAME), str(error)) from error

    def mask(self, wanted: Filter) -> Mask:
        """The rows a filter lets through; it cannot be written to."""
        with self._deriving:
            columns = self.fields
        return self.kept.get(wanted, lambda: masks.of(wanted, columns, self.metas))

    @cached_property
    def words(self) -> Postings:
        """The words of the rows' texts, for BM25. Raises IndexDamaged."""
        if self._words is None:
            return words.derived(self.metas)
        try:
            return words.opened(self._words, self.rows)
        except (ValueError, OverflowError) as error:
            raise damaged(self._key(words.WORDS), str(error)) from error

    @cached_property
    def places(self) -> NDArray[np.uint32]:
        """The place of each row among all by id."""
        import pyarrow.compute as pc  # 25 ms

        places = np.empty(self.rows, np.uint32)
        places[np.asarray(pc.sort_indices(self.ids))] = np.arange(self.rows, dtype=np.uint32)
        return places

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(ref.size for ref in self.doc.files.values())

    def find(self, ids: Sequence[str]) -> Rows:
        """The row of each id, -1 where there is none."""
        return self._find(ids, hashes_of(ids))

    def _find(self, ids: Sequence[str], hashes: NDArray[np.uint64]) -> Rows:
        rows = np.full(len(ids), -1, np.int64)
        left = np.searchsorted(self._hashes, hashes)
        near = np.flatnonzero(left < self.rows)
        near = near[self._hashes[left[near]] == hashes[near]]
        if len(near) > _TOGETHER:
            import pyarrow.compute as pc  # 25 ms, for which who opens an index need not wait

            first = self._hash_rows[left[near]].astype(np.int64)
            wanted = pa.array([ids[at] for at in near.tolist()], pa.large_string())
            same = pc.equal(self.ids.take(pa.array(first)), wanted).to_numpy(zero_copy_only=False)
            rows[near[same]] = first[same]
            near = near[~same]
        for at in near:
            place = left[at]
            while place < self.rows and self._hashes[place] == hashes[at]:
                row = int(self._hash_rows[place])
                if self.ids[row].as_py() == ids[at]:
                    rows[at] = row
                    break
                place += 1
        return rows

    def shared(self, other: "Segment") -> Rows:
        """The rows of this segment whose id the other one has too."""
        both = np.flatnonzero(inside(self._hashes, other._hashes))
        rows = self._hash_rows[both].astype(np.int64)
        ids = self.ids.take(pa.array(rows)).to_pylist() if len(rows) else []
        return np.sort(rows[other._find(ids, self._hashes[both]) >= 0])

    def verify(self, *, later: bool = False) -> list[str]:
        """Read every file against its checksum; the problems found, each naming the file.

        `later`, a file that is not there is no problem: what has it open reads on, whoever has cleared it away.
        """
        problems = []
        for name, ref in self.doc.files.items():
            try:
                if sha256_of(self._paths[name]) != ref.sha256:
                    problems.append(f"{self._key(name)}: its checksum differs")
            except OSError as error:
                if not (later and isinstance(error, FileNotFoundError)):
                    problems.append(f"{self._key(name)}: {error.strerror}")
        if problems:
            self.problem = problems[0]
        return problems


def write(
    folder: Path,
    id: str,
    dimension: int,
    distance: Any,
    ids: pa.LargeStringArray,
    metas: pa.LargeStringArray,
    vectors: int,
    blocks: Iterable[Coded],
) -> tuple[SegmentDoc, str]:
    """Write a segment's files into an empty folder; the description and its checksum. Rows with a vector come first.

    `blocks` give the vectors and codes of rows 0 to `vectors`-1 in order.
    """
    files = [_Hashed(folder / name) for name in (EXACT, CODES, STEPS, NORMS)]
    with ExitStack() as opened:
        for file in files:
            opened.enter_context(file)
        for block in blocks:
            columns = (block.vectors, block.codes, block.steps, block.norms)
            for file, values in zip(files, columns, strict=True):
                file.write(np.ascontiguousarray(values).data)
    with _Hashed(folder / ROWS) as rows:
        batch = pa.record_batch([ids, metas], names=["id", "meta"])
        with pa.PythonFile(rows, "w") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
    typing = typed.Typing()
    texts = (
        words.text_in(value) for values in typed.values_of(metas, typing) for value in values
    )  # read once for both
    postings = _pieces(folder / words.WORDS, words.packed(texts))
    with _Hashed(folder / fields.NAME) as typed_columns:
        fields.write(typing.done(), typed_columns)
    hashes = hashes_of(ids.to_pylist())
    order = np.argsort(hashes, kind="stable")
    with _Hashed(folder / HASHES) as sorted_hashes, _Hashed(folder / HASH_ROWS) as hash_rows:
        sorted_hashes.write(hashes[order].data)
        hash_rows.write(order.astype(np.uint32).data)
    written = [*files, rows, typed_columns, sorted_hashes, hash_rows, *postings]
    doc = SegmentDoc(id, dimension, distance, len(ids), vectors, {file.path.name: file.ref() for file in written})
    data, check = write_segment_doc(doc)
    (folder / DOC).write_bytes(data)
    return doc, check


def gathered(sources: Iterable[tuple[Coded, Rows]]) -> Iterator[Coded]:
    """The chosen rows of several sources as blocks of bounded size."""
    for coded, rows in sources:
        for start in range(0, len(rows), _STEP):
            yield coded[rows[start : start + _STEP]]


def hashes_of(ids: Sequence[str]) -> NDArray[np.uint64]:
    """The blake2b-64 hashes of ids."""
    digests = b"".join(hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64, copy=False)


def _pieces(path: Path, pieces: Iterable[bytes]) -> "list[_Hashed]":
    """A file of these pieces; none where there is nothing."""
    written = None
    for piece in pieces:
        written = written or _Hashed(path)
        written.write(piece)
    if written is None:
        return []
    written.close()
    return [written]


class _Hashed:
    """A file being written whose size and SHA-256 are known at the end without reading it again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._sha = hashlib.sha256()
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._sha.update(data)
        size = self._file.write(data)
        self._size += size
        return size

    def ref(self) -> FileRef:
        return FileRef(self._size, self._sha.hexdigest())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def __enter__(self) -> "_Hashed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
