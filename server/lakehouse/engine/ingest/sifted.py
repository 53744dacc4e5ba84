"""Rows that may not stay: what a dataset expects of them is checked before anything is stored, and rejects are kept.

The rejects of dataset `orders` are the dataset `orders_rejects`, committed first: whatever ends the process between the
two leaves rejects whose source is still there, and the same ingest again finishes both.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse import config
from lakehouse.engine.datasets import (
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
class Incoming:
    """What was read of `path` in `folder`, to become the next version of the dataset `name`.

    `current` is its newest version, if there is one. When its rows stay (`stays`), those do not whose `key` comes in
    again. `columns` are those that the dataset will have.
    """

    name: str
    path: Path
    folder: Path
    read: Read
    columns: Sequence[str]
    current: Manifest | None = None
    stays: bool = False
    key: Sequence[str] = ()


@dataclass(frozen=True)
class Sifted:
    """The rows that may stay, what is expected of them, and how many are in the dataset `rejects` instead."""

    read: Read
    expectations: tuple[dict[str, Any], ...] = ()
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

    async def sift(self, incoming: Incoming, options: "Options") -> Sifted:
        """The rows that may stay; with `options.quarantine`, the others are stored as the dataset's rejects.

        Raises Broken listing the rows that do not hold what is expected, with their lines in a file that has lines.
        """
        current, read = incoming.current, incoming.read
        expectations = options.expectations
        if expectations is None:
            expectations = expected(current.expectations) if current is not None else ()
        warnings: Sequence[str] = ()
        if expectations:
            read, warnings = await self._judged(incoming, expectations, options)
        rejects = await self._kept(incoming, read, options) if read.rejected else None
        kept = stored(expectations)
        if expectations and self._datasets.gate is not None:
            base = current if incoming.stays else None
            self._datasets.gate.remember(incoming.name, base, read.sha256, kept)
        return Sifted(read, kept, read.rejected, rejects, warnings)

    async def _judged(
        self, incoming: Incoming, expectations: Sequence[Expectation], options: "Options"
    ) -> tuple[Read, Sequence[str]]:
        """What of it may stay, and what is wrong that is only a warning."""
        from lakehouse.engine.tables import Table, desk, table_of

        check_columns(expectations, incoming.columns)
        read, folder = incoming.read, incoming.folder
        given = {column.name for column in read.columns}
        lacks = tuple(column for column in incoming.columns if column not in given)
        tables = {"data": Table([Part(str(read.path), lacks=lacks)], list(incoming.columns))}
        data = Data(key=incoming.key)
        if incoming.current is not None and incoming.stays:
            tables["present"] = await table_of(self._datasets, incoming.current)
            data = replace(data, present=[column.name for column in incoming.current.columns])
        async with desk(tables, folder, self._settings) as work:
            findings = await judge(work, expectations, data)
            failed = _failed(findings)
            rules = [e for e, found in zip(expectations, findings, strict=True) if found in failed and found.count]
            if rules and options.quarantine:
                read = await _taken_out(work, rules, data, read)
        if read is not incoming.read:
            await locate(incoming.path, options, folder, self._settings, merge=True)
            tables["data"] = Table([Part(str(read.path), lacks=lacks)], list(incoming.columns))
            counted = [each for each in expectations if each.rule == "row_count"]
            async with desk(tables, folder, self._settings) as work:
                failed = _failed(await judge(work, counted, data))
        if failed:
            rows = [row.row for found in failed for row in found.rows]
            lines = await locate(incoming.path, options, folder, self._settings, rows=rows) if rows else {}
            raise broken(incoming.name, [_with_lines(found, lines) for found in failed])
        return read, [f"{f.expectation}: {f.words}" for f in findings if not f.holds and f.severity == "warn"]

    async def _kept(self, incoming: Incoming, read: Read, options: "Options") -> str:
        """Commit folder/rejects.parquet as the sibling dataset, beside the rejects of rows that stay; its name."""
        sibling = rejects_name(incoming.name)
        facts = await rejects_of(incoming.folder)
        bucket = await self._datasets.bucket_for(incoming.name)
        key = data_key(sibling, fingerprint(COLUMNS), facts["sha256"])
        data = DataFile(key, facts["sha256"], facts["bytes"], facts["rows"])
        provenance = {**options.provenance, "source": options.source, **read.source, "rejects_of": incoming.name}

        async def changed(current: Manifest | None) -> Draft:
            if current is None or current.dropped:
                return Draft("quarantine", COLUMNS, (data,), data.row_count, provenance=provenance)
            if current.provenance.get("rejects_of") != incoming.name:
                raise Conflict(
                    f"dataset {sibling!r} is there, and does not hold the rejects of {incoming.name!r}.",
                    fix="Ingest under another name, or without quarantine.",
                )
            check_same_schema(current, COLUMNS)
            before = current.objects if incoming.stays else ()
            files = before if data in before else (*before, data)
            rows = sum(each.row_count for each in files)
            return Draft.of(current, "quarantine", objects=files, row_count=rows, provenance=provenance)

        await changed(await newest(self._datasets, sibling))  # raises before anything is stored
        with suppress(KeyExists):  # named by its content: what is there is the same
            await self._storage.put_immutable(key, incoming.folder / "rejects.parquet", facts["sha256"], bucket)
        await self._datasets.change(sibling, changed, bucket=bucket)
        return sibling


async def newest(datasets: Datasets, name: str) -> Manifest | None:
    """A dataset's newest version; None where there is none, or it was dropped."""
    try:
        return await datasets.get(name)
    except DatasetNotFound:
        return None


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
