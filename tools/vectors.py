"""Raw vector indexes: for vectors you computed yourself. For text, build a corpus and use matrix_search instead."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from lakehouse import Lakehouse, resource, tool
from lakehouse.engine.filters import checked
from lakehouse.engine.filters.allowed import SqlFilter
from lakehouse.engine.vectors import IndexInfo, Item
from lakehouse.engine.vectors.asking import Ask
from lakehouse.engine.vectors.hybrid import Question, ranked

Name = Annotated[str, "The index."]


class Generation(BaseModel):
    """A build of an index."""

    generation: int = Field(description="Its number: name@n reads it.")
    live: bool = Field(description="Whether it is what the name alone stands for.")
    created: str = Field(description="When it was made.")
    swapped_at: str = Field(description="When it last went live.")
    count: int = Field(description="Items in it.")
    dimension: int = Field(description="Components of each vector.")
    model: str | None = Field(None, description="Embedding model of its vectors, where known.")


class Index(BaseModel):
    """A vector index."""

    name: str = Field(description="Its name.")
    dimension: int = Field(description="Components of each vector.")
    distance: Literal["cosine", "euclidean"] = Field(description="cosine is 1 - cos; euclidean the L2 norm.")
    count: int = Field(description="Items in it.")
    generation: int = Field(description="Number of the live generation.")
    model: str | None = Field(None, description="Embedding model its vectors come from, where known.")
    generations: list[Generation] | None = Field(None, description="Of one index: the live one and those kept.")


class Damaged(BaseModel):
    """An index that cannot be opened."""

    name: str = Field(description="Its name.")
    problem: str = Field(description="The file at fault.")


class Indexes(BaseModel):
    """The indexes."""

    indexes: list[Index] = Field(description="Sorted by name.")
    count: int = Field(description="How many there are.")
    damaged: list[Damaged] = Field(default_factory=list, description="Indexes left out because a file is damaged.")


class Vector(BaseModel):
    """One item to put."""

    id: str = Field(description="One that exists is replaced.")
    vector: list[float] = Field(description="As many numbers as the dimension.")
    metadata: Any = Field(None, description="Any JSON; absent: keeps what is stored.")


class Added(BaseModel):
    """What a batch changed."""

    added: int = Field(description="Ids that were new.")
    updated: int = Field(description="Ids that were replaced.")


class Stored(BaseModel):
    """One stored item."""

    id: str = Field(description="Its id.")
    vector: list[float] | None = Field(None, description="32-bit components; absent for an item without a vector.")
    metadata: Any = Field(None, description="Its metadata.")


class Optimized(BaseModel):
    """An index whose files are as they should be."""

    steps: int = Field(description="Merges and graphs it took; 0: there was nothing to do.")


class Removed(BaseModel):
    """What was removed."""

    removed: str = Field(description="The id or name.")


class Hit(BaseModel):
    """One result."""

    id: str = Field(description="The item's id.")
    distance: float = Field(description="Smaller is nearer.")
    metadata: Any = Field(description="The item's metadata.")

    @model_serializer(mode="wrap")
    def _with_metadata(self, rest: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # Absent fields are left out of answers; null is a value here. A return type would replace the fields' schema.
        return rest(self) | {"metadata": self.metadata} if self.metadata is None else rest(self)


class Hits(BaseModel):
    """The nearest items."""

    results: list[Hit] = Field(description="By distance, then id.")
    count: int = Field(description="How many there are.")


class Ranked(BaseModel):
    """The nearest of the items that the SQL chose."""

    results: list[Hit] = Field(description="By distance, then id.")
    count: int = Field(description="How many there are.")
    allowed: int = Field(description="Ids the SQL selected; those the index lacks count too.")


# `list` is a capability below, so the built-in one is named here.
Batch = Annotated[list[Vector], "At least one."]
Columns = list[str]
Floats = list[float]
Query = Annotated[list[float], "What to look for."]
Where = Annotated[
    dict[str, Any] | None,
    "Fields with a value, a list of them or operators: $eq $ne $in $nin $gt $gte $lt $lte $prefix $contains $regex "
    "$exists; $and $or $not join.",
]


def _shown(info: IndexInfo) -> Index:
    # All but `builder`, which says how a corpus is made.
    return Index(**{name: value for name, value in vars(info).items() if name != "generations"})


@tool(
    "writes",
    name="create_index",
    route="/v1/vectors/index",
    status=201,
    toolset="retrieval",
    title="Create a vector index",
)
async def create(
    lake: Lakehouse,
    name: Annotated[str, "1 to 128 of A-Z a-z 0-9 _ . -"],
    dimension: Annotated[int, "Of its vectors."],
    distance: Annotated[Literal["cosine", "euclidean"], "Measure."] = "cosine",
    m: Annotated[int | None, "Links of an item in graphs."] = None,
    ef_construction: Annotated[int | None, "Effort to build them."] = None,
    ef_search: Annotated[int | None, "Effort to search them."] = None,
) -> Index:
    """Create an empty index for your own vectors. For text use build_corpus, which embeds it.

    Example: {"name": "faces", "dimension": 128}
    """
    made = await lake.vectors.create(
        name, dimension, distance, m=m, ef_construction=ef_construction, ef_search=ef_search
    )
    return _shown(made)


@tool(name="list_indexes", route="GET /v1/vectors/index", toolset="retrieval", title="List vector indexes")
async def list(lake: Lakehouse) -> Indexes:
    """List every vector index, corpora included, with dimension and size."""
    found = await lake.vectors.list()
    problems = [Damaged(name=name, problem=text) for name, text in sorted(lake.vectors.problems.items())]
    return Indexes(indexes=[_shown(info) for info in found], count=len(found), damaged=problems)


@tool(name="get_index", route="GET /v1/vectors/index/{name}", toolset="retrieval", title="Describe a vector index")
async def get(lake: Lakehouse, name: Name) -> Index:
    """Describe one vector index, its live generation and those kept beside it; name@n describes one of those."""
    info = await lake.vectors.get(name)
    shown = _shown(info)
    shown.generations = [Generation(**vars(each)) for each in info.generations] or None
    return shown


@tool(
    "writes",
    name="optimize_index",
    route="/v1/vectors/index/{name}/optimize",
    toolset="retrieval",
    title="Optimize a vector index",
    long=True,
    idempotent=True,
)
async def optimize(lake: Lakehouse, name: Name) -> Optimized:
    """Merge an index's files and build its graphs now, instead of soon by itself; returns when searches use them."""
    return Optimized(steps=await lake.vectors.optimise(name, lake.progress))


@tool(
    "destroys",
    name="delete_index",
    route="DELETE /v1/vectors/index/{name}",
    status=204,
    toolset="retrieval",
    title="Delete a vector index",
)
async def delete(lake: Lakehouse, name: Name) -> Removed:
    """Delete a vector index and everything in it, for good."""
    await lake.vectors.delete(name)
    return Removed(removed=name)


@tool(
    "writes",
    name="add_vectors",
    route="/v1/vectors/index/{index}/add",
    max_body=64 * 2**20,
    toolset="retrieval",
    title="Add vectors",
    long=True,
    idempotent=True,
)
async def add(lake: Lakehouse, index: Name, items: Batch) -> Added:
    """Put vectors into an index, all or none; durable when it returns.

    Example: {"index": "faces", "items": [{"id": "a", "vector": [0.1, 0.9], "metadata": {"who": "Ann"}}]}
    """
    put = await lake.vectors.add(index, [Item(i.id, i.vector, i.metadata) for i in items])
    return Added(**vars(put))


@tool(
    "writes",
    name="import_vectors",
    route="/v1/vectors/index/{index}/import",
    toolset="retrieval",
    title="Make an index of a dataset's vectors",
    long=True,
    idempotent=True,
)
async def load(
    lake: Lakehouse,
    index: Name,
    dataset: Annotated[str, "The dataset."],
    vector: Annotated[str, "Its column of vectors."],
    id: Annotated[str, "Its column of ids."] = "id",
    metadata: Annotated[Columns | None, "Columns to keep; default all others."] = None,
    model: Annotated[str | None, "Their model; matrix_search needs it."] = None,
    as_of: Annotated[int | str | None, "Version or moment."] = None,
) -> Index:
    """Make or replace an index, in one step, with the vectors a dataset has."""
    from lakehouse.engine.embeddings import rebuild

    return _shown(
        await rebuild(
            lake.datasets,
            lake.vectors,
            index,
            dataset,
            vector=vector,
            id=id,
            metadata=metadata,
            model=model,
            as_of=as_of,
            progress=lake.progress,
        )
    )


@tool(
    name="get_vector",
    route="GET /v1/vectors/index/{index}/item/{id:path}",
    toolset="retrieval",
    title="Get a stored vector",
)
async def item(lake: Lakehouse, index: Name, id: Annotated[str, "The item's id."]) -> Stored:
    """Get one item with its vector and metadata."""
    found = await lake.vectors.get_item(index, id)
    vector = None if found.vector is None else [float(x) for x in found.vector]
    return Stored(id=found.id, vector=vector, metadata=found.metadata)


@tool(
    "destroys",
    name="delete_vector",
    route="DELETE /v1/vectors/index/{index}/item/{id:path}",
    status=204,
    toolset="retrieval",
    title="Delete a stored vector",
)
async def remove(lake: Lakehouse, index: Name, id: Annotated[str, "The item's id."]) -> Removed:
    """Delete one item from an index."""
    await lake.vectors.delete_item(index, id)
    return Removed(removed=id)


@tool(
    name="search_vectors",
    route="/v1/vectors/index/{index}/search",
    toolset="retrieval",
    title="Search a vector index",
)
async def search(
    lake: Lakehouse,
    index: Name,
    vector: Query,
    k: Annotated[int, "How many."] = 10,
    filter: Where = None,
) -> Hits:
    """Find the stored vectors nearest to one of yours, where metadata meets a filter. To search with words use
    matrix_search. Example: {"index": "faces", "vector": [0.1, 0.9], "filter": {"age": {"$gte": 30}}}"""
    hits = (await lake.vectors.ask(index, Ask(k, vector, filter=await checked(filter)))).near
    return Hits(results=[Hit(**vars(hit)) for hit in hits], count=len(hits))


@tool(name="hybrid_search", route="/v1/vectors/hybrid", toolset="retrieval", title="Rank what SQL selects by meaning")
async def hybrid(
    lake: Lakehouse,
    index: Name,
    sql: Annotated[str, "One SELECT."],
    id_column: Annotated[str, "Its column of ids."],
    query_text: Annotated[str | None, "What to look for."] = None,
    query_vector: Annotated[Floats | None, "Or its vector."] = None,
    id_prefix: Annotated[str, "Put before each id."] = "",
    k: Annotated[int, "How many."] = 10,
) -> Ranked:
    """Find the nearest of exactly those items whose ids a query selects.

    Example: {"index": "w", "query_text": "welder", "sql": "SELECT id FROM workers", "id_column": "id"}
    """
    chosen = SqlFilter(sql=sql, id_column=id_column, id_prefix=id_prefix)
    question = Question(query_text, query_vector)
    found = await ranked(lake.vectors, lake.embed, lake.sql, lake.config.sql, index, question, chosen, k)
    hits = [Hit(**vars(hit)) for hit in found.hits]
    return Ranked(results=hits, count=len(hits), allowed=found.allowed)


@resource("lakehouse://indexes", title="Vector indexes")
async def indexes(lake: Lakehouse) -> Indexes:
    """Every vector index with its dimension and size."""
    return await list(lake)
