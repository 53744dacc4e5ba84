"""Arrow values as JSON has them: every type, nulls, slices, and agreement with a value-by-value reading."""

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Callable
from typing import Any

import numpy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.engine.arrow_json import rows_of

D = decimal.Decimal


def values(array: Any) -> list[Any]:
    rows = rows_of([pa.RecordBatch.from_arrays([array], names=["c"])])
    json.dumps(rows, allow_nan=False)
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 2**53 + 1, -(2**63)], pa.int64()), [1, None, 2**53 + 1, -(2**63)]),
        (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.array(["", "é\n", None]), ["", "é\n", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([1.5, math.nan, math.inf, -math.inf, None, -0.0]), [1.5, None, None, None, None, 0.0]),
        (pa.array([0.1, math.nan, None, 3e38], pa.float32()), [0.1, None, None, 3e38]),
        (pa.array(numpy.array([0.5], numpy.float16)), [0.5]),
        (pa.array([D("1.50"), None, D("0.00")], pa.decimal128(10, 2)), ["1.50", None, "0.00"]),
        (pa.array([D("0.0000000001")], pa.decimal128(38, 10)), ["0.0000000001"]),
        (pa.array([2**127 - 1], pa.decimal256(40, 0)), [str(2**127 - 1)]),
        (pa.array([datetime.date(2024, 2, 29), None]), ["2024-02-29", None]),
        (pa.array([datetime.date(2024, 2, 29), None], pa.date64()), ["2024-02-29", None]),
        (pa.array([b"text", b"\xff\x00", b"", None]), ["text", "/wA=", "", None]),
        (pa.array([b"ab", None], pa.binary(2)), ["ab", None]),
        (pa.array([b"ab", None], pa.large_binary()), ["ab", None]),
        (pa.array([b"\xff", None], pa.binary_view()), ["/w==", None]),
        (pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", None, "x"]),
        (pa.array([[1, None], None, []], pa.list_(pa.int32())), [[1, None], None, []]),
        (pa.array([[1.5, math.nan]], pa.large_list(pa.float64())), [[1.5, None]]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), [[1, 2], None, [3, 4]]),
        (pa.array([[D("1.5")], None], pa.list_view(pa.decimal128(4, 1))), [["1.5"], None]),
        (pa.array([{"a": 1, "b": None}, None]), [{"a": 1, "b": None}, None]),
        (pa.array([{}, None], pa.struct([])), [{}, None]),
        (
            pa.array([[("k", 1.5), ("l", None)], None, []], pa.map_(pa.string(), pa.float64())),
            [{"k": 1.5, "l": None}, None, {}],
        ),
        (pa.array([[(1, b"\xff")]], pa.map_(pa.int32(), pa.binary())), [[{"key": 1, "value": "/w=="}]]),
        (pa.array([datetime.timedelta(hours=25, microseconds=1), None]), ["25:00:00.000001", None]),
        (pa.array([datetime.time(3, 4, 5), None], pa.time32("s")), ["03:04:05", None]),
        (pa.array([datetime.time(3, 4, 5, 6), datetime.time(3, 4, 5)]), ["03:04:05.000006", "03:04:05"]),
        (pa.array([1], pa.time64("ns")), ["00:00:00.000000001"]),
    ],
)
def test_every_type_has_one_form(array: Any, expected: list[Any]) -> None:
    """A-S8-11, S8.1: and what comes out is always valid JSON."""
    assert values(array) == expected


def test_bytes_of_a_uuid_are_its_text() -> None:
    one = uuid.UUID("7f0a1b2c-3d4e-4e5b-9d8e-7f0a1b2c3d4e")
    storage = pa.array([one.bytes, None], pa.binary(16))
    assert values(pa.ExtensionArray.from_storage(pa.uuid(), storage)) == [str(one), None]
    assert values(pa.array(['{"a":1}'], pa.json_())) == ['{"a":1}']


@pytest.mark.parametrize(
    ("unit", "ticks", "text"),
    [
        ("s", 1704164645, "2024-01-02T03:04:05"),
        ("ms", 1704164645123, "2024-01-02T03:04:05.123"),
        ("us", 1704164645678000, "2024-01-02T03:04:05.678000"),
        ("us", 1704164645000000, "2024-01-02T03:04:05"),
        ("ns", 1704164645123456789, "2024-01-02T03:04:05.123456789"),
        ("us", 2**63 - 1, "infinity"),
        ("us", -(2**63 - 1), "-infinity"),
        ("s", -62135596801, "0001-12-31T23:59:59 (BC)"),
        ("s", 568971820800, "20000-01-01T00:00:00"),
    ],
)
def test_timestamps(unit: str, ticks: int, text: str) -> None:
    """With a zone they are RFC 3339 in UTC with Z, without one they have none; far years do not fail."""
    assert values(pa.array([ticks, None], pa.timestamp(unit))) == [text, None]
    zoned = text if "infinity" in text else text.replace(" (BC)", "Z (BC)") if "(BC)" in text else text + "Z"
    for zone in ("UTC", "Europe/Berlin"):
        assert values(pa.array([ticks, None], pa.timestamp(unit, zone))) == [zoned, None]


@pytest.mark.parametrize(
    ("days", "text"),
    [(2**31 - 1, "infinity"), (-(2**31 - 1), "-infinity"), (6585322, "20000-01-01"), (-735160, "0044-03-15 (BC)")],
)
def test_dates_no_calendar_has(days: int, text: str) -> None:
    assert values(pa.array([days], pa.int32()).cast(pa.date32())) == [text]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ((14, 3, 14405678000000), "1 year 2 months 3 days 04:00:05.678000"),
        ((-1, 2, -10800000000000), "-1 month 2 days -03:00:00"),
        ((0, 0, 0), "00:00:00"),
        ((24, -1, 0), "2 years -1 day"),
        ((0, 0, 1), "00:00:00.000000001"),
    ],
)
def test_intervals_read_as_in_sql(span: tuple[int, int, int], text: str) -> None:
    assert values(pa.array([pa.MonthDayNano(span), None])) == [text, None]


def test_a_union_is_read_value_by_value() -> None:
    union = pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()),
        [pa.array([1.5, 0.0, math.nan]), pa.array([None, datetime.date(2024, 1, 1), None], pa.date32())],
    )
    assert values(union) == [1.5, "2024-01-01", None]


def test_the_limit_counts_rows_over_all_batches() -> None:
    batches = [pa.record_batch({"a": [1, 2], "b": ["x", "y"]}), pa.record_batch({"a": [3], "b": ["z"]})]
    assert rows_of(batches) == [[1, "x"], [2, "y"], [3, "z"]]
    assert rows_of(batches, 2) == [[1, "x"], [2, "y"]]
    assert rows_of(batches, 0) == []
    assert rows_of([]) == []
    assert rows_of([pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))]) == [[], []]


def plain(value: Any) -> Any:
    """The reference: one value at a time."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


SCALARS: list[tuple[Any, Callable[[], st.SearchStrategy[Any]]]] = [
    (pa.int64(), lambda: st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats),
    (pa.string(), lambda: st.text(st.characters(exclude_categories=["Cs"]))),
    (pa.date32(), st.dates),
    (pa.timestamp("us"), st.datetimes),
    (pa.timestamp("us", "UTC"), lambda: st.datetimes(timezones=st.just(datetime.UTC))),
    (pa.time64("us"), st.times),
    (pa.decimal128(12, 3), lambda: st.decimals(-(10**8), 10**8, places=3)),
]


@st.composite
def columns(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    kind, strategy = draw(st.sampled_from(SCALARS))
    items: st.SearchStrategy[Any] = st.none() | strategy()
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            kind, items = pa.list_(kind), st.none() | st.lists(items, max_size=3)
        else:
            kind, items = (
                pa.struct({"x": kind, "y": pa.int8()}),
                st.none() | st.fixed_dictionaries({"x": items, "y": st.just(1)}),
            )
    return kind, draw(st.lists(items, max_size=8))


@settings(max_examples=150, deadline=None)
@given(columns(), st.integers(0, 8), st.integers(0, 8))
def test_whole_columns_agree_with_single_values(column: tuple[Any, list[Any]], start: int, length: int) -> None:
    """Nested types with nulls at every level, sliced anywhere, are what reading them one by one gives."""
    kind, items = column
    array = pa.array(items, kind).slice(start, length)
    assert values(array) == [plain(item) for item in items[start : start + length]]
