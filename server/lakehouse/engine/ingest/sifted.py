"""Rows that may not stay: what a dataset expects of them is checked before anything is stored, and rejects are kept.

The rejects of dataset `orders` are the dataset `orders_rejects`, committed first: whatever ends the process between the
two leaves rejects whose source is still there, and the same ingest again finishes both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse import config
from lakehouse.engine.datasets import DataFile, Datasets, Draft, Manifest, check_name, check_same_schema, data_key
from lakehouse.engine.expectations.failures import broken
from lakehouse.engine.expectations.judge import Data, Finding, Row, judge, statements
from lakehouse.engine.expectations.rules import Expectation, check_columns
from lakehouse.engine.ingest.reading import Read, locate
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
    """What is about to become a dataset's next version.

    `columns` are those the dataset will have. `stays` is the version whose rows stay beside it, if any; of them, those
    whose `key` comes in again do not.
    """

    name: str
    path: Path
    columns: Sequence[str]
    expectations: Sequence[Expectation]
    stays: Manifest | None = None
    key: Sequence[str] = ()


@dataclass(frozen=True)
class Sifted:
    """The rows that may stay, how many may not, and what was found wrong that is only a warning."""

    read: Read
    rejected: int = 0
    warnings: Sequence[str] = field(default_factory=list)


def rejects_name(name: str) -> str:
    """The dataset of a dataset's rejects. Raises InvalidInput when that would be too long a name."""
    return check_name(name + SUFFIX)


async def sift(
    incoming: Incoming, read: Read, options: "Options", folder: Path, datasets: Datasets, settings: config.Ingest
) -> Sifted:
    """Check what comes in against what is expected, before it is stored.

    Raises Broken listing the rows, their lines in the file where it has lines. With `options.quarantine` those rows are
    taken out, into folder/rejects.parquet, where the rows that could not be read are already.
    """
    from lakehouse.engine.tables import Table, desk, table_of

    expectations = incoming.expectations
    if not expectations:
        return Sifted(read, read.rejected)
    check_columns(expectations, incoming.columns)
    given = {column.name for column in read.columns}
    lacks = tuple(column for column in incoming.columns if column not in given)
    tables = {"data": Table([Part(str(read.path), lacks=lacks)], list(incoming.columns))}
    data = Data(key=incoming.key)
    if incoming.stays is not None:
        tables["present"] = await table_of(datasets, incoming.stays)
        data = replace(data, present=[column.name for column in incoming.stays.columns])
    rejected = read.rejected
    async with desk(tables, folder, settings) as work:
        findings = await judge(work, expectations, data)
        failed = _failed(findings)
        of_rows = [e for e, found in zip(expectations, findings, strict=True) if found in failed and found.count]
        if failed and options.quarantine and of_rows:
            read, count = await _taken_out(work, of_rows, data, read)
            rejected += count
            await locate(incoming.path, options, folder, settings, merge=True)
            data = replace(data, table="sound")
    if rejected > read.rejected and (counted := [e for e in expectations if e.rule == "row_count"]):
        tables["sound"] = Table([Part(str(read.path), lacks=lacks)], list(incoming.columns))
        async with desk(tables, folder, settings) as work:
            failed = _failed(await judge(work, counted, data))
    elif rejected > read.rejected:
        failed = []
    if failed:
        rows = [row for found in failed for row in found.rows]
        lines = await locate(incoming.path, options, folder, settings, rows=[row.row for row in rows])
        raise broken(incoming.name, [_with_lines(found, lines) for found in failed])
    warnings = [f"{f.expectation}: {f.words}" for f in findings if not f.holds and f.severity == "warn"]
    return Sifted(replace(read, rejected=rejected), rejected, warnings)


def _failed(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if not found.holds and found.severity == "error"]


def _with_lines(found: Finding, lines: Mapping[int, int]) -> Finding:
    rows = [Row(**{**row.model_dump(), "line": lines.get(row.row)}) for row in found.rows]
    first = found.rows[0] if found.rows else None
    words = found.words
    if first is not None and first.row in lines:
        words = words.replace(f"row {first.row}", f"line {lines[first.row]}", 1)
    return found.model_copy(update={"rows": rows, "words": words})


async def _taken_out(work: "Desk", rules: Sequence[Expectation], data: Data, read: Read) -> tuple[Read, int]:
    """The data without the rows that break a rule, which are folder/broken.parquet; and how many those are."""
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
    found = (
        f"SELECT * FROM ({' UNION ALL '.join(parts)}) QUALIFY row_number() OVER (PARTITION BY _row ORDER BY n) = 1"
    )
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
    kept = replace(read, path=sound.path, rows=sound.rows, bytes=sound.bytes, sha256=sound.sha256)
    return kept, written.rows


async def keep_rejects(
    name: str, file: Path, facts: Mapping[str, Any], provenance: Mapping[str, Any], *, add: bool, datasets: Datasets, storage: Storage
) -> str:
    """Commit a file of rejects as the sibling dataset of `name`, beside those there or in their place; its name.

    Raises Conflict when a dataset of that name is something else, and what a commit raises.
    """
    sibling = rejects_name(name)
    bucket = await datasets.bucket_for(name)
    key = data_key(sibling, fingerprint(COLUMNS), facts["sha256"])
    data = DataFile(key, facts["sha256"], facts["bytes"], facts["rows"])

    async def changed(current: Manifest | None) -> Draft:
        before: tuple[DataFile, ...] = ()
        if current is not None and not current.dropped:
            if current.provenance.get("rejects_of") != name:
                raise Conflict(
                    f"dataset {sibling!r} is there, and does not hold the rejects of {name!r}.",
                    fix="Ingest under another name, or without quarantine.",
                )
            check_same_schema(current, COLUMNS)
            before = current.objects if add else ()
        files = before if data in before else (*before, data)
        rows = sum(each.row_count for each in files)
        return Draft("quarantine", COLUMNS, files, rows, provenance={**provenance, "rejects_of": name})

    await changed(await _newest(datasets, sibling))  # before anything is stored
    try:
        await storage.put_immutable(key, file, facts["sha256"], bucket)
    except KeyExists:
        pass  # named by its content: what is there is the same
    await datasets.change(sibling, changed, bucket=bucket)
    return sibling


async def _newest(datasets: Datasets, name: str) -> Manifest | None:
    from lakehouse.engine.datasets import DatasetNotFound

    try:
        return await datasets.get(name)
    except DatasetNotFound:
        return None
