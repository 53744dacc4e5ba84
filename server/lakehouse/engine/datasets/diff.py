"""What differs between two versions of a dataset: columns, counts, and rows by their key."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine.quoting import identifier
from lakehouse.engine.tables import Desk, Table, desk, table_of
from lakehouse.errors import InvalidInput, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets, Manifest
    from lakehouse.engine.storage import Storage

_LONGEST = 1000  # characters of one text in a sample
_BEFORE, _AFTER = "before", "after"


class ColumnChange(BaseModel):
    """A column that is not what it was."""

    name: str = Field(description="Its name.")
    before: str | None = Field(None, description="Its type; absent when it was not there.")
    after: str | None = Field(None, description="Its type; absent when it is gone.")


class RowChange(BaseModel):
    """A row whose values are not what they were."""

    key: dict[str, Any] = Field(description="Which row.")
    before: dict[str, Any] = Field(description="The values that changed.")
    after: dict[str, Any] = Field(description="What they are now.")


class Diff(BaseModel):
    """What differs between two versions. Rows are compared by the columns both have."""

    name: str = Field(description="The dataset.")
    before: int = Field(description="The older version.")
    after: int = Field(description="The newer version.")
    columns: list[ColumnChange] = Field(description="Columns that were added, removed or got another type.")
    rows_before: int = Field(description="Rows of the older version.")
    rows_after: int = Field(description="Rows of the newer version.")
    key: list[str] = Field(description="The columns that name a row; without any, rows are equal or not.")
    added: int = Field(description="Rows that are new.")
    removed: int = Field(description="Rows that are gone.")
    changed: int | None = Field(None, description="Rows of the same key with other values; absent without a key.")
    added_rows: list[dict[str, Any]] = Field(description="The first of them.")
    removed_rows: list[dict[str, Any]] = Field(description="The first of them.")
    changed_rows: list[RowChange] = Field(description="The first of them.")


async def diff(
    storage: "Storage",
    datasets: "Datasets",
    settings: config.Ingest,
    name: str,
    before: int | str | None = None,
    after: int | str | None = None,
    *,
    key: Sequence[str] | None = None,
    limit: int = 10,
) -> Diff:
    """Compare two versions of a dataset, by default the newest with the one before; each may be a moment, too.

    `key` are the columns that name a row, by default the dataset's own. Without any, rows are counted: one that is
    there twice and was there once is one more. At most `limit` rows of each kind are shown, long texts cut.

    Raises InvalidInput for a key that does not name rows, DatasetNotFound, DatasetDamaged, TooLarge for memory.
    """
    new = await (datasets.get(name) if after is None else datasets.at(name, after, ended=True))
    old = await (_previous(datasets, name, new.version) if before is None else datasets.at(name, before, ended=True))
    keys = list(old.key or new.key if key is None else dict.fromkeys(key))
    types = [{column.name: column.type for column in version.columns} for version in (old, new)]
    common = [column for column in types[0] if column in types[1]]
    for column in keys:
        if column not in common:
            raise InvalidInput(
                f"key: the versions do not both have a column {column!r}.",
                fix=did_you_mean(column, common, "They share none."),
            )
    changed = [
        ColumnChange(name=column, before=types[0].get(column), after=types[1].get(column))
        for column in dict.fromkeys([*types[0], *types[1]])
        if types[0].get(column) != types[1].get(column)
    ]
    retyped = [change.name for change in changed if change.before and change.after]
    found = Diff(
        name=name,
        before=old.version,
        after=new.version,
        columns=changed,
        rows_before=old.row_count,
        rows_after=new.row_count,
        key=keys,
        added=0,
        removed=0,
        changed=0 if keys else None,
        added_rows=[],
        removed_rows=[],
        changed_rows=[],
    )
    tables = {_BEFORE: await table_of(datasets, old), _AFTER: await table_of(datasets, new)}
    if not keys:
        tables = _apart(tables, old, new)
    there = {side: table for side, table in tables.items() if table.parts}
    if not common:
        found.added, found.removed = new.row_count, old.row_count
    elif there:
        async with storage.scratch() as folder, desk(there, folder, settings) as work:
            comparison = _Comparison(work, sorted(there), keys, common, retyped, limit)
            await (comparison.by_key(found) if keys else comparison.by_count(found))
    return found


async def _previous(datasets: "Datasets", name: str, version: int) -> "Manifest":
    numbers = await (await datasets.catalog_of(name)).versions(name)
    earlier = [number for number in numbers if number < version]
    if not earlier:
        raise InvalidInput(f"before: there is no version before {version}.", fix="See dataset_history.")
    return await datasets.get(name, earlier[-1])


def _apart(tables: dict[str, Table], old: "Manifest", new: "Manifest") -> dict[str, Table]:
    """The tables without the files both have, where those are read alike: of an append, only what it added is read."""
    if old.merged or new.merged:
        return tables
    files = {side: [file.sha256 for file in version.objects] for side, version in ((_BEFORE, old), (_AFTER, new))}
    both = set(files[_BEFORE]) & set(files[_AFTER])
    both = {sha for sha in both if all(shas.count(sha) == 1 for shas in files.values())}
    return {
        side: Table(
            [part for part, sha in zip(table.parts, files[side], strict=True) if sha not in both],
            table.columns,
            table.key,
        )
        for side, table in tables.items()
    }


class _Comparison:
    """Two tables side by side. Where one is empty, the other one stands for its columns, without rows."""

    def __init__(
        self, work: Desk, there: list[str], key: list[str], common: list[str], retyped: list[str], limit: int
    ) -> None:
        self._work, self._there, self._key, self._common, self._limit = work, there, key, common, limit
        self._retyped = set(retyped)

    def _side(self, side: str) -> str:
        """A table's columns as c0, c1 …, of those that both versions have, and h, a hash of the values.

        64 bits tell the two rows of a key apart, as they are compared with no others.
        """
        listed = ", ".join(f"{self._value(column)} AS c{place}" for place, column in enumerate(self._common))
        hashed = ", ".join(self._value(column) for column in self._common)
        rows = side if side in self._there else f"{self._there[0]} WHERE false"
        # The second half for rows without a key, which are told apart from all others: 128 bits.
        return f"(SELECT {listed}, hash({hashed}) AS h, hash('lakehouse', {hashed}) AS g FROM {rows})"

    def _value(self, column: str) -> str:
        return f"CAST({identifier(column)} AS VARCHAR)" if column in self._retyped else identifier(column)

    async def by_key(self, found: Diff) -> None:
        places = [self._common.index(column) for column in self._key]
        keys = ", ".join(f"c{place}" for place in places)
        a, b = self._side(_BEFORE), self._side(_AFTER)
        for side, version in ((_BEFORE, found.before), (_AFTER, found.after)):
            await self._check_key(side, version, places)
        join = f"{a} a FULL JOIN {b} b USING ({keys})"
        counts = await self._work.rows(
            "SELECT count(*) FILTER (a.h IS NULL), count(*) FILTER (b.h IS NULL), "
            f"count(*) FILTER (a.h <> b.h) FROM {join}"
        )
        found.added, found.removed, found.changed = counts[0]
        if not self._limit:
            return
        for one, other, into in ((b, a, found.added_rows), (a, b, found.removed_rows)):
            into += await self._sample(f"{one} x ANTI JOIN {other} y USING ({keys})", keys)
        if not found.changed:
            return
        places_all = range(len(self._common))
        values = ", ".join(f"a.c{n} AS a{n}, b.c{n} AS b{n}" for n in places_all)
        differing = (
            f"SELECT {keys} FROM {a} a JOIN {b} b USING ({keys}) WHERE a.h <> b.h ORDER BY {keys} LIMIT {self._limit}"
        )
        rows = await self._work.rows(
            f"WITH d AS ({differing}) SELECT {values} FROM d JOIN {a} a USING ({keys}) JOIN {b} b USING ({keys}) "
            f"ORDER BY {', '.join(f'a.c{place}' for place in places)}"
        )
        for row in rows:
            was, now = row[::2], row[1::2]
            differ = [n for n in places_all if was[n] != now[n]]
            found.changed_rows.append(
                RowChange(
                    key={column: _cut(was[place]) for column, place in zip(self._key, places, strict=True)},
                    before={self._common[n]: _cut(was[n]) for n in differ},
                    after={self._common[n]: _cut(now[n]) for n in differ},
                )
            )

    async def by_count(self, found: Diff) -> None:
        a, b = self._side(_BEFORE), self._side(_AFTER)
        net = (
            "SELECT h, g, sum(n) AS n FROM "
            f"(SELECT h, g, 1 AS n FROM {b} UNION ALL SELECT h, g, -1 FROM {a}) GROUP BY h, g HAVING sum(n) <> 0"
        )
        counts = await self._work.rows(
            "SELECT coalesce(sum(n) FILTER (n > 0), 0)::BIGINT, coalesce(-sum(n) FILTER (n < 0), 0)::BIGINT "
            f"FROM ({net})"
        )
        found.added, found.removed = counts[0]
        columns = ", ".join(f"x.c{place}" for place in range(len(self._common)))
        for one, sign, count, into in (
            (b, "", found.added, found.added_rows),
            (a, "-", found.removed, found.removed_rows),
        ):
            if count and self._limit:
                # Of a row that is there more often than it was, only so many as are new.
                into += await self._sample(
                    f"{one} x JOIN (SELECT * FROM ({net}) WHERE {sign}n > 0) d USING (h, g) "
                    f"QUALIFY row_number() OVER (PARTITION BY h, g) <= {sign}d.n",
                    columns,
                )

    async def _sample(self, rows: str, order: str) -> list[dict[str, Any]]:
        columns = ", ".join(f"x.c{place}" for place in range(len(self._common)))
        found = await self._work.rows(f"SELECT {columns} FROM {rows} ORDER BY {order} LIMIT {self._limit}")
        return [dict(zip(self._common, map(_cut, row), strict=True)) for row in found]

    async def _check_key(self, side: str, version: int, places: list[int]) -> None:
        keys = ", ".join(f"c{place}" for place in places)
        empty = " OR ".join(f"c{place} IS NULL" for place in places)
        nulls, repeated = (
            await self._work.rows(
                f"SELECT (SELECT count(*) FROM {self._side(side)} WHERE {empty}), "
                f"(SELECT count(*) FROM (SELECT 1 FROM {self._side(side)} GROUP BY {keys} HAVING count(*) > 1))"
            )
        )[0]
        if nulls or repeated:
            what = f"is empty in {nulls} rows" if nulls else f"is the same in several rows ({repeated} times)"
            raise InvalidInput(
                f"key: in version {version} {', '.join(self._key)} {what}.",
                fix="Name columns that tell every row apart, or key=[] to compare whole rows.",
            )


def _cut(value: Any) -> Any:
    return f"{value[:_LONGEST]}…" if isinstance(value, str) and len(value) > _LONGEST else value
