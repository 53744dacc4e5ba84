"""Compaction: many files of a dataset become few. Its rows stay the same, and no commit made meanwhile is lost."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine.datasets import Column, DataFile, DatasetDamaged, Datasets, Draft
from lakehouse.engine.ingest.modes.incoming import folded
from lakehouse.engine.ingest.modes.place import Place
from lakehouse.engine.manifests import Manifest
from lakehouse.engine.quoting import identifier
from lakehouse.engine.relation import changes, marker
from lakehouse.engine.storage import Storage
from lakehouse.engine.tables import Desk, Table, Written, table_of
from lakehouse.errors import LakehouseError

log = logging.getLogger("lakehouse")

Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], bool]


def not_beside(work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """For engines without a lake: nothing runs beside the calls."""
    return False


class Compacted(BaseModel):
    """A dataset after its files were folded."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="Its newest version.")
    files_before: int = Field(description="Files it had.")
    files: int = Field(description="Files it has now.")
    row_count: int = Field(description="Its rows, as before.")


@dataclass(frozen=True)
class Run:
    """Files of a version that follow each other: those from `start` on."""

    manifest: Manifest
    start: int

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files, oldest first."""
        return self.manifest.objects[self.start :]

    @property
    def columns(self) -> list[Column]:
        """The dataset's columns that any of the files has."""
        return [c for c in self.manifest.columns if any(c.name not in file.lacks for file in self.files)]

    @property
    def lacks(self) -> tuple[str, ...]:
        """The dataset's columns that none of the files has."""
        here = self.columns
        return tuple(column.name for column in self.manifest.columns if column not in here)

    @property
    def role(self) -> str:
        """What one file of all of them is: a delta where all are."""
        return "delta" if all(file.role == "delta" for file in self.files) else "base"

    def within(self, current: Manifest) -> bool:
        """Whether these files are still what they were in a newer version."""
        same = current.objects[self.start : self.start + len(self.files)]
        known = {column.name for column in current.columns}
        return (
            not current.dropped
            and [(file.key, file.role) for file in same] == [(file.key, file.role) for file in self.files]
            and current.key == self.manifest.key
            and all(column.name in known for column in self.manifest.columns)
        )


def whole(manifest: Manifest) -> Run:
    """All files of a version."""
    return Run(manifest, 0)


def small(manifest: Manifest) -> Run:
    """The newest files, as far back as each is at most twice as large as all after it: a row is rewritten a logarithmic
    number of times, however many files come."""
    files = manifest.objects
    start = len(files) - 1
    total = files[start].size_bytes
    while start and files[start - 1].size_bytes <= 2 * total:
        start -= 1
        total += files[start].size_bytes
    run = Run(manifest, start)
    deltas = [file for file in run.files if file.role == "delta"]
    # Deltas change rows of every base: with one of these, all are read.
    return whole(manifest) if run.role == "base" and deltas else run


class Compactor:
    """Folds files when it is asked to, and by itself where a dataset has many.

    `later` starts work that outlives the call it is started in; it says whether it could.
    """

    def __init__(self, storage: Storage, datasets: Datasets, settings: config.Ingest, later: Later) -> None:
        self._storage, self._datasets, self._settings, self._later = storage, datasets, settings, later
        self._folding: set[str] = set()

    async def compact(self, name: str) -> Compacted:
        """Fold all files of a dataset into one. Raises DatasetNotFound, DatasetDamaged, Upstream."""
        before = await self._datasets.get(name)
        manifest = await self._fold(whole(before)) if len(before.objects) > 1 or before.merged else before
        return Compacted(
            name=name,
            version=manifest.version,
            files_before=len(before.objects),
            files=len(manifest.objects),
            row_count=manifest.row_count,
        )

    async def after(self, manifest: Manifest) -> None:
        """Fold small files of a dataset that has many, beside the calls; never a reason for a commit to fail."""
        most = self._settings.compact_files
        if len(manifest.objects) <= most or manifest.name in self._folding:
            return
        if len(manifest.objects) > 2 * most:
            await self._quietly(manifest)  # what runs beside the calls never got to its end: whoever adds more waits
        else:
            self._later(partial(self._quietly, manifest))

    async def _quietly(self, manifest: Manifest) -> None:
        if manifest.name in self._folding:
            return
        self._folding.add(manifest.name)
        try:
            await self._fold(small(manifest))
        except LakehouseError as error:
            log.warning("compact.failed %s: %s", manifest.name, error.detail)
        except Exception:  # it is nobody's call, and must not end what it runs beside
            log.exception("compact.failed %s", manifest.name)
        finally:
            self._folding.discard(manifest.name)

    async def _fold(self, run: Run) -> Manifest:
        """The newest version after a run became one file; it is left alone where it is no longer part of it."""
        manifest = run.manifest
        async with self._storage.scratch() as folder:
            place = Place(manifest.name, self._datasets, self._storage, self._settings, folder)
            table = await table_of(self._datasets, manifest)
            table = Table(table.parts[run.start :], [column.name for column in run.columns], table.key)
            opened = {"rows": table}
            if run.role == "delta":  # read together they are the rows of no version
                opened = {f"delta{number}": Table([part]) for number, part in enumerate(table.parts)}
            async with place.desk(opened) as desk:
                written = await _written(desk, run, table)
            file = await place.store(written, role=run.role, lacks=run.lacks, current=manifest)

            async def swapped(current: Manifest | None) -> Draft | None:
                if current is None or not run.within(current):
                    return None
                then = {column.name for column in manifest.columns}
                added = tuple(column.name for column in current.columns if column.name not in then)
                objects = list(current.objects)
                one = DataFile(file.key, file.sha256, file.size_bytes, file.row_count, file.role, (*file.lacks, *added))
                objects[run.start : run.start + len(run.files)] = [one]
                remembered = folded(run.files, current.provenance.get("folded", ()))
                provenance = {"files": len(run.files), **({"folded": remembered} if remembered else {})}
                return Draft.of(current, "compact", objects=tuple(objects), provenance=provenance)

            return (await self._datasets.change(manifest.name, swapped))[0]


async def _written(desk: Desk, run: Run, table: Table) -> Written:
    """The rows of a run as one file. Raises DatasetDamaged when they are not what the manifest says."""
    key = ", ".join(map(identifier, table.key))
    order = f" ORDER BY {key}" if key else ""  # rows without a key keep the order they came in
    if run.role == "delta":
        mark = marker(table.columns)
        sql = f"SELECT * FROM ({changes(table.parts, table.columns, table.key)}){order}"
        expected = [*((column.name, column.type) for column in run.columns), (mark, "bool")]
    else:
        sql = f"SELECT * FROM rows{order}"
        expected = [(column.name, column.type) for column in run.columns]
    written = await desk.write(sql)
    if written.columns != expected or (_rows(run) not in (None, written.rows)):
        raise DatasetDamaged(
            f"dataset {run.manifest.name!r}: its files do not have the rows and columns that the catalog recorded.",
            fix="`lakehouse fsck` names what is damaged; restore_dataset goes back to an older version.",
        )
    return written


def _rows(run: Run) -> int | None:
    """How many rows a run has; None where that follows from no count."""
    if run.start == 0 and run.role == "base":
        return run.manifest.row_count
    return sum(file.row_count for file in run.files) if run.role == "base" else None
