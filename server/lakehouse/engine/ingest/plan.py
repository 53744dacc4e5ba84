"""What an ingest would do, found by reading the source as one does; nothing is stored."""

from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse.engine.datasets import SchemaChanged
from lakehouse.engine.expectations import Broken
from lakehouse.engine.ingest import reading
from lakehouse.engine.ingest.ingester import IngestedColumn, Ingester
from lakehouse.engine.ingest.modes.incoming import held
from lakehouse.engine.ingest.options import Options
from lakehouse.engine.ingest.sifted import Arrival, rejects_name
from lakehouse.errors import InvalidInput, LakehouseError

_SHOWN = 10


class Plan(BaseModel):
    """What an ingest would do."""

    name: str = Field(description="The dataset.")
    outcome: str = Field(
        description="new, same (nothing would change), version (a new one), drift (other columns), broken (what is "
        "expected does not hold), or unreadable."
    )
    source: str = Field(description="The format it is read as.")
    details: dict[str, Any] = Field(default_factory=dict, description="How it is read: delimiter, bytes, sha256.")
    encoding: str | None = Field(None, description="Of text.")
    row_count: int = Field(0, description="Rows that would be stored of it.")
    rejected: int = Field(0, description="Rows that quarantine would set aside.")
    columns: list[IngestedColumn] = Field(default_factory=list, description="The columns it has, in order.")
    sample: list[dict[str, Any]] = Field(default_factory=list, description="Its first 10 rows.")
    warnings: list[str] = Field(default_factory=list, description="What is read differently than it may look.")
    current_version: int | None = Field(None, description="The dataset's newest version.")
    current_columns: list[IngestedColumn] = Field(default_factory=list, description="The dataset's columns.")
    problem: str | None = Field(None, description="What would keep it from being stored.")
    problem_data: dict[str, Any] | None = Field(None, description="The rows or columns at fault.")


class Planner(Ingester):
    """An ingester that stops before anything is stored: its methods answer a Plan."""

    async def _ingest(self, path: Path, name: str, options: Options, folder: Path) -> Plan:  # type: ignore[override]
        current = await self._newest(name, options)
        if options.quarantine:
            rejects_name(name)
        text = options.source in ("csv", "tsv", "json", "jsonl")
        plan = Plan(
            name=name,
            outcome="new" if current is None else "version",
            source=options.source or "",
            encoding=(options.encoding or "utf-8") if text else None,
        )
        if current is not None:
            plan.current_version = current.version
            plan.current_columns = [IngestedColumn(name=c.name, type=c.type) for c in current.columns]
        try:
            read = await reading.read(path, options, folder, self._settings, held(current, options))
        except InvalidInput as error:
            return _kept_from(plan, "unreadable", error)
        plan.details, plan.row_count, plan.rejected = dict(read.source), read.rows, read.rejected
        plan.columns = [IngestedColumn(name=column.name, type=column.type) for column in read.columns]
        plan.warnings = list(read.warnings)
        arrival = Arrival(name, path, folder, read, current)
        plan.sample = await anyio.to_thread.run_sync(_first_rows, read.path)
        try:
            arrival.columns(options)
            read, warnings = await self._sieve.judged(arrival, options)
        except SchemaChanged as error:
            return _kept_from(plan, "drift", error)
        except Broken as error:
            return _kept_from(plan, "broken", error)
        plan.row_count, plan.rejected = read.rows, read.rejected
        plan.warnings += warnings
        plan.sample = await anyio.to_thread.run_sync(_first_rows, read.path)
        files = current.objects if current is not None else ()
        same = files[-1:] if options.mode == "append" else files
        if len(same) == 1 and same[0].sha256 == read.sha256 and not options.repeat:
            plan.outcome = "same"
        return plan


def _first_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    from lakehouse.engine.arrow_json import rows_of

    with pyarrow.parquet.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=_SHOWN), None)
        rows = rows_of([batch] if batch is not None else [], _SHOWN)
        return [dict(zip(file.schema_arrow.names, row, strict=True)) for row in rows]


def _kept_from(plan: Plan, outcome: str, error: LakehouseError) -> Plan:
    plan.outcome, plan.problem = outcome, f"{error.detail} {error.fix}".strip()
    plan.problem_data = error.data or None
    return plan
