"""Rows that may not stay: what a dataset expects of them is checked before anything is stored, and rejects are kept.

The rejects of dataset `orders` are the dataset `orders_rejects`, committed first: whatever ends the process between the
two leaves rejects whose source is still there, and the same ingest again finishes both.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse import config
from lakehouse.engine.datasets import (
    Change,
    DataFile,
    DatasetNotFound,
    Datasets,
    Draft,
    Manifest,
    check_name,
    check_same_schema,
    data_key,
)
from lakehouse.engine.expectations.failures import broken
from lakehouse.engine.expectations.judge import Data, Finding, Row, judge, statements
from lakehouse.engine.expectations.rules import Expectation, check_columns, stored
from lakehouse.engine.expectations.rules import read as expected
from lakehouse.engine.ingest.modes.fitting import columns_of
from lakehouse.engine.ingest.reading import Read, locate, rejects_of
from lakehouse.engine.manifests import Column, fingerprint
from lakehouse.engine.quoting import identifier, literal
from lakehouse.engine.relation import Part
from lakehouse.engine.storage import KeyExists, Storage
from lakehouse.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.ingest.options import Options
    from lakehouse.engine.tables import Desk

SUFFIX = "_rejects"
COLUMNS = tuple(
    Column(name, kind)
    for name, kind in (("line", "int64"), *((text, "string") for text in ("column", "value", "reason", "raw")))
)


@dataclass(frozen=True)
class Arrival:
    """What was read of `path` in `folder`, to become the next version of a dataset; `current` is its newest, if any."""

    name: str
    path: Path
    folder: Path
    read: Read
    current: Manifest | None = None

    def columns(self, options: "Options") -> list[str]:
        """The columns that the dataset will have. Raises SchemaChanged."""
        if self.current is None:
            return [column.name for column in self.read.columns]
        retype = options.mode != "replace"
        found = columns_of(self.current, self.read.columns, evolve=options.evolve, retype=retype)
        return [column.name for column in found]


@dataclass(frozen=True)
class Sifted:
    """The rows that may stay, and how many are in the dataset `rejects` instead."""

    read: Read
    rejected: int = 0
    rejects: str | None = None
    warnings: Sequence[str] = ()


def rejects_name(name: str) -> str:
    """The dataset of a dataset's rejects. Raises InvalidInput when that would be too long a name."""
    return check_name(name + SUFFIX)


class Sieve:
    """Checks what comes in against what its dataset expects, before anything of it is stored."""

    def __init__(self, storage: Storage, datasets: Datasets, settings: config.Ingest) -> None:
        self._storage, self._datasets, self._settings = storage, datasets, settings

    async def sift(self, arrival: Arrival, options: "Options") -> Sifted:
        """The rows that may stay; with `options.quarantine`, the others are stored as the dataset's rejects.

        Raises Broken listing the rows that do not hold what is expected, with their lines in a file that has lines.
        """
        current, read = arrival.current, arrival.read
        if options.deletes:
            return Sifted(read)  # a row that only says which one goes holds nothing; the commit looks at the outcome
        stays = current if options.mode != "replace" else None
        if options.quarantine:
            arrival.columns(options)  # raises before rejects are stored
        read, warnings = await self.judged(arrival, options)
        rejects = await self._kept(arrival, read, options) if read.rejected else None
        expectations = _expected(current, options)
        if expectations and self._datasets.gate is not None:
            self._datasets.gate.remember(arrival.name, stays, read.sha256, stored(expectations))
        return Sifted(read, read.rejected, rejects, warnings)

    async def judged(self, arrival: Arrival, options: "Options") -> tuple[Read, Sequence[str]]:
        """What of it may stay, and what is wrong that is only a warning; nothing is stored. Raises Broken."""
        expectations = _expected(arrival.current, options)
        if not expectations or options.deletes:
            return arrival.read, ()
        from lakehouse.engine.tables import Table, desk, table_of

        columns = arrival.columns(options)
        check_columns(expectations, columns)
        read, folder, current = arrival.read, arrival.folder, arrival.current
        given = {column.name for column in read.columns}
        lacks = tuple(column for column in columns if column not in given)
        tables = {"data": Table([Part(str(read.path), lacks=lacks)], columns)}
        data = Data()
        if current is not None and options.mode == "append" and not options.repeat:
            if any(file.sha256 == read.sha256 for file in current.objects):
                return read, ()  # it is there already
            if current.operation == "append" and current.provenance.get("sha256") == read.source["sha256"]:
                # The same file again, of which some rows were set aside: judged as it was then, it gives the same rows.
                current = replace(current, objects=current.objects[:-1])
        if current is not None and current.objects and options.mode != "replace":
            tables["present"] = await table_of(self._datasets, current)
            key = (options.key or current.key) if options.mode == "upsert" else ()
            data = Data(present=[column.name for column in current.columns], key=key)
        async with desk(tables, folder, self._settings) as work:
            findings = await judge(work, expectations, data)
            failed = _failed(findings)
            rules = [e for e, found in zip(expectations, findings, strict=True) if found in failed and found.count]
            if rules and options.quarantine:
                read = await _taken_out(work, rules, data, read)
        if read is not arrival.read:
            await locate(arrival.path, options, folder, self._settings, merge=True)
            tables["data"] = Table([Part(str(read.path), lacks=lacks)], columns)
            counted = [each for each in expectations if each.rule == "row_count"]
            async with desk(tables, folder, self._settings) as work:
                failed = _failed(await judge(work, counted, data))
        if failed:
            rows = [row.row for found in failed for row in found.rows]
            lines = await locate(arrival.path, options, folder, self._settings, rows=rows) if rows else {}
            raise broken(arrival.name, [_with_lines(found, lines) for found in failed])
        return read, [f"{f.expectation}: {f.words}" for f in findings if not f.holds and f.severity == "warn"]

    async def _kept(self, arrival: Arrival, read: Read, options: "Options") -> str:
        """Commit folder/rejects.parquet as the sibling dataset, beside the rejects of rows that stay; its name."""
        sibling = rejects_name(arrival.name)
        facts = await rejects_of(arrival.folder)
        bucket = await self._datasets.bucket_for(arrival.name)
        key = data_key(sibling, fingerprint(COLUMNS), facts["sha256"])
        data = DataFile(key, facts["sha256"], facts["bytes"], facts["rows"])
        provenance = {**options.provenance, "source": options.source, **read.source, "rejects_of": arrival.name}

        async def changed(current: Manifest | None) -> Draft:
            if current is None or current.dropped:
                return Draft("quarantine", COLUMNS, (data,), data.row_count, provenance=provenance)
            if current.provenance.get("rejects_of") != arrival.name:
                raise Conflict(
                    f"dataset {sibling!r} is there, and does not hold the rejects of {arrival.name!r}.",
                    fix="Ingest under another name, or without quarantine.",
                )
            check_same_schema(current, COLUMNS)
            before = current.objects if options.mode != "replace" else ()
            files = before if data in before else (*before, data)
            rows = sum(each.row_count for each in files)
            return Draft.of(current, "quarantine", objects=files, row_count=rows, provenance=provenance)

        await changed(await newest(self._datasets, sibling))  # raises before anything is stored
        with suppress(KeyExists):  # named by its content: what is there is the same
            await self._storage.put_immutable(key, arrival.folder / "rejects.parquet", facts["sha256"], bucket)
        await self._datasets.change(sibling, changed, bucket=bucket)
        return sibling


def expecting(make: Change, expectations: "Sequence[Expectation] | None") -> Change:
    """The same change of a dataset, which holds these expectations from then on; None: those it held."""
    if expectations is None:
        return make
    kept = stored(expectations)

    async def changed(current: Manifest | None) -> Draft | None:
        draft = await make(current)
        if draft is None and current is not None:  # the same rows as before
            more = {"statistics": current.statistics, "provenance": current.provenance}
            return Draft.of(current, "expectations", expectations=kept, **more)
        return replace(draft, expectations=kept) if draft is not None else None

    return changed


async def newest(datasets: Datasets, name: str) -> Manifest | None:
    """A dataset's newest version; None where there is none, or it was dropped."""
    try:
        return await datasets.get(name)
    except DatasetNotFound:
        return None


def _expected(current: Manifest | None, options: "Options") -> Sequence[Expectation]:
    if options.expectations is not None:
        return options.expectations
    return expected(current.expectations) if current is not None else ()


def _failed(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if not found.holds and found.severity == "error"]


def _with_lines(found: Finding, lines: Mapping[int, int]) -> Finding:
    rows = [Row(**{**row.model_dump(), "line": lines.get(row.row)}) for row in found.rows]
    first = found.rows[0] if found.rows else None
    words = found.words
    if first is not None and first.row in lines:
        words = words.replace(f"row {first.row}", f"line {lines[first.row]}", 1)
    return found.model_copy(update={"rows": rows, "words": words})


async def _taken_out(work: "Desk", rules: Sequence[Expectation], data: Data, read: Read) -> Read:
    """The data without the rows that break a rule, which are written as broken.parquet."""
    parts = []
    for number, each in enumerate(rules):
        for place, (column, _, listed) in enumerate(statements(each, data)):
            name = f"broken-{number}-{place}.parquet"
            await work.write(f"SELECT _row, left(_it, 80) AS _it FROM ({listed})", name, foreign=each.rule == "sql")
            shown = literal(column) if column else "NULL::VARCHAR"
            reason = literal(f"breaks {each.text}")
            parts.append(
                f"SELECT _row, {number * 1000 + place} AS n, {shown} AS _column, _it, {reason} AS _reason"
                f" FROM read_parquet({literal(name)})"
            )
    own = ", ".join(f"{literal(column.name)}: {identifier(column.name)}" for column in read.columns)
    table = identifier(data.table)
    found = f"SELECT * FROM ({' UNION ALL '.join(parts)}) QUALIFY row_number() OVER (PARTITION BY _row ORDER BY n) = 1"
    numbered = f"SELECT row_number() OVER () AS _row, CAST(to_json({{{own}}}) AS VARCHAR) AS _raw FROM {table}"
    written = await work.write(
        f"SELECT _row, _column, _it, _reason, _raw FROM ({found}) JOIN ({numbered}) USING (_row) ORDER BY _row",
        "broken.parquet",
    )
    if written.rows >= read.rows:
        raise InvalidInput("no row holds what is expected of it.", fix="Look at check_expectations, and at the file.")
    columns = ", ".join(identifier(column.name) for column in read.columns)
    sound = await work.write(
        f"SELECT {columns} FROM (SELECT row_number() OVER () AS _row, {columns} FROM {table})"
        " ANTI JOIN (SELECT _row FROM read_parquet('broken.parquet')) USING (_row) ORDER BY _row",
        "sound-data.parquet",
    )
    return replace(
        read,
        path=sound.path,
        rows=sound.rows,
        bytes=sound.bytes,
        sha256=sound.sha256,
        rejected=read.rejected + written.rows,
    )
