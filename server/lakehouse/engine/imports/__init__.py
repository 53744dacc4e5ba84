"""A folder of Parquet files becomes datasets: one a file, one a folder of files, one a manifest of an older catalog."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import BaseModel, Field

from lakehouse import config
from lakehouse.engine.imports.plan import Plan, planned
from lakehouse.engine.places import check_remote
from lakehouse.engine.progress import Progress
from lakehouse.errors import InvalidInput, LakehouseError, Unprocessable

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.ingest import Ingester

_SHOWN = 5


class Import(BaseModel):
    """One dataset of an import, planned or done."""

    name: str = Field(description="The dataset.")
    files: int = Field(description="How many files it is made of.")
    bytes: int = Field(description="Their size.")
    row_count: int | None = Field(None, description="Rows stored; absent in a plan.")
    version: int | None = Field(None, description="Its version now; in a plan, the one there was before.")
    existing: bool | None = Field(None, description="True when this very data was there already.")


class Imported(BaseModel):
    """What an import did, or would do."""

    datasets: list[Import] = Field(description="The datasets, sorted by name.")
    planned: bool = Field(description="True when nothing was written.")


async def run(
    datasets: "Datasets",
    ingest: "Ingester",
    settings: config.Ingest,
    folder: Path,
    *,
    plan: bool,
    anywhere: bool,
    remote: bool,
    progress: Progress,
) -> Imported:
    """Import a folder, or only say what would come of it.

    `sales.parquet` becomes the dataset sales, a folder `orders` with Parquet files, however deep, the dataset orders. A
    folder with manifests (`_catalog/` of a data directory's objects, or JSON files with a name and objects) becomes the
    datasets these name, in the newest version of each. All is looked at before anything is written: with a problem
    anywhere, nothing is. What fails later, as damaged contents do, does not keep the rest from being imported.

    Raises Forbidden and NotFound for the folder, InvalidInput listing the problems found beforehand, Unprocessable
    naming each dataset that failed, with what was imported in `data`.
    """
    if remote:
        check_remote(folder, settings.roots, "ingest.roots")
    roots = None if anywhere else settings.roots
    plans, problems = await anyio.to_thread.run_sync(planned, folder, roots, settings)
    if problems:
        raise InvalidInput(
            f"nothing was imported: {_listed(problems)}.",
            fix="Mend or move these, then import again.",
            data={"problems": problems},
        )
    there = {manifest.name: manifest.version for manifest in await datasets.list()}
    if plan:
        found = [await anyio.to_thread.run_sync(_shown, one, there.get(one.name)) for one in plans]
        return Imported(datasets=found, planned=True)
    done: list[Import] = []
    failed: dict[str, str] = {}
    for number, one in enumerate(plans):
        await progress(100 * number / len(plans), 100, one.name)
        try:
            made = await ingest.ingest_files(folder / one.name, one.files, one.name)
        except LakehouseError as error:
            failed[one.name] = error.detail
            continue
        shown = await anyio.to_thread.run_sync(_shown, one, made.version)
        done.append(shown.model_copy(update={"row_count": made.row_count, "existing": made.existing}))
    if failed:
        told = [f"{name}: {why}" for name, why in failed.items()]
        raise Unprocessable(
            f"{len(failed)} of {len(plans)} datasets were not imported, the others were: {_listed(told)}",
            fix="Mend these and import again; what is there already is left as it is.",
            data={"failed": failed, "imported": [each.name for each in done]},
        )
    return Imported(datasets=done, planned=False)


def _listed(told: Sequence[str]) -> str:
    return "; ".join(text.rstrip(".") for text in told[:_SHOWN]) + (
        f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    )


def _shown(plan: Plan, version: int | None) -> Import:
    return Import(name=plan.name, files=len(plan.files.files), bytes=plan.bytes, version=version)
