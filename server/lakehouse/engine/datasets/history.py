"""What happened to a dataset: its versions, newest first."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from lakehouse.engine.manifests import Manifest, folder_of

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets

# Where data came from, by the words that ingest notes; the first there is says most.
_SOURCES = ("file", "object", "url", "source")


class Version(BaseModel):
    """One version of a dataset."""

    version: int = Field(description="Its number.")
    operation: str = Field("", description="How it came to be: ingest, append, delete, restore, drop ...")
    committed_at: str = Field("", description="When.")
    row_count: int = Field(0, description="Its rows.")
    change: int | None = Field(None, description="Rows more than the version before; absent for the first kept one.")
    files: int = Field(0, description="Its data files.")
    bytes: int = Field(0, description="Their size.")
    by: str | None = Field(None, description="Who committed it.")
    call: str | None = Field(None, description="The call it was done in.")
    source: str | None = Field(None, description="Where the data came from.")
    problem: str | None = Field(None, description="Why nothing is known of it: its manifest is damaged.")


class History(BaseModel):
    """Versions of a dataset, newest first."""

    name: str = Field(description="The dataset.")
    versions: list[Version] = Field(description="Its versions, newest first.")
    total: int = Field(description="How many there are.")
    next: int | None = Field(None, description="Give this as `before` for older ones; absent at the end.")


async def history(datasets: "Datasets", name: str, limit: int = 20, before: int | None = None) -> History:
    """The versions of a dataset, a dropped one's too, at most `limit` of those older than version `before`.

    Raises DatasetNotFound, Upstream. A version whose manifest is damaged is named with its problem.
    """
    catalog = await datasets.catalog_of(name)
    tags = await catalog.stored.tags(folder_of(name))
    older = sorted((at for at in tags if before is None or at[1] < before), key=lambda at: -at[1])
    # One more than is shown, for what the last of them changed.
    found = await catalog.stored.read_all(await catalog.stored.tagged({at: tags[at] for at in older[: limit + 1]}))
    versions = []
    for place, at in enumerate(older[:limit]):
        read, previous = found[at], found[older[place + 1]] if place + 1 < len(older) else None
        if isinstance(read, Manifest):
            versions.append(_told(read, previous if isinstance(previous, Manifest) else None))
        else:
            versions.append(Version(version=at[1], problem=read.detail))
    return History(
        name=name, versions=versions, total=len(tags), next=versions[-1].version if len(older) > limit else None
    )


def _told(manifest: Manifest, previous: Manifest | None) -> Version:
    facts: dict[str, Any] = manifest.provenance
    first = manifest.version == 1
    return Version(
        version=manifest.version,
        operation=manifest.operation,
        committed_at=manifest.updated_at,
        row_count=manifest.row_count,
        change=manifest.row_count - (previous.row_count if previous else 0) if previous or first else None,
        files=len(manifest.objects),
        bytes=sum(file.size_bytes for file in manifest.objects),
        by=facts.get("by"),
        call=facts.get("call"),
        source=next((str(facts[word]) for word in _SOURCES if facts.get(word)), None),
    )
