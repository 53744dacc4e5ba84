"""What a caller asks of a query, checked: the text, its parameters, and limits lower than the usual ones."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.errors import InvalidInput, TimedOut, TooLarge

if TYPE_CHECKING:
    from lakehouse import config

Params = Sequence[Any] | Mapping[str, Any]
AsOf = int | str | Mapping[str, int | str]

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B", re.I)
_LEAST_MEMORY = 10_000_000  # a query of one dataset needs about 5 MB to begin
USUAL = "Leave it out for the usual limit."


@dataclass(frozen=True)
class Lower:
    """Limits of one call; None is the setting's."""

    max_rows: int | None = None
    max_bytes: int | None = None
    timeout: float | None = None
    memory: str | None = None


def bytes_of(size: str) -> int:
    """A size as settings have it ("1GB", "512MiB") in bytes. Raises ValueError."""
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise ValueError(size)
    return int(float(found[1]) * (1024 if found[3] else 1000) ** (" KMGT".index(found[2].upper())))


def seconds_of(limits: "config.Sql", lower: Lower) -> float:
    """How long a call may take. Raises InvalidInput."""
    if lower.timeout is None:
        return limits.timeout_secs
    if not lower.timeout > 0 or math.isinf(lower.timeout):
        raise InvalidInput(f"timeout: {lower.timeout} is no number of seconds over 0.", fix=USUAL)
    return min(lower.timeout, limits.timeout_secs)


def checked(limits: "config.Sql", sql: str, params: Params | None, lower: Lower) -> dict[str, Any]:
    """The request as a query process takes it. Raises InvalidInput, TooLarge."""
    _check_text(sql, limits.max_sql_bytes)
    request = {
        "sql": sql,
        "params": _values(params),
        "caps": {
            "rows": _least("max_rows", lower.max_rows, limits.max_rows),
            "bytes": _least("max_bytes", lower.max_bytes, limits.max_bytes),
            "file_rows": limits.max_handle_rows,
            "file_bytes": limits.max_handle_bytes,
        },
    }
    memory = _memory(lower.memory, limits.memory_limit)
    return request if memory is None else request | {"memory": memory}


def out_of_time(seconds: float) -> TimedOut:
    """The query took too long."""
    return TimedOut(
        f"the query took over {seconds:g} seconds.",
        fix="Ask for less, filter earlier, or raise sql.timeout_secs.",
    )


def _check_text(sql: str, most: int) -> None:
    try:
        size = len(sql.encode())
    except UnicodeEncodeError:
        raise InvalidInput("sql: it is not valid Unicode.", fix="Send it as UTF-8.") from None
    if size > most:
        raise TooLarge(
            f"sql: {size} bytes are over the limit of {most}.",
            fix="Send long values as params, or raise sql.max_sql_bytes.",
        )
    if not sql.strip():
        raise InvalidInput("sql: it is empty.", fix="Send a SELECT.")
    if "\0" in sql:
        raise InvalidInput("sql: it holds a NUL character.", fix="Send a SELECT.")


def _values(params: Params | None) -> dict[str, Any] | list[Any]:
    if params is not None and (isinstance(params, str) or not isinstance(params, Sequence | Mapping)):
        raise InvalidInput("params: they are a list or an object.", fix='Send [1, "a"] for ?, {"x": 1} for $x.')
    values = dict(params) if isinstance(params, Mapping) else list(params or ())
    try:
        json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"params: {error}.", fix="Send text, numbers, true, false, null, lists and objects; cast in SQL."
        ) from error
    return values


def _least(what: str, asked: int | None, most: int) -> int:
    if asked is not None and asked < 1:
        raise InvalidInput(f"{what}: {asked} is under 1.", fix=USUAL)
    return min(asked or most, most)


def _memory(asked: str | None, most: str) -> str | None:
    """The limit as DuckDB takes it; None for the usual one."""
    if asked is None:
        return None
    try:
        size = bytes_of(asked)
    except ValueError:
        raise InvalidInput(f"memory: {asked[:40]!r} is no size.", fix="Write 200MB, or 1GiB.") from None
    if size < _LEAST_MEMORY:
        raise InvalidInput(f"memory: {asked[:40]!r} is under 10MB, with which no query runs.", fix=USUAL)
    return None if size >= bytes_of(most) else f"{size}B"
