"""Columns that folders are named after (`day=2024-01-02/part.parquet`), as many writers divide a table's files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath
from urllib.parse import unquote

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Partition:
    """A column: its name, its type in SQL, and its value in each file, None for NULL."""

    name: str
    kind: str
    values: Sequence[str | None]


def partitions(called: Sequence[str], names: Sequence[str]) -> list[Partition]:
    """The columns that the folders of files stand for, whose paths these are, beside the `names` the files have.

    A name counts when the folders of all files have it. Whole numbers are BIGINT, ISO dates DATE, others text.
    """
    found = [dict(part.split("=", 1) for part in PurePath(path).parts[:-1] if "=" in part) for path in called]
    taken = {name.lower() for name in names}
    columns = []
    for name in found[0] if found else ():
        if not name or unquote(name).lower() in taken or not all(name in each for each in found):
            continue
        values = [None if each[name] == _NULL else unquote(each[name]) for each in found]
        columns.append(Partition(unquote(name), _kind([value for value in values if value is not None]), values))
    return columns


def _kind(values: Sequence[str]) -> str:
    if values and all(_WHOLE.fullmatch(value) for value in values):
        return "BIGINT"
    return "DATE" if values and all(map(_is_date, values)) else "VARCHAR"


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
