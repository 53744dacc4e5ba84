"""Arrow columns as the values JSON has, a column at a time.

NaN and infinities become null; decimals, dates, times, intervals and UUIDs text; bytes text where they are UTF-8, else
base64. Integers stay integers however large. Times with a zone are RFC 3339 in UTC with Z, those without have no
zone; a fraction is written only where there is one. Structs are objects, maps too when their keys are text.
"""

import math
from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import numpy
import pyarrow
from pyarrow import compute, types

Values = list[Any]
_WHOLE = {"HUGEINT", "UHUGEINT"}
_DAYS = {"infinity": 2**31 - 1, "-infinity": -(2**31 - 1)}
_TICKS = {"infinity": 2**63 - 1, "-infinity": -(2**63 - 1)}


def rows_of(
    batches: Sequence[pyarrow.RecordBatch], limit: int | None = None, types: Sequence[str] = ()
) -> list[list[Any]]:
    """The rows of record batches as lists of JSON values, at most `limit` of them.

    `types` are the DuckDB types of the columns: 128-bit integers, which Arrow has only as decimals or text, are
    integers again.
    """
    whole = [place for place, kind in enumerate(types) if kind in _WHOLE]
    rows: list[list[Any]] = []
    for batch in batches:
        if limit is not None and batch.num_rows > limit - len(rows):
            batch = batch.slice(0, limit - len(rows))
        if not batch.num_rows:
            continue
        columns = [values_of(column) for column in batch.columns]
        for place in whole:
            columns[place] = [None if value is None else int(value) for value in columns[place]]
        rows += map(list, zip(*columns, strict=True)) if columns else ([] for _ in range(batch.num_rows))
    return rows


def values_of(column: Any) -> Values:
    """One Arrow array as a list of JSON values."""
    kind = column.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        values = values_of(column.storage) if not _is_uuid(kind) else None
        return _each(column.storage, lambda raw: str(UUID(bytes=raw))) if values is None else values
    for test, encode in _ENCODERS:
        if test(kind):
            return encode(column)
    return _each(column, _plain)


def _is_uuid(kind: Any) -> bool:
    return bool(kind.extension_name == "arrow.uuid")


def _each(column: Any, convert: Callable[[Any], Any]) -> Values:
    return [None if value is None else convert(value) for value in column.to_pylist()]


def _blanked(column: Any, values: Values) -> Values:
    """The values with null where the column has none; what stood there is a filler."""
    if column.null_count:
        for place in numpy.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            values[place] = None
    return values


def _floats(column: Any) -> Values:
    numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
    # The shortest text that means the same 32-bit number: 0.1, not 0.10000000149011612.
    values = numbers.tolist() if numbers.dtype == numpy.float64 else [float(str(number)) for number in numbers]
    for place in numpy.flatnonzero(~numpy.isfinite(numbers)):
        values[place] = None
    return _blanked(column, values)


def _decimals(column: Any) -> Values:
    return _each(column, lambda number: format(number, "f"))


def _dates(column: Any) -> Values:
    days = column.cast(pyarrow.date32()).cast(pyarrow.int32()).fill_null(0).to_numpy(zero_copy_only=False)
    values = list(map(_era, numpy.datetime_as_string(days.astype("datetime64[D]")).tolist()))
    return _blanked(column, _endless(values, days, _DAYS))


def _timestamps(column: Any) -> Values:
    kind = column.type
    ticks = column.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    texts = numpy.datetime_as_string(ticks.astype(f"datetime64[{kind.unit}]"), unit=kind.unit).tolist()
    zone = "Z" if kind.tz is not None else ""
    return _blanked(column, _endless([_era(_short(text) + zone) for text in texts], ticks, _TICKS))


def _times(column: Any) -> Values:
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    whole = pyarrow.int32() if types.is_time32(column.type) else pyarrow.int64()
    return _each(column.cast(whole), lambda ticks: _clock(ticks * scale))


def _durations(column: Any) -> Values:
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    return _each(column.cast(pyarrow.int64()), lambda ticks: _clock(ticks * scale))


def _intervals(column: Any) -> Values:
    return _each(column, lambda span: _interval(span.months, span.days, span.nanoseconds))


def _bytes(column: Any) -> Values:
    return _each(column, _text)


def _lists(column: Any) -> Values:
    # The offsets of a slice point into its parent; flattening follows the slice and leaves null lists out.
    flat = values_of(column.flatten())
    sizes = compute.list_value_length(column).to_pylist()
    values = iter(flat)
    return [None if size is None else list(islice(values, size)) for size in sizes]


def _structs(column: Any) -> Values:
    names = [field.name for field in column.type]
    parts = [values_of(part) for part in column.flatten()] if names else []
    rows = zip(*parts, strict=True) if parts else (() for _ in range(len(column)))
    return _blanked(column, [dict(zip(names, row, strict=True)) for row in rows])


def _maps(column: Any) -> Values:
    # A map is a list of key and value pairs underneath, and its slices behave as those of lists do.
    kind = column.type
    pairs = pyarrow.struct([kind.key_field, kind.item_field])
    lists = _lists(column.cast(pyarrow.list_(pairs)))
    key, item = kind.key_field.name, kind.item_field.name
    if types.is_string(kind.key_type) or types.is_large_string(kind.key_type) or types.is_string_view(kind.key_type):
        return [None if rows is None else {row[key]: row[item] for row in rows} for rows in lists]
    return [None if rows is None else [{"key": row[key], "value": row[item]} for row in rows] for rows in lists]


def _dictionaries(column: Any) -> Values:
    return values_of(column.dictionary_decode())


def _plain(value: Any) -> Any:
    """A value of a rare type (a union, a view of lists) that pyarrow made a Python object."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _endless(values: Values, numbers: Any, ends: dict[str, int]) -> Values:
    for text, number in ends.items():
        for place in numpy.flatnonzero(numbers == number):
            values[place] = text
    return values


def _short(text: str) -> str:
    """A time of day or timestamp without a fraction that is all zeros."""
    head, dot, fraction = text.partition(".")
    return text if dot and fraction.strip("0") else head


def _era(text: str) -> str:
    """Years before 1 as people and DuckDB write them; numpy counts a year 0."""
    if not text.startswith(("-", "0000-")):
        return text
    year, _, rest = text.removeprefix("-").partition("-")
    return f"{int(year) + 1:04d}-{rest} (BC)"


def _clock(nanoseconds: int) -> str:
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    seconds, rest = divmod(rest, 10**9)
    fraction = f".{rest // 1000:06d}" if rest % 1000 == 0 else f".{rest:09d}"
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + (fraction if rest else "")


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """As DuckDB writes it, so that it can be pasted into a query: 1 year 2 months 3 days 04:05:06.789000."""
    sign = -1 if months < 0 else 1
    years, months = sign * (abs(months) // 12), sign * (abs(months) % 12)
    parts = [
        f"{count} {unit}{'' if abs(count) == 1 else 's'}"
        for count, unit in ((years, "year"), (months, "month"), (days, "day"))
        if count
    ]
    return " ".join([*parts, _clock(nanoseconds)] if nanoseconds or not parts else parts)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return b64encode(raw).decode()


def _as_they_are(kind: Any) -> bool:
    strings = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(strings or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind))


_ENCODERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Values]], ...] = (
    (_as_they_are, lambda column: column.to_pylist()),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (types.is_date, _dates),
    (types.is_timestamp, _timestamps),
    (types.is_time, _times),
    (types.is_duration, _durations),
    (types.is_interval, _intervals),
    (lambda t: types.is_binary(t) or types.is_large_binary(t) or types.is_fixed_size_binary(t), _bytes),
    (types.is_binary_view, _bytes),
    (lambda t: types.is_list(t) or types.is_large_list(t), _lists),
    (lambda t: types.is_fixed_size_list(t), lambda column: _lists(column.cast(pyarrow.list_(column.type.value_type)))),
    (types.is_struct, _structs),
    (types.is_map, _maps),
    (types.is_dictionary, _dictionaries),
)
