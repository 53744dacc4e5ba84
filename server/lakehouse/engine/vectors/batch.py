"""Items checked and brought into columns, before anything is changed. Imports numpy: load it in a worker thread."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.engine.vectors.items import MAX_METADATA_BYTES, Item
from lakehouse.errors import InvalidInput, TooLarge

MAX_ID_BYTES = 512
MAX_ITEMS = 100_000
MAX_DEPTH = 100  # of metadata; an answer with one that is nested 255 deep cannot be written as JSON

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]
Rows = NDArray[np.int64]
PUT, DELETE = 0, 1


@dataclass(frozen=True)
class Batch:
    """Changes in order, as columns. `metas` are JSON texts, None where the stored metadata stays.

    `vectors` is (n, dimension) and has a row for each change where `has` is true, in order.
    """

    ops: NDArray[np.int8]
    ids: list[str]
    metas: list[str | None]
    has: NDArray[np.bool_]
    vectors: F32

    def __len__(self) -> int:
        return len(self.ids)


def puts(items: Sequence[Item], dimension: int, distance: str) -> Batch:
    """Check every item, then join those of one id as if they had been put one after the other.

    Raises InvalidInput or TooLarge naming the position of the first bad item.
    """
    if not items:
        raise InvalidInput("items: it is empty.", fix="Send at least one item.")
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"items: {len(items)} are over the limit of {MAX_ITEMS}.", fix="Send them in several batches.")
    place: dict[str, int] = {}
    metas: list[str | None] = []
    chosen: list[int] = []
    for position, item in enumerate(items):
        id = _id(item.id, f"items[{position}].id")
        meta = _meta(item.metadata, f"items[{position}].metadata")
        at = place.setdefault(id, len(chosen))
        if at == len(chosen):
            chosen.append(position)
            metas.append(meta)
        else:
            chosen[at] = position
            metas[at] = meta if meta is not None else metas[at]
    given = [position for position, item in enumerate(items) if item.vector is not None]
    vectors = _stacked([items[position].vector for position in given], given, dimension)
    _check(vectors, distance, lambda row: f"items[{given[row]}].vector")
    row_of = {position: row for row, position in enumerate(given)}
    rows = [row_of[position] for position in chosen if position in row_of]
    return Batch(
        np.zeros(len(place), np.int8),
        list(place),
        metas,
        np.array([position in row_of for position in chosen]),
        vectors if len(rows) == len(vectors) and rows == sorted(rows) else vectors[rows],
    )


def matrix(ids: Sequence[str], vectors: Any, metadata: Sequence[Any], dimension: int, distance: str) -> Batch:
    """The same for vectors that are already an (n, dimension) array of numbers. Raises what `puts` raises."""
    found = np.asarray(vectors)
    if found.ndim != 2 or found.shape[1] != dimension or found.dtype.kind not in "fiu":
        raise InvalidInput(
            f"matrix: it is {found.dtype} of shape {found.shape}; the index expects numbers of shape (n, {dimension}).",
            fix="Give one row of the index's dimension for each id.",
        )
    if not len(ids) == len(found) == len(metadata) or not len(ids):
        raise InvalidInput(
            f"matrix: {len(ids)} ids, {len(found)} rows and {len(metadata)} metadata values do not fit together.",
            fix="Give the same number of each, at least one.",
        )
    whole = _float32(found)
    _check(whole, distance, lambda row: f"matrix[{row}]")
    texts = [_meta(value, f"metadata[{position}]") for position, value in enumerate(metadata)]
    last: dict[str, int] = {}
    kept: dict[str, str | None] = {}
    for position, id in enumerate(ids):
        last[_id(id, f"ids[{position}]")] = position
        kept[id] = texts[position] if texts[position] is not None else kept.get(id)
    return Batch(
        np.zeros(len(last), np.int8),
        list(last),
        list(kept.values()),
        np.ones(len(last), np.bool_),
        whole if len(last) == len(ids) else whole[list(last.values())],
    )


def deletes(ids: Sequence[str], dimension: int) -> Batch:
    """The removal of ids, each named once."""
    unique = list(dict.fromkeys(ids))
    nothing = np.zeros(len(unique), np.bool_)
    ops = np.full(len(unique), DELETE, np.int8)
    return Batch(ops, unique, [None] * len(unique), nothing, np.empty((0, dimension), np.float32))


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, in order."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        np.concatenate([b.ops for b in batches]),
        [id for b in batches for id in b.ids],
        [meta for b in batches for meta in b.metas],
        np.concatenate([b.has for b in batches]),
        np.concatenate([b.vectors for b in batches]),
    )


def query(vector: Any, dimension: int, distance: str, name: str = "vector") -> F32:
    """A search vector, checked like a stored one; `name` is the argument's."""
    found = _stacked([vector], None, dimension, name)
    _check(found, distance, lambda row: name)
    return np.asarray(found[0])


def _id(id: object, where: str) -> str:
    if not isinstance(id, str) or not id:
        raise InvalidInput(f"{where}: it must be a non-empty text.", fix="Give each item an id.")
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{where}: it is not valid Unicode.", fix="Send it as UTF-8.") from None
    if size > MAX_ID_BYTES:
        raise InvalidInput(f"{where}: {size} bytes are over the limit of {MAX_ID_BYTES}.", fix="Choose shorter ids.")
    return id


def _meta(value: Any, where: str) -> str | None:
    if value is None:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: it is not JSON: {error}.", fix="Send any JSON value.") from None
    if size > MAX_METADATA_BYTES:
        raise TooLarge(
            f"{where}: {size} bytes are over the limit of {MAX_METADATA_BYTES}.",
            fix="Keep large values in storage and put their key here.",
        )
    # Most have not even so many brackets.
    if text.count("[") + text.count("{") > MAX_DEPTH and _deep(value):
        raise InvalidInput(f"{where}: it is nested over {MAX_DEPTH} deep.", fix="Make it flatter.")
    return text


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        within = (
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list | tuple)
        )
        level = [inner for some in within for inner in some]
        if not level:
            return False
    return True


def _stacked(vectors: Sequence[Any], positions: Sequence[int] | None, dimension: int, name: str = "vector") -> F32:
    """Vectors as float32 rows. One array conversion for all is fast; a bad one is then looked for by itself."""
    if not vectors:
        return np.empty((0, dimension), np.float32)
    try:
        found = np.asarray(vectors)
        if found.shape == (len(vectors), dimension) and found.dtype.kind in "fiu":
            return _float32(found)
    except (ValueError, TypeError, OverflowError):
        pass  # ragged: the loop below names the one
    for row, vector in enumerate(vectors):
        where = name if positions is None else f"items[{positions[row]}].vector"
        try:
            one = np.asarray(vector)
        except (ValueError, TypeError, OverflowError):
            one = np.asarray(None)
        if one.ndim != 1 or (one.dtype.kind not in "fiu" and one.size):
            raise InvalidInput(f"{where}: it must be a list of numbers.", fix=f"Send {dimension} numbers.")
        if len(one) != dimension:
            raise InvalidInput(
                f"{where}: it has {len(one)} dimensions; the index expects {dimension}.",
                fix="Embed with the model the index was built with.",
            )
    return np.stack([_float32(np.asarray(vector)) for vector in vectors])


def _float32(found: Any) -> F32:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(found, np.float32)


def _check(vectors: F32, distance: str, where: Any) -> None:
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InvalidInput(
            f"{where(int(finite.argmin()))}: it has a component that is not a finite 32-bit number.",
            fix="Send finite numbers below 3.4e38.",
        )
    if distance == "cosine":
        some = vectors.any(axis=1)
        if not some.all():
            raise InvalidInput(
                f"{where(int(some.argmin()))}: all components are zero (as 32-bit numbers); it has no direction.",
                fix="Leave it out, or use an index with euclidean distance.",
            )
