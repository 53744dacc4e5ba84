"""Which version of each dataset a query means: by `as_of`, or in the table's name ("orders@v3")."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.engine.sql.names import Names, folded
from lakehouse.engine.sql.request import AsOf
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest

ALL = "*"
MAY_NAME_A_VERSION = re.compile(r'"[^"]*@[^"]*"')


def whens(as_of: AsOf | None) -> dict[str, int | str]:
    """`as_of` by dataset; `*` is all others. Raises InvalidInput."""
    if as_of is None:
        return {}
    given = dict(as_of) if isinstance(as_of, Mapping) else {ALL: as_of}
    for name, when in given.items():
        if isinstance(when, bool) or not isinstance(when, int | str) or (isinstance(when, str) and not when.strip()):
            raise InvalidInput(
                f"as_of: {when!r} for {name[:100]!r} is neither a version nor a moment.",
                fix='Write {"orders": 3, "*": "2026-05-01"}, or "2026-05-01" for all.',
            )
    return given


class Past:
    """Finds the versions that the tables of a query stand for."""

    def __init__(self, datasets: "Datasets") -> None:
        self._datasets = datasets

    async def versions(self, tables: Sequence[str], given: Mapping[str, int | str]) -> "dict[str, Manifest] | None":
        """The version of each table a query names, by that name; None when all of them are the newest anyway.

        A dataset that was dropped is there by its version. Raises InvalidInput, Conflict, DatasetNotFound with the
        versions there are, DatasetDamaged.
        """
        newest = {manifest.name: manifest for manifest in await self._datasets.list()}
        names = Names(newest)
        wanted = {folded(name): (name, when) for name, when in given.items() if name != ALL}
        for asked, _ in wanted.values():
            if names.find(asked) is None:
                await self._datasets.catalog_of(asked)
        found: dict[str, Manifest] = {}
        past = False
        for table in tables:
            name = names.find(table)
            own, when = wanted.get(folded(name or table), (table, given.get(ALL)))
            if name is None and folded(table) not in wanted and "@" in table[1:]:
                own, _, when = table.rpartition("@")
            if when is not None:
                past = True
                if not any(folded(name or table) == folded(other) for other in found):
                    found[name or table] = await self._at(name or names.find(own) or own, when)
            elif name is not None:
                found[name] = newest[name]
            else:
                raise names.unknown(table)
        return found if past else None

    async def _at(self, name: str, when: int | str) -> "Manifest":
        from lakehouse.engine.datasets import DatasetNotFound

        try:
            return await self._datasets.at(name, when)
        except DatasetNotFound as error:
            try:
                numbers = await (await self._datasets.catalog_of(name)).versions(name)
            except DatasetNotFound:
                raise error from None
            raise DatasetNotFound(error.detail, fix=f"Its versions are {_ranges(numbers)}.") from error


def _ranges(numbers: Sequence[int]) -> str:
    """1 to 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{low} to {high}" if high > low else str(low) for low, high in runs[-20:])
