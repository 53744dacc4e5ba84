"""A file that was read, on its way into a dataset's next version."""

from collections.abc import Sequence
from dataclasses import replace

from lakehouse.engine.datasets import Column, DataFile, Draft, check_same_schema
from lakehouse.engine.ingest import kinds
from lakehouse.engine.ingest.modes import fitting, keys
from lakehouse.engine.ingest.modes.place import Place
from lakehouse.engine.ingest.options import Options
from lakehouse.engine.ingest.reading import Read
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier, literal
from lakehouse.engine.relation import Part, marker
from lakehouse.engine.tables import Desk, Table, Written, table_of
from lakehouse.errors import Conflict, InvalidInput

_DELTA = "delta.parquet"
_REMEMBERED = 50  # appended contents that a compaction keeps in mind
MARK_CHARS = 16  # of a hash


class Incoming:
    """Answers the next version for each newest one there is (see Change). `file` is then what holds the rows."""

    def __init__(self, place: Place, read: Read, options: Options) -> None:
        self.file: DataFile | None = None
        self.replaced = 0  # rows of the dataset whose place new ones took, or that went
        self.warnings = list(read.warnings)
        self._place, self._read, self._options = place, read, options
        self._provenance = {**options.provenance, "source": options.source, **read.source}

    async def next(self, found: Manifest | None) -> Draft | None:
        """The next version; None when the rows are there already.

        Raises SchemaChanged, InvalidInput listing rows, Conflict, and Upstream when the store fails.
        """
        current = None if found is None or found.dropped else found
        if self._options.mode == "append":
            return await self._appended(current)
        if self._options.mode == "upsert":
            return await self._upserted(current)
        return await self._replaced(current)

    async def _replaced(self, current: Manifest | None) -> Draft:
        columns = self._read.columns
        key: Sequence[str] = self._options.key
        if current is not None:
            key = key or current.key
            if self._options.evolve:
                columns = fitting.columns_of(current, columns, evolve=True, retype=False)
            else:
                check_same_schema(current, columns)
        return await self._first("ingest", columns, key, current)

    async def _first(
        self, operation: str, columns: Sequence[Column], key: Sequence[str], old: Manifest | None
    ) -> Draft:
        """A version of these rows alone."""
        keys.check_columns(key, columns)
        written = self._written
        if key or tuple(columns) != self._read.columns:
            async with self._place.desk({"given": self._given}) as desk:
                if key:
                    await keys.check_rows(desk, "given", key, "the file")
                if tuple(columns) != self._read.columns:
                    written = await desk.write(await fitting.fitted(desk, "given", columns, {}), "fitted.parquet")
        self.file = await self._place.store(written, current=old)
        expectations = old.expectations if old is not None else ()
        return Draft(
            operation, tuple(columns), (self.file,), written.rows, tuple(key), expectations, provenance=self._provenance
        )

    async def _appended(self, current: Manifest | None) -> Draft | None:
        if self._options.key:
            raise InvalidInput("key: an append has none.", fix="Use mode=upsert for rows that have a key.")
        if current is None:
            return await self._first("append", self._read.columns, (), None)
        if current.key:
            raise Conflict(
                f"the rows of dataset {current.name!r} are named by {', '.join(current.key)}.",
                fix="Use mode=upsert: rows whose key is there take the place of the old ones, the others are added.",
            )
        columns = fitting.columns_of(current, self._read.columns, evolve=self._options.evolve, retype=True)
        written = self._written
        if columns != self._read.columns:
            tables = {"given": self._given, "current": await table_of(self._place.datasets, current)}
            async with self._place.desk(tables) as desk:
                types = await fitting.types_of(desk, "current")
                written = await desk.write(await fitting.fitted(desk, "given", columns, types), "fitted.parquet")
        if not self._options.repeat and (there := _holding(current, written.sha256)) is not None:
            self.file = there
            self.warnings.append("the dataset has these very rows already; repeat=true adds them once more")
            return None
        self.file = await self._place.store(written, current=current)
        remembered = {name: current.provenance[name] for name in ("folded",) if name in current.provenance}
        return self._after(current, columns, self.file, current.row_count + written.rows, (), remembered)

    async def _upserted(self, current: Manifest | None) -> Draft | None:
        if current is None:
            key = keys.key_of(None, self._options.key, self._read.columns)
            return await self._first("upsert", self._read.columns, key, None)
        deleted = self._deleted(current)
        given = [column for column in self._read.columns if column.name != deleted]
        tables = {"given": self._given, "current": await table_of(self._place.datasets, current)}
        async with self._place.desk(tables) as desk:
            gone_only = deleted is not None and not await _count(desk, f"given WHERE {_lives(deleted)}")
            if gone_only:  # who is gone needs no more than a name
                here = {column.name for column in given}
                given += [column for column in current.columns if column.name not in here]
            columns = fitting.columns_of(current, given, evolve=self._options.evolve, retype=True)
            key = keys.key_of(current, self._options.key, current.columns)
            keys.check_columns(key, self._read.columns)
            await keys.check_rows(desk, "given", key, "the file")
            if not current.key:
                await keys.check_rows(desk, "current", key, f"dataset {current.name!r}")
            wanted = [column for column in columns if column.name in key] if gone_only else columns
            lacks = [column.name for column in columns if column not in wanted]
            mark = identifier(marker([column.name for column in columns], lacks))
            is_gone = f"NOT ({_lives(deleted)})" if deleted is not None else "false"
            types = await fitting.types_of(desk, "current")
            rows = await fitting.fitted(desk, "given", wanted, types, [f"{is_gone} AS {mark}"])
            written = await desk.write(rows, _DELTA)
            delta = f"read_parquet({literal(_DELTA)})"
            named = ", ".join(map(identifier, key))
            self.replaced = await _count(desk, f"current SEMI JOIN {delta} USING ({named})")
            added = await _count(desk, f"{delta} WHERE NOT {mark}")
        if gone_only and not self.replaced:
            return None
        last = current.objects[-1]
        if last.role == "delta" and last.sha256 == written.sha256 and last.lacks == tuple(lacks):
            self.file, self.replaced = last, 0
            return None
        self.file = await self._place.store(written, role="delta", lacks=lacks, current=current)
        return self._after(current, columns, self.file, current.row_count - self.replaced + added, key, {})

    def _deleted(self, current: Manifest) -> str | None:
        """The column of the file that says which rows go, where one may."""
        name = self._options.deletes.lower()
        if not name or any(column.name.lower() == name for column in current.columns):
            return None
        found = next((column for column in self._read.columns if column.name.lower() == name), None)
        if found is not None and found.type != "bool":
            raise InvalidInput(f"{found.name}: it is {found.type}, not true or false.", fix="Give it boolean values.")
        return found.name if found is not None else None

    def _after(
        self,
        current: Manifest,
        columns: tuple[Column, ...],
        file: DataFile,
        row_count: int,
        key: tuple[str, ...],
        more: dict[str, object],
    ) -> Draft:
        """The dataset with one more file; what is there lacks the columns that come with it."""
        known = {column.name for column in current.columns}
        added = tuple(column.name for column in columns if column.name not in known)
        older = tuple(replace(old, lacks=(*old.lacks, *added)) for old in current.objects)
        return Draft.of(
            current,
            self._options.mode,
            columns=columns,
            objects=(*older, file),
            row_count=row_count,
            key=key,
            provenance={**self._provenance, **more},
        )

    @property
    def _written(self) -> Written:
        read = self._read
        return Written(read.path, read.rows, read.bytes, read.sha256, [(c.name, c.type) for c in read.columns])

    @property
    def _given(self) -> Table:
        return Table([Part(str(self._read.path))])


def held(current: Manifest | None, options: Options) -> dict[str, str]:
    """How a source's columns are read where the dataset has them, by their SQL types."""
    if current is None or current.dropped or (options.mode == "replace" and not options.quarantine):
        return {}
    found = {column.name: kinds.KIND[column.type] for column in current.columns if column.type in kinds.KIND}
    found = {name: kind for name, kind in found.items() if name not in options.types}
    return {options.deletes: "BOOLEAN", **found} if options.deletes else found


def folded(run: Sequence[DataFile], before: Sequence[str]) -> list[str]:
    """What a compaction writes down of the contents it folds, so that they are known when they are appended again."""
    return [*before, *(file.sha256[:MARK_CHARS] for file in run if file.role == "base")][-_REMEMBERED:]


def _holding(current: Manifest, sha256: str) -> DataFile | None:
    """The file that has these rows already, by itself or among others."""
    for file in reversed(current.objects):
        if file.sha256 == sha256:
            return file
    return current.objects[0] if sha256[:MARK_CHARS] in current.provenance.get("folded", ()) else None


def _lives(deleted: str) -> str:
    return f"NOT coalesce({identifier(deleted)}, false)"


async def _count(desk: Desk, source: str) -> int:
    return int((await desk.rows(f"SELECT count(*) FROM {source}"))[0][0])
