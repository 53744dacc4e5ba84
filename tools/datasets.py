"""The catalog: which datasets there are and what is in each."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import InvalidInput, Lakehouse, mode, resource, tool
from lakehouse.engine.datasets.diff import Diff
from lakehouse.engine.datasets.history import History

INSTRUCTIONS = (
    "See what is there: list_datasets, and lakehouse://datasets/{name}/schema for the columns of one. Each change is a "
    "version: dataset_history, diff_dataset, restore_dataset."
)


class File(BaseModel):
    """One data file."""

    key: str = Field(description="Its object in the bucket.")
    sha256: str = Field(description="Hash of its contents, lowercase hex.")
    size_bytes: int = Field(description="Its size.")
    row_count: int = Field(description="Its rows.")
    role: str = Field(description="base, or delta for later changes.")


class Column(BaseModel):
    """One column."""

    name: str = Field(description="Its name.")
    type: str = Field(description="Its Arrow type: int64, double, string, date32[day] and so on.")


class HotSwap(BaseModel):
    """Which generation of a corpus built from a dataset answers now."""

    generation: int = Field(description="Its number.")
    swapped_at: str = Field(description="When it went live.")


class Manifest(BaseModel):
    """One version of a dataset."""

    dataset_id: str = Field(description="A UUID of the name; the same on every machine.")
    name: str = Field(description="The dataset's name; in SQL, its table.")
    version: int = Field(description="1 for the first commit, one more for each change.")
    schema_fingerprint: str = Field(description="SHA-256 of column names and types.")
    objects: Sequence[File] = Field(description="The Parquet files that hold the rows.")
    row_count: int = Field(description="Rows in all.")
    columns: Sequence[Column] = Field(description="The columns, in order.")
    statistics: dict[str, Any] = Field(description="What ingest measured.")
    provenance: dict[str, Any] = Field(description="Where the data came from.")
    created_at: str = Field(description="When version 1 was committed.")
    updated_at: str = Field(description="When this version was committed.")
    bucket: str = Field(description="The bucket of the files.")
    operation: str = Field(description="How the version came to be.")
    key: Sequence[str] = Field(description="The columns that name a row; none: rows have no names.")
    hot_swap: HotSwap | None = Field(None, description="In a listing: of the corpus built from it last, if any.")


class Page(BaseModel):
    """Datasets in the order of their names."""

    manifests: Sequence[Manifest] = Field(description="The newest version of each.")
    count: int = Field(description="How many are in this answer.")
    total: int = Field(description="How many there are.")
    next: str | None = Field(None, description="Give this as `after` for the rest; absent at the end.")
    problems: Sequence[str] = Field((), description="Damaged datasets, which are not listed.")


class Registered(BaseModel):
    """The dataset an object became."""

    dataset_id: str = Field(description="A UUID of the name.")
    name: str = Field(description="The dataset's name.")
    version: int = Field(description="Its newest version.")
    schema_fingerprint: str = Field(description="SHA-256 of column names and types.")
    row_count: int = Field(description="Rows.")
    existing: bool = Field(description="Whether the dataset was there before.")


class StoredObject(BaseModel):
    """An object the caller has put into storage."""

    key: str = Field(description="Its key; the suffix says the format.")
    sha256: str | None = Field(None, description="Refuse other bytes.")
    size_bytes: int | None = Field(None, ge=0, description="Likewise.")


class Schema(BaseModel):
    """A dataset's columns."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="Its newest version.")
    columns: Sequence[Column] = Field(description="The columns, in order.")


class Sample(BaseModel):
    """The first rows of a dataset."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="Its newest version.")
    columns: Sequence[Column] = Field(description="The columns, in order.")
    rows: Sequence[Sequence[Any]] = Field(description="Its first rows, a value a column.")
    row_count: int = Field(description="Rows in all.")


class Committed(BaseModel):
    """A version that a change of a whole dataset made."""

    name: str = Field(description="The dataset.")
    version: int = Field(description="Its newest version.")
    row_count: int = Field(description="Its rows.")
    existing: bool = Field(description="Whether it was so already, and nothing was written.")


class Names(BaseModel):
    """Names to choose from."""

    values: Sequence[str] = Field(description="Dataset names, sorted.")


@tool(name="list_datasets", route="GET /v1/catalog/list", toolset="core data sql", title="List datasets")
async def list(
    lake: Lakehouse,
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 100,
    after: Annotated[str | None, "Go on after this name."] = None,
    profile: Annotated[str | None, "Only what this profile sees."] = None,
) -> Page:
    """List the datasets with columns and row counts. Start here to learn what can be queried.

    For one whose name is known, use get_manifest.
    """
    async with lake.within(profile):
        known, problems = await lake.datasets.list(), lake.datasets.problems
        swaps = {name: HotSwap(**vars(swap)) for name, swap in (await lake.vectors.swaps()).items()}
    rest = [manifest for manifest in known if after is None or manifest.name > after]
    page = [Manifest(**manifest.as_dict(), hot_swap=swaps.get(manifest.name)) for manifest in rest[:limit]]
    return Page(
        manifests=page,
        count=len(page),
        total=len(known),
        next=page[-1].name if len(rest) > limit else None,
        problems=problems,
    )


@tool(
    name="get_manifest",
    route="GET /v1/catalog/manifest/{name}",
    toolset="core data sql",
    title="Describe a dataset",
)
async def get(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    version: Annotated[int | None, "Default the newest."] = None,
    as_of: Annotated[int | str | None, "Or a version or moment: 2026-05-01T12:00Z."] = None,
    profile: Annotated[str | None, "Only what this profile sees."] = None,
) -> Manifest:
    """Describe one dataset: columns with types, rows, files, version, where it came from. To write SQL: schema_card."""
    if as_of is not None and version is not None:
        raise InvalidInput("version, as_of: only one of the two can be given.", fix="Leave one out.")
    async with lake.within(profile):
        found = lake.datasets.get(name, version) if as_of is None else lake.datasets.at(name, as_of)
        return Manifest(**(await found).as_dict())


@tool(
    name="dataset_history",
    route="GET /v1/catalog/history/{name}",
    toolset="data",
    title="Show a dataset's versions",
    short="history NAME",
)
async def history(
    lake: Lakehouse,
    name: Annotated[str, "The dataset, also a dropped one."],
    limit: Annotated[int, Field(ge=1, le=1000), "At most."] = 20,
    before: Annotated[int | None, "Go on below this version."] = None,
) -> History:
    """List the versions of a dataset, newest first: what was done, when, by whom, and how many rows that changed."""
    from lakehouse.engine.datasets.history import history as run

    return await run(lake.datasets, name, limit, before)


@tool(
    name="diff_dataset",
    route="/v1/catalog/diff/{name}",
    toolset="data",
    title="Compare two versions of a dataset",
    long=True,
    short="diff NAME",
)
async def diff(
    lake: Lakehouse,
    name: Annotated[str, "The dataset."],
    before: Annotated[int | str | None, "Version or moment; default the one before `after`."] = None,
    after: Annotated[int | str | None, "Likewise; default the newest."] = None,
    key: Annotated[Sequence[str] | None, "Columns that name a row; default the dataset's."] = None,
    limit: Annotated[int, Field(ge=0, le=100), "Rows of each kind to show."] = 10,
) -> Diff:
    """Compare two versions: columns, and rows added, removed and changed, with samples.

    Without a key, rows are only added or removed. Example: {"name": "orders", "before": 3, "key": ["id"]}
    """
    from lakehouse.engine.datasets.diff import diff as run

    return await run(lake.storage, lake.datasets, lake.config.ingest, name, before, after, key=key, limit=limit)


@tool(
    "writes",
    name="restore_dataset",
    route="/v1/catalog/restore/{name}",
    toolset="data",
    title="Restore an older version",
    idempotent=True,
)
async def restore(
    lake: Lakehouse,
    name: Annotated[str, "The dataset, also a dropped one."],
    as_of: Annotated[int | str | None, "Version or moment; absent: undo drop_dataset."] = None,
) -> Committed:
    """Give a dataset the contents of an older version, as a new version; also undoes drop_dataset.

    Example: {"name": "orders", "as_of": 3}
    """
    from lakehouse.engine.datasets.undo import restore as run

    made, existing = await run(lake.datasets, name, as_of)
    return Committed(name=made.name, version=made.version, row_count=made.row_count, existing=existing)


@tool("destroys", name="drop_dataset", route="/v1/catalog/drop/{name}", toolset="data", title="Drop a dataset")
async def drop(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Committed:
    """Drop a dataset: it is not listed or read any more. restore_dataset brings it back until gc removes it."""
    from lakehouse.engine.datasets.undo import drop as run

    made = await run(lake.datasets, name)
    return Committed(name=made.name, version=made.version, row_count=made.row_count, existing=False)


@tool(
    "writes",
    name="register_dataset",
    route="/v1/catalog/register",
    toolset="data",
    title="Make a dataset of a stored object",
    long=True,
    idempotent=True,
)
async def register(
    lake: Lakehouse,
    name: Annotated[str, "The dataset, new or not."],
    objects: Annotated[Sequence[StoredObject], Field(min_length=1, max_length=1), "Just one."],
    schema_fingerprint: Annotated[str | None, "Refuse another."] = None,
    row_count: Annotated[int | None, Field(ge=0), "Refuse another."] = None,
    columns: Annotated[Sequence[Column] | None, "Refuse others."] = None,
) -> Registered:
    """Make a dataset of an object put with storage_put, if it is what you say it is. Else use ingest_file.

    Example: {"name": "orders", "objects": [{"key": "in/orders.parquet"}]}
    """
    from lakehouse.engine import datasets
    from lakehouse.engine.register import register as run

    made, existing = await run(
        lake.datasets,
        lake.ingest,
        name,
        objects[0].key,
        sha256=objects[0].sha256,
        size_bytes=objects[0].size_bytes,
        schema_fingerprint=schema_fingerprint,
        columns=None if columns is None else [datasets.Column(c.name, c.type) for c in columns],
        row_count=row_count,
    )
    return Registered(
        dataset_id=made.dataset_id,
        name=made.name,
        version=made.version,
        schema_fingerprint=made.schema_fingerprint,
        row_count=made.row_count,
        existing=existing,
    )


@mode()
async def names(lake: Lakehouse, prefix: Annotated[str, "How the names begin."] = "") -> Names:
    """List the names of datasets that begin with a text."""
    return Names(values=[name for name in await lake.datasets.names() if name.startswith(prefix)])


@resource("lakehouse://datasets", title="Datasets")
async def index(lake: Lakehouse) -> Names:
    """The names of all datasets."""
    return Names(values=await lake.datasets.names())


@resource("lakehouse://datasets/{name}", title="A dataset", complete={"name": "datasets.names"}, listed=True)
async def manifest(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Manifest:
    """The manifest of a dataset's newest version."""
    return await get(lake, name)


@resource("lakehouse://datasets/{name}/schema", title="A dataset's columns", complete={"name": "datasets.names"})
async def schema(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Schema:
    """The columns of a dataset."""
    found = await get(lake, name)
    return Schema(name=found.name, version=found.version, columns=found.columns)


@resource("lakehouse://datasets/{name}/sample", title="A dataset's first rows", complete={"name": "datasets.names"})
async def sample(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> Sample:
    """The first 20 rows of a dataset."""
    return await _sample(lake, name)


@resource(
    "lakehouse://datasets/{name}/history", title="A dataset's newest versions", complete={"name": "datasets.names"}
)
async def recent(lake: Lakehouse, name: Annotated[str, "The dataset."]) -> History:
    """The newest 20 versions of a dataset."""
    return await history(lake, name)


@resource(
    "lakehouse://datasets/{name}/at/{as_of}/schema",
    title="A dataset's columns as they were",
    complete={"name": "datasets.names"},
)
async def schema_at(
    lake: Lakehouse, name: Annotated[str, "The dataset."], as_of: Annotated[str, "A version or a moment."]
) -> Schema:
    """The columns of a dataset at a version or a moment."""
    found = await get(lake, name, as_of=as_of)
    return Schema(name=found.name, version=found.version, columns=found.columns)


@resource(
    "lakehouse://datasets/{name}/at/{as_of}/sample",
    title="A dataset's first rows as they were",
    complete={"name": "datasets.names"},
)
async def sample_at(
    lake: Lakehouse, name: Annotated[str, "The dataset."], as_of: Annotated[str, "A version or a moment."]
) -> Sample:
    """The first 20 rows of a dataset at a version or a moment."""
    return await _sample(lake, name, as_of)


async def _sample(lake: Lakehouse, name: str, as_of: str | None = None) -> Sample:
    from lakehouse.engine.sample import sample as first_rows

    found, rows = await first_rows(lake.datasets, name, 20, as_of)
    described = Manifest(**found.as_dict())
    return Sample(
        name=found.name, version=found.version, columns=described.columns, rows=rows, row_count=found.row_count
    )
