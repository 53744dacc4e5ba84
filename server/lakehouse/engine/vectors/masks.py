"""Which rows a filter lets through, by the typed columns; a row's JSON is read only where they cannot tell.

A condition has two answers: the rows that surely meet it, and those that may. They join as truth values of three kinds
do, so that what other conditions leave out is never read. Load it in a worker thread.

pyarrow.compute takes 25 to 50 ms to import, for which who opens an index need not wait: functions import it.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.engine.ending import heed
from lakehouse.engine.filters import Filter
from lakehouse.engine.filters.conditions import Condition, Every, Opposite, Test, holds, tests
from lakehouse.engine.vectors import typed
from lakehouse.engine.vectors.batch import Rows
from lakehouse.engine.vectors.fields import (
    BIG,
    DEEP,
    FALSE,
    LIST,
    LONG,
    MISSING,
    NULL,
    OBJECT,
    TRUE,
    Column,
    Fields,
    Mask,
)
from lakehouse.engine.vectors.rowset import EMPTY

# The rows that meet a condition and those that may; a bool is the same for all rows.
Known = tuple[Any, Any]
_KEPT = 8
_BLOCK = 8192
_FRESH_BLOCK = 512
_HEED = 64  # rows looked at one by one; 200 regular expressions each are 13,000 of 5 µs
_FIND_COST = 30  # an id is found by its hash in the time 30 ids are compared


class Kept:
    """The masks of the last few filters of one set of rows that never changes."""

    def __init__(self) -> None:
        self._masks: OrderedDict[bytes, Mask] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, wanted: Filter, make: Callable[[], Mask]) -> Mask:
        """The mask, made now unless it is kept. It cannot be written to."""
        with self._lock:
            if (mask := self._masks.get(wanted.key)) is not None:
                self._masks.move_to_end(wanted.key)
                return mask
        mask = make()
        mask.setflags(write=False)
        with self._lock:
            self._masks[wanted.key] = mask
            while len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
        return mask


def of(wanted: Filter, fields: Fields, metas: Sequence[str] | pa.LargeStringArray) -> Mask:
    """The rows a filter lets through. `metas` are the JSON texts of the rows, read where the columns do not tell."""
    yes, maybe = _answer(wanted.condition, fields)
    mask: Mask = np.full(fields.rows, yes) if isinstance(yes, bool) else np.array(yes)
    if fields.objects is not None:
        mask &= fields.objects
        maybe = maybe & fields.objects
    unsure = np.flatnonzero(np.broadcast_to(maybe, fields.rows)) if maybe is not False else ()
    for start in range(0, len(unsure), _BLOCK):
        heed()
        rows = unsure[start : start + _BLOCK]
        texts = metas.take(pa.array(rows)).to_pylist() if isinstance(metas, pa.Array) else [metas[row] for row in rows]
        mask[rows] = of_values(wanted, json.loads(f"[{','.join(texts)}]"))
    return mask


def of_values(wanted: Filter, values: Sequence[Any]) -> Mask:
    """The same for rows given by their metadata. Only what no column holds is looked at one by one."""
    rows = [row for row, value in enumerate(values) if isinstance(value, dict)]
    objects = [values[row] for row in rows]
    yes, maybe = _answer(wanted.condition, typed.paths(objects, {test.path for test in tests(wanted.condition)}))
    met = np.array(np.broadcast_to(yes, len(rows)))
    for number, place in enumerate(np.flatnonzero(np.broadcast_to(maybe, len(rows))).tolist()):
        if not number % _HEED:
            heed()
        met[place] = holds(wanted.condition, objects[place])
    mask: Mask = np.zeros(len(values), np.bool_)
    mask[rows] = met
    return mask


def _answer(condition: Condition, fields: Fields) -> Known:
    if isinstance(condition, Test):
        heed()
        return _tested(condition, fields)
    if isinstance(condition, Opposite):
        yes, maybe = _answer(condition.of, fields)
        return _not(yes | maybe), maybe
    known = [_answer(part, fields) for part in condition.of]
    if not known:
        return True, False
    yes, able = known[0][0], known[0][0] | known[0][1]
    for part, maybe in known[1:]:
        if isinstance(condition, Every):
            yes, able = yes & part, able & (part | maybe)
        else:
            yes, able = yes | part, able | part | maybe
    return yes, _but(able, yes)


def _not(known: Any) -> Any:
    return not known if isinstance(known, bool) else ~known


def _but(some: Any, other: Any) -> Any:
    """What is in the one and not in the other."""
    if some is False or other is True:
        return False
    return some if other is False else some & _not(other)


def _tested(test: Test, fields: Fields) -> Known:
    column = fields.columns.get(test.path)
    if not fields.knows(test.path):
        return False, True
    if column is None:
        return test.op == "exists" and not test.operand, False
    yes, maybe = _of_column(test, column)
    if column.rows is None:
        return yes, maybe
    absent = test.op == "exists" and not test.operand
    return _scattered(yes, column, fields.rows, absent), _scattered(maybe, column, fields.rows, False)


def _scattered(known: Any, column: Column, rows: int, others: bool) -> Any:
    """An answer for the rows of a sparse column as one for all rows."""
    if known is others:
        return others
    whole = np.full(rows, others)
    whole[column.rows] = known
    return whole


def _of_column(test: Test, column: Column) -> Known:
    op, operand = test.op, test.operand
    if op == "exists":
        there = True if MISSING not in column.has else column.kinds != MISSING
        return there if operand else _not(there), False
    if op == "in":
        return _among(column, operand)
    if op == "nin":
        yes, maybe = _among(column, operand)
        there = True if MISSING not in column.has else column.kinds != MISSING
        return _but(there, yes | maybe), maybe
    if op == "contains":
        return _containing(column, operand)
    if op in ("prefix", "regex"):
        return _written(column, op, operand), _kinds(column, LONG)
    if isinstance(operand, str):
        return _texts_ordered(column, op, operand), _kinds(column, LONG)
    return _numbers_ordered(column, op, operand), _kinds(column, BIG)


def _kinds(column: Column, *kinds: int) -> Any:
    """The places of these kinds."""
    some = [kind for kind in kinds if kind in column.has]
    if not some:
        return False
    return True if isinstance(column.kinds, int) else column.are(*some)


def _among(column: Column, operands: Sequence[Any]) -> Known:
    """Which values equal one of the operands."""
    yes: Any = False
    unsure: set[int] = set()
    numbers: list[float] = []
    texts: list[str] = []
    for operand in operands:
        if isinstance(operand, str):
            texts.append(operand)
            unsure |= {LONG} if len(operand) > typed.LONG_TEXT else set()
        elif isinstance(operand, bool) or operand is None:
            yes = yes | _kinds(column, NULL if operand is None else TRUE if operand else FALSE)
        elif isinstance(operand, int | float):
            unsure.add(BIG)
            if (number := _exact(operand)) is not None:
                numbers.append(number)
        else:
            unsure |= {LIST, DEEP} if isinstance(operand, list) else {OBJECT}
    if numbers and column.numbers is not None:
        yes = yes | _any_of(column.numbers, numbers)
    if texts and column.texts is not None:
        yes = yes | _any_of(column.codes, column.codes_of(texts))
    return yes, _kinds(column, *unsure)


def _any_of(values: Any, wanted: Sequence[Any]) -> Any:
    if len(wanted) > 4:
        return np.isin(values, np.array(wanted, values.dtype))
    found: Any = values == wanted[0] if wanted else False
    for one in wanted[1:]:
        found |= values == one
    return found


def _exact(number: float) -> float | None:
    """A number as a float, when that is the same number."""
    try:
        return float(number) if float(number) == number else None
    except OverflowError:
        return None


def _numbers_ordered(column: Column, op: str, operand: float) -> Any:
    values = column.numbers
    if values is None:
        return False
    try:
        bound = float(operand)
    except OverflowError:
        bound = float("inf") if operand > 0 else float("-inf")
    # A float next to an operand that is none is on one side of it, and no float is between them.
    more = op in ("gt", "gte")
    inside = bound > operand if more else bound < operand
    if inside or (bound == operand and op in ("gte", "lte")):
        return values >= bound if more else values <= bound
    return values > bound if more else values < bound


def _texts_ordered(column: Column, op: str, operand: str) -> Any:
    if column.texts is None:
        return False
    at = column.code(operand)
    there = at < len(column.texts) and column.texts[at].as_py() == operand
    if op in ("gt", "gte"):
        return _coded(column, at + (op == "gt" and there), len(column.texts))
    return _coded(column, 0, at + (op == "lte" and there))


def _coded(column: Column, low: int, high: int) -> Any:
    """Places of texts whose codes are from `low` to under `high`."""
    if low >= high:
        return False
    return (column.codes >= low) & (column.codes < high) if low else column.codes < high


def _written(column: Column, op: str, operand: str) -> Any:
    """Which texts begin with, match or contain the operand."""
    if column.texts is None:
        return False
    if op == "prefix":
        return _coded(column, *column.beginning(operand))
    import pyarrow.compute as pc

    find = pc.match_substring_regex if op == "regex" else pc.match_substring
    found = np.flatnonzero(find(column.texts, pattern=operand).to_numpy(zero_copy_only=False))
    if len(found) == 0:
        return False
    if len(found) <= 4:
        return _any_of(column.codes, found.tolist())
    table = np.zeros(len(column.texts) + 1, np.bool_)
    table[found] = True
    return table[np.minimum(column.codes, len(column.texts))]


def _containing(column: Column, operand: Any) -> Known:
    yes: Any = False
    maybe = _kinds(column, DEEP)
    if isinstance(operand, str):
        yes, maybe = _written(column, "contains", operand), maybe | _kinds(column, LONG)
    members = column.members
    if members is not None:
        surely, perhaps = _among(members, (operand,))
        yes = yes | _owners(column, surely)
        maybe = maybe | _owners(column, perhaps)
    return yes, _but(maybe, yes)


def _owners(column: Column, members: Any) -> Any:
    """The places of the lists that have one of these members."""
    if members is False:
        return False
    owned = np.zeros(column.size, np.bool_)
    owned[column.owners if members is True else column.owners[members]] = True
    return owned


class Ids:
    """Ids that are let through."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = ids if isinstance(ids, set | frozenset) else set(ids)

    @cached_property
    def _names(self) -> pa.LargeStringArray:
        return pa.array(list(self.ids), pa.large_string())

    def of(self, stored: pa.LargeStringArray, find: Callable[[Sequence[str]], Any]) -> Mask:
        """The rows whose id is one of them. `find` gives the rows of ids by their hashes: faster for few."""
        if len(self.ids) * _FIND_COST >= len(stored):
            import pyarrow.compute as pc

            found = pc.is_in(stored, value_set=self._names)
            return np.array(found.to_numpy(zero_copy_only=False), np.bool_)
        mask: Mask = np.zeros(len(stored), np.bool_)
        rows = find(list(self.ids))
        mask[rows[rows >= 0]] = True
        return mask

    def whole(self, pieces: "Pieces") -> Rows:
        """The rows that are pieces of a document of one of the ids."""
        if not len(pieces.rows):
            return EMPTY
        import pyarrow.compute as pc

        within = np.zeros(len(pieces.rows), np.bool_)
        for documents in pieces.documents:
            within |= pc.is_in(documents, value_set=self._names).to_numpy(zero_copy_only=False)
        return pieces.rows[within]

    def has(self, id: str) -> bool:
        """Whether an item is let through, for itself or as a piece of a document."""
        return id in self.ids or ("#" in id and (id.partition("#")[0] in self.ids or id.rpartition("#")[0] in self.ids))


class Pieces:
    """The rows of a segment whose ids are a document's, a `#` and a key, with the document's.

    Either may have a `#` of its own, so there are two: what stands before the first, and before the last.
    """

    def __init__(self, stored: pa.LargeStringArray) -> None:
        import pyarrow.compute as pc

        self.rows: Rows = np.flatnonzero(pc.match_substring(stored, "#").to_numpy(zero_copy_only=False))
        ids = stored.take(pa.array(self.rows))
        first, last = (pc.replace_substring_regex(ids, pattern, "") for pattern in ("(?s)#.*$", "(?s)#[^#]*$"))
        self.documents = [first] if first.equals(last) else [first, last]


class Growing:
    """The filters of fresh rows: full blocks have columns, the values of the rows after them are read once."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Fields, Kept]] = []
        self._rest: list[Any] = []
        self._lock = threading.Lock()

    def mask(self, wanted: Filter, metas: Sequence[str], count: int) -> Mask:
        """The rows of the first `count` that a filter lets through."""
        with self._lock:
            done = len(self._blocks) * _FRESH_BLOCK
            while done + _FRESH_BLOCK <= count:
                self._blocks.append((typed.of_texts(metas[done : done + _FRESH_BLOCK]), Kept()))
                self._rest = []
                done += _FRESH_BLOCK
            read = done + len(self._rest)
            if read < count:
                self._rest += json.loads(f"[{','.join(metas[read:count])}]")
            blocks, rest = [*self._blocks], self._rest[: max(0, count - done)]
        parts = []
        for place, (fields, kept) in enumerate(blocks):
            start = place * _FRESH_BLOCK
            texts = metas[start : start + _FRESH_BLOCK]
            parts.append(kept.get(wanted, partial(of, wanted, fields, texts)))
        return np.concatenate([*parts, of_values(wanted, rest)])[:count]
