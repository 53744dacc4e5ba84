"""What readers of formats that unpack in memory may take of it: a crafted file ends its process, not the machine."""

import re

from lakehouse.engine import child

_UNITS = {"": 1, "K": 10, "M": 20, "G": 30, "T": 40}
_PROGRAM = 2 * 2**30  # address space of Python, Arrow and DuckDB with their threads, before they hold any data


def size_of(text: str) -> int:
    """The bytes a size of the settings stands for: 512MB, 1.5 GiB."""
    number, unit, binary = re.fullmatch(r"(?i)(\d+(?:\.\d+)?) ?([KMGT])(i?)B", text).groups()  # type: ignore[union-attr]
    power = _UNITS[unit.upper()]
    return int(float(number) * (2**power if binary else 1000 ** (power // 10)))


def bound(max_bytes: int, memory_limit: str) -> None:
    """Hold this process to `memory_limit` beyond what the program itself takes, and its files to `max_bytes`."""
    child.bound(max_bytes, _PROGRAM + size_of(memory_limit))
