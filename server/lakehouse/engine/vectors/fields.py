"""Metadata as typed columns, so that a filter need not read JSON. Load it in a worker thread.

A column holds the values at one path ("state", "address.city") of the rows that have any: a kind for each, numbers as
64-bit floats where those are exact, texts as codes of a sorted dictionary, short lists of scalars as a column of their
members. What is left out is marked by its kind, and whoever must know reads the row's JSON: long texts, larger
integers, objects, other lists. Columns of few rows keep the rows' numbers and nothing for the others.

fields.bin   8 bytes: the length of a JSON header that says where each array is; the header; the arrays, little-endian
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NAME = "fields.bin"
MISSING, NULL, FALSE, TRUE, NUMBER, TEXT, LIST, LONG, BIG, OBJECT, DEEP = range(11)
DEPTH = 8  # names in a path
EXACT = 2**53  # integers up to here are floats
_ALIGN = 64
_MANY = 100  # texts are looked up together instead of one by one
_ARRAYS = ("rows", "numbers", "codes", "owners")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Column:
    """The values at one path. `kinds` may be one kind for all; arrays have a place for each of `rows`, or each row."""

    size: int
    kinds: Any  # uint8 array, or the one kind there is
    rows: Any = None  # of a sparse column: which rows the places are
    numbers: Any = None  # NaN for what is no number
    codes: Any = None  # the largest value of their type for what is no text
    texts: Any = None  # the dictionary, sorted by code points
    members: "Column | None" = None
    owners: Any = None  # for each member, the place of its list

    @cached_property
    def has(self) -> frozenset[int]:
        """The kinds there are."""
        if isinstance(self.kinds, int):
            return frozenset((self.kinds,))
        return frozenset(np.flatnonzero(np.bincount(self.kinds, minlength=DEEP + 1)).tolist())

    @property
    def nbytes(self) -> int:
        """What it takes on disk."""
        arrays = [self.rows, self.numbers, self.codes, self.owners, self.kinds]
        own = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
        own += 0 if self.texts is None else self.texts.nbytes
        return own + (0 if self.members is None else self.members.nbytes)

    def are(self, *kinds: int) -> Mask:
        """Which places have one of the kinds."""
        if isinstance(self.kinds, int):
            return np.full(self.size, self.kinds in kinds)
        found: Mask = np.isin(self.kinds, kinds) if len(kinds) > 2 else self.kinds == kinds[0]
        return found | (self.kinds == kinds[1]) if len(kinds) == 2 else found

    def code(self, text: str) -> int:
        """The first code whose text is not before this one."""
        return bisect_left(_Texts(self.texts), text)

    def codes_of(self, texts: Sequence[str]) -> list[int]:
        """The codes of those of the texts that there are."""
        if len(texts) > _MANY:
            import pyarrow.compute as pc

            found = pc.index_in(pa.array(texts, pa.large_string()), value_set=self.texts)
            return list(set(found.drop_null().to_pylist()))
        near = [(self.code(text), text) for text in texts]
        return [code for code, text in near if code < len(self.texts) and self.texts[code].as_py() == text]

    def beginning(self, prefix: str) -> tuple[int, int]:
        """The codes of texts that begin so: the first, and the one after the last."""
        texts, size = _Texts(self.texts), len(prefix)
        return bisect_left(texts, prefix), bisect_right(texts, prefix, key=lambda text: text[:size])


class _Texts(Sequence[str]):
    def __init__(self, texts: pa.LargeStringArray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, at: Any) -> Any:
        return self._texts[at].as_py()


@dataclass(frozen=True, eq=False)
class Fields:
    """Typed columns of some rows. `objects` are the rows whose metadata is an object; None: all of them are.

    Unless they are `whole`, a path without a column may have values all the same, and so may one of more names than
    `depth`.
    """

    rows: int
    columns: Mapping[str, Column]
    objects: Any = None
    whole: bool = True
    depth: int = DEPTH

    def knows(self, path: str) -> bool:
        """Whether the columns tell about a path in every row."""
        return path.count(".") < self.depth and (path in self.columns or self.whole)


def write(fields: Fields, file: Any) -> None:
    """Write columns to a binary file."""
    arrays: list[Any] = []
    size = 0

    def put(array: Any) -> Any:
        nonlocal size
        if array is None or isinstance(array, int):
            return array
        start = size = -(-size // _ALIGN) * _ALIGN
        arrays.append((start, array))
        size += array.nbytes
        return [array.dtype.str, start, len(array)]

    def column(one: Column) -> dict[str, Any]:
        described: dict[str, Any] = {name: put(getattr(one, name)) for name in ("kinds", *_ARRAYS)}
        if one.texts is not None:
            offsets = np.frombuffer(one.texts.buffers()[1], np.int64)[one.texts.offset :][: len(one.texts) + 1]
            data = np.frombuffer(one.texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
            described |= {"offsets": put(offsets - offsets[0]), "letters": put(data)}
        if one.members is not None:
            described["members"] = column(one.members)
        return described | {"size": one.size}

    header: dict[str, Any] = {"rows": fields.rows, "whole": fields.whole, "objects": None}
    if fields.objects is not None:
        header["objects"] = put(fields.objects.view(np.uint8))
    header["columns"] = {path: column(one) for path, one in fields.columns.items()}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGN)
    file.write(len(text).to_bytes(8, "little") + text)
    written = 0
    for start, array in arrays:
        file.write(bytes(start - written))
        file.write(np.ascontiguousarray(array).data if array.nbytes else b"")
        written = start + array.nbytes


def read(buffer: Any, rows: int) -> Fields:
    """Columns from a mapped file. Raises ValueError when it is not one of so many rows."""
    view = memoryview(buffer)
    length = int.from_bytes(view[:8], "little")
    if not 0 < length <= len(view) - 8:
        raise ValueError("its header is cut short")
    try:
        header = json.loads(bytes(view[8 : 8 + length]))
        data = view[8 + length :]

        def array(ref: Any) -> Any:
            if ref is None or isinstance(ref, int):
                return ref
            kind, start, count = ref
            return np.frombuffer(data, np.dtype(kind), count, start) if count else np.empty(0, np.dtype(kind))

        def column(one: Any, above: int) -> Column:
            size = int(one["size"])
            texts = members = None
            if one.get("offsets") is not None:
                offsets, letters = array(one["offsets"]), array(one["letters"])
                buffers = [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
                texts = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
                texts.validate(full=True)  # nothing else checks where a large segment's texts begin and end
            if "members" in one:
                members = column(one["members"], one["members"]["size"])
            found = Column(
                size, **{name: array(one[name]) for name in ("kinds", *_ARRAYS)}, texts=texts, members=members
            )
            _check(found, above)
            return found

        objects = array(header["objects"])
        if header["rows"] != rows:
            raise ValueError(f"it has {header['rows']} rows instead of {rows}")
        columns = {path: column(one, rows) for path, one in header["columns"].items()}
        return Fields(rows, columns, None if objects is None else objects.view(np.bool_), header["whole"])
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{error} is missing or of the wrong kind") from error


def _check(column: Column, above: int) -> None:
    """Raises ValueError for arrays that do not fit each other and the rows there are."""
    of_all = [column.kinds, column.numbers, column.codes, column.rows]
    fits = all(len(array) == column.size for array in of_all if isinstance(array, np.ndarray))
    fits = (
        fits
        and (column.codes is None) == (column.texts is None)
        and (column.owners is None) == (column.members is None)
    )
    if column.members is not None:
        fits = fits and len(column.owners) == column.members.size and column.owners.max(initial=0) < column.size
    if column.rows is None:
        fits = fits and column.size == above
    else:
        fits = fits and column.rows.max(initial=0) < above
    if not fits:
        raise ValueError("its arrays do not fit each other")
