"""A dataset dropped, and made again what it was: both are new versions, and nothing is removed before a gc does."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse.engine.datasets.draft import Draft
from lakehouse.engine.datasets.failures import DatasetDamaged, DatasetNotFound, dropped, unknown
from lakehouse.engine.manifests import Manifest
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets


async def restore(datasets: "Datasets", name: str, as_of: int | str | None = None) -> tuple[Manifest, bool]:
    """Make what a dataset held at a version or a moment its newest version; of a dropped one, what it held last.

    It may have another schema than the newest one, but has to hold what is expected of the dataset now. Returns the
    version that holds it, and whether that was the newest one already.

    Raises DatasetNotFound when there is no such version, or a gc has removed it, InvalidInput, DatasetDamaged.
    """
    catalog = await datasets.catalog_of(name)
    if as_of is None:
        newest = await catalog.newest(name)
        if newest is not None and newest.operation == "restore":
            return newest, True
    source = await (_last(datasets, name) if as_of is None else datasets.at(name, as_of, ended=True))
    if source.dropped:
        raise InvalidInput(
            f"as_of: with version {source.version} dataset {name!r} was dropped; it holds nothing.",
            fix="Name the version before it.",
        )
    try:
        await catalog.hold(source.objects)
    except DatasetDamaged:
        if await catalog.version(name, source.version) is None:
            raise _removed(name, source.version) from None
        raise
    facts = {key: value for key, value in source.provenance.items() if key not in ("by", "call")}
    draft = Draft.of(
        source, "restore", statistics=source.statistics, provenance=facts | {"restored_version": source.version}
    )

    async def again(current: Manifest | None) -> Draft | None:
        # What is expected of the dataset now holds for what comes back, too.
        return draft if current is None else replace(draft, expectations=current.expectations)

    return await datasets.change(name, again, bucket=catalog.bucket.name)


async def drop(datasets: "Datasets", name: str) -> Manifest:
    """End a dataset: it is neither listed nor read any more. Its versions stay until a gc removes them.

    Returns the version that says so. Raises DatasetNotFound, also when it was dropped already.
    """
    catalog = await datasets.catalog_of(name)

    async def ended(current: Manifest | None) -> Draft | None:
        if current is None:
            raise unknown(name, await datasets.names())
        if current.dropped:
            raise dropped(name)
        return Draft.of(current, "drop", objects=(), row_count=0, dropped=True)

    return (await datasets.change(name, ended, bucket=catalog.bucket.name))[0]


async def _last(datasets: "Datasets", name: str) -> Manifest:
    """What a dropped dataset held last."""
    numbers = await (await datasets.catalog_of(name)).versions(name)
    newest = await datasets.get(name, numbers[-1])
    if not newest.dropped:
        raise InvalidInput(
            f"as_of: dataset {name!r} was not dropped, so the version to restore must be named.",
            fix="See dataset_history.",
        )
    if len(numbers) < 2:
        raise DatasetNotFound(f"gc has removed what dataset {name!r} held.", fix="Ingest it again.")
    return await datasets.get(name, numbers[-2])


def _removed(name: str, version: int) -> DatasetNotFound:
    return DatasetNotFound(
        f"version {version} of dataset {name!r} has just been removed by gc.", fix="See dataset_history for the others."
    )
