"""How much of a dataset's files a query reads at most, by what their footers say of columns and row groups."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lakehouse.engine.sql.instance import View
from lakehouse.engine.sql.remote import opened

if TYPE_CHECKING:
    import pyarrow.parquet

_TEST = re.compile(
    r"""\(*"?(?P<column>[^"()]+?)"? (?P<how>=|>=|<=|>|<) (?P<value>-?[\d.]+|'(?:[^']|'')*')(?:::.*)?\)*"""
)


@dataclass(frozen=True)
class Scan:
    """One scan of a plan: the columns it hands on, and the filters it applies itself; all of them hold."""

    columns: tuple[str, ...]
    filters: tuple[str, ...]

    def may_read(self, columns: Sequence[str]) -> bool:
        """Whether this may be a scan of files with these columns."""
        there = set(columns)
        return all(_top(name, there) in there for name in self.columns)

    def skips(self, group: "pyarrow.parquet.RowGroupMetaData", places: dict[str, int]) -> bool:
        """Whether the statistics of a row group say that no row of it passes."""
        return any(
            _excluded(group.column(places[column]).statistics, how, value)
            for column, how, value in self._tests()
            if column in places
        )

    def _tests(self) -> Iterator[tuple[str, str, str]]:
        for text in self.filters:
            if " OR " not in text:
                for part in text.split(" AND "):
                    if found := _TEST.fullmatch(part.strip()):
                        yield found["column"], found["how"], found["value"]


def most_read(views: Sequence[View], scans: Sequence[Scan]) -> list[dict[str, Any]]:
    """For each dataset its version, its rows and bytes, and the most a query with these scans reads of them.

    A plan does not say which scan reads which dataset; where more than one may, all of them are counted.
    """
    return [_read_of(view, scans) for view in views]


def _read_of(view: View, scans: Sequence[Scan]) -> dict[str, Any]:
    import pyarrow.parquet

    total_rows = total_bytes = rows = size = 0
    filtered = True
    for part, _ in view.files:
        footer = pyarrow.parquet.read_metadata(opened(part.path))
        names = footer.schema.to_arrow_schema().names
        mine = [scan for scan in scans if scan.may_read(names)]
        wanted = {_top(name, set(names)) for scan in mine for name in scan.columns} | _named(mine, names)
        filtered = filtered and bool(mine) and all(scan.filters for scan in mine)
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            columns = [group.column(place) for place in range(group.num_columns)]
            total_rows += group.num_rows
            total_bytes += sum(column.total_compressed_size for column in columns)
            places = {column.path_in_schema: place for place, column in enumerate(columns)}
            if mine and not all(scan.skips(group, places) for scan in mine):
                rows += group.num_rows
                size += sum(
                    column.total_compressed_size
                    for column in columns
                    if any(
                        column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.") for name in wanted
                    )
                )
    return {
        "name": view.name,
        "dataset": view.dataset,
        "version": view.version,
        "total_rows": total_rows,
        "total_bytes": total_bytes,
        "rows": rows,
        "bytes": size,
        "filtered": filtered,
    }


def _top(name: str, there: set[str]) -> str:
    """The column a projection is of: of a part of a struct, the struct."""
    name = name.strip('"')
    return name if name in there else name.split(".")[0].strip('"')


def _named(scans: Sequence[Scan], names: Sequence[str]) -> set[str]:
    text = " ".join(filter for scan in scans for filter in scan.filters)
    return {name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}


def _excluded(statistics: Any, how: str, text: str) -> bool:
    if statistics is None or not statistics.has_min_max:
        return False
    low, high = statistics.min, statistics.max
    try:
        value = _like(low, text)
        return bool(
            {
                "=": lambda: value < low or value > high,
                ">": lambda: high <= value,
                ">=": lambda: high < value,
                "<": lambda: low >= value,
                "<=": lambda: low > value,
            }[how]()
        )
    except (ValueError, TypeError, ArithmeticError):
        return False


def _like(example: Any, text: str) -> Any:
    """A constant of a plan as a value of the same kind as this one."""
    if isinstance(example, bool):
        raise ValueError(text)
    if isinstance(example, int | float | Decimal):
        return Decimal(text)
    if text[:1] != "'":
        raise ValueError(text)
    inner = text[1:-1].replace("''", "'")
    if isinstance(example, datetime):
        return datetime.fromisoformat(inner)
    if isinstance(example, date):
        return date.fromisoformat(inner)
    if isinstance(example, str):
        return inner
    raise ValueError(text)
