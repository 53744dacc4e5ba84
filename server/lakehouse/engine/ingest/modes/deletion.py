"""Rows of a dataset removed: those a condition holds for."""

from lakehouse.engine.datasets import Draft
from lakehouse.engine.datasets.failures import dropped, unknown
from lakehouse.engine.ingest.modes.place import Place
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import marker
from lakehouse.engine.tables import table_of

_WHERE_CHARS = 500


class Deletion:
    """Answers the version without the rows that `where` is true for: an SQL condition that a caller wrote.

    Where rows have a key, a delta names those that are gone. Else the rest is written anew.
    """

    def __init__(self, place: Place, where: str) -> None:
        self.deleted = 0
        self._place, self._where = place, where

    async def next(self, current: Manifest | None) -> Draft | None:
        """The next version; None when there are no such rows.

        Raises DatasetNotFound, InvalidInput for what is no condition, Upstream.
        """
        self.deleted = 0
        name = self._place.name
        if current is None:
            raise unknown(name, [])
        if current.dropped:
            raise dropped(name)
        table = await table_of(self._place.datasets, current)
        columns = [column.name for column in current.columns]
        source = identifier(name)
        async with self._place.desk({name: table}) as desk:
            if current.key:
                keys = ", ".join(map(identifier, current.key))
                lacks = [column for column in columns if column not in current.key]
                gone = f"SELECT {keys}, true AS {identifier(marker(columns, lacks))} FROM {source}"
                written = await desk.write(
                    f"{gone} WHERE ({self._where}\n) ORDER BY {keys}", foreign=True, conditions={"where": self._where}
                )
                left, deleted = current.row_count - written.rows, written.rows
            else:
                listed = ", ".join(map(identifier, columns))
                written = await desk.write(
                    f"SELECT {listed} FROM {source} WHERE ({self._where}\n) IS NOT TRUE",
                    foreign=True,
                    conditions={"where": self._where},
                )
                left, deleted = written.rows, current.row_count - written.rows
        if not deleted:
            return None
        self.deleted = deleted
        if current.key:
            file = await self._place.store(written, role="delta", lacks=lacks, current=current)
            objects = (*current.objects, file)
        else:
            objects = (await self._place.store(written, current=current),)
        return Draft.of(
            current, "delete", objects=objects, row_count=left, provenance={"where": self._where[:_WHERE_CHARS]}
        )
