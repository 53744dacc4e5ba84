"""Versions of datasets as tables for work of our own: questions and new files, in a process that can be killed."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engine.child import Child, ChildDied
from lakehouse.engine.relation import Part
from lakehouse.errors import Upstream

if TYPE_CHECKING:
    from lakehouse import config
    from lakehouse.engine.datasets import Datasets, Manifest


@dataclass(frozen=True)
class Table:
    """The files of a table, oldest first; without `columns`, all files have the same ones."""

    parts: Sequence[Part]
    columns: Sequence[str] = ()
    key: Sequence[str] = ()


@dataclass(frozen=True)
class Written:
    """A finished Parquet file. `columns` are (name, Arrow type) pairs."""

    path: Path
    rows: int
    bytes: int
    sha256: str
    columns: list[tuple[str, str]]


async def table_of(datasets: "Datasets", manifest: "Manifest") -> Table:
    """A version's files as a table; those of a remote bucket are fetched. Raises DatasetDamaged, Upstream."""
    paths = await datasets.local_files(manifest)
    parts = [Part(str(path), f.role, f.lacks) for path, f in zip(paths, manifest.objects, strict=True)]
    return Table(parts, [column.name for column in manifest.columns], manifest.key)


class Desk:
    """One process with some tables open. Statements run one after another."""

    def __init__(self, child: Child, folder: Path) -> None:
        self._child, self._folder = child, folder

    async def rows(
        self,
        sql: str,
        params: Sequence[Any] = (),
        *,
        foreign: bool = False,
        conditions: Mapping[str, str] | None = None,
    ) -> list[list[Any]]:
        """The rows of a statement over the tables, as JSON values; keep them few.

        A `foreign` statement, or one with parts that a caller wrote, is judged by the gate first: one read statement
        over the tables, or InvalidInput. `conditions` are such parts, by what the caller knows each as, that must be
        one expression, brackets and all.

        Raises InvalidInput with the engine's words when the statement or its data is at fault, TooLarge for memory,
        Upstream when a file cannot be read or the process ends.
        """
        answer = await self._ask(
            {
                "do": "rows",
                "sql": sql,
                "params": list(params),
                "foreign": foreign,
                "conditions": dict(conditions or {}),
            }
        )
        found: list[list[Any]] = answer["rows"]
        return found

    async def write(
        self,
        sql: str,
        name: str = "written.parquet",
        *,
        foreign: bool = False,
        conditions: Mapping[str, str] | None = None,
    ) -> Written:
        """Write a statement's rows, in their order, as Parquet: `name` in the folder the desk was opened with.

        The same rows give the same bytes. `foreign` and `conditions` are as for `rows`.

        Raises what `rows` raises, and Upstream when the disk is full.
        """
        answer = await self._ask(
            {"do": "write", "sql": sql, "name": name, "foreign": foreign, "conditions": dict(conditions or {})}
        )
        columns = [(column, kind) for column, kind in answer["columns"]]
        return Written(self._folder / name, answer["row_count"], answer["bytes"], answer["sha256"], columns)

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            await self._child.send(request)
            return (await self._child.receive())[0]
        except ChildDied:
            raise Upstream(
                "the process that works on the tables ended without an answer.",
                fix="Memory may have run out: lower ingest.memory_limit, or give the machine more.",
            ) from None


@asynccontextmanager
async def desk(
    tables: Mapping[str, Table], folder: Path, settings: "config.Ingest", *, nice: int = 0
) -> AsyncIterator[Desk]:
    """A process with these tables by name, which may write in `folder`; it ends with the block.

    A `nice` one, 1 to 19, leaves the processor to others and uses one thread.

    Raises Upstream when a file is not readable Parquet.
    """
    setup = {
        "folder": str(folder),
        "max_bytes": settings.max_path_bytes,
        "memory_limit": settings.memory_limit,
        "threads": 1 if nice else os.cpu_count() or 1,
        "nice": nice,
        "tables": {
            name: {
                "parts": [[part.path, part.role, list(part.lacks)] for part in table.parts],
                "columns": list(table.columns),
                "key": list(table.key),
            }
            for name, table in tables.items()
        },
    }
    child = await Child.start("lakehouse.engine.tables.worker", setup)
    try:
        yield Desk(child, folder)
    finally:
        await child.aclose()
