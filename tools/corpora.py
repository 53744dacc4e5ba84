"""Corpora: texts to search, of datasets, SQL and folders."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, resource, tool
from lakehouse.engine.corpora import Built, Checked, Defined, Listed

INSTRUCTIONS = "Make text searchable once: build_corpus embeds a dataset's text columns, or a folder of text files."


class Corpora(BaseModel):
    """Everything that can be searched."""

    corpora: Sequence[Listed] = Field(description="Every index, by name.")
    count: int = Field(description="How many.")
    defined: Sequence[Defined] = Field((), description="Corpora that files define and nobody has built yet.")
    problems: Sequence[str] = Field(
        (), description="Damaged ones, which are not listed, and definitions with mistakes."
    )


class Definitions(BaseModel):
    """The definitions there are."""

    definitions: Sequence[Checked] = Field(description="Each file, by the corpus it defines.")
    count: int = Field(description="How many.")
    problems: int = Field(description="How many have a mistake.")


@tool(
    "writes",
    name="build_corpus",
    route="/v1/corpora/build",
    title="Build a corpus",
    toolset="core retrieval",
    long=True,
    idempotent=True,
)
async def build(
    lake: Lakehouse,
    name: Annotated[str, "The corpus. Alone: as its definition or last build says."],
    dataset: Annotated[str | None, "Of this dataset's rows."] = None,
    as_of: Annotated[int | str | None, "Its version, or a moment."] = None,
    sql: Annotated[str | None, "Or of a SELECT's rows: id, text, metadata."] = None,
    folder: Annotated[str | None, "Or of a folder's texts, markdown, code, CSV."] = None,
    include: Annotated[Sequence[str] | None, "Only files like *.md, guide/**."] = None,
    exclude: Annotated[Sequence[str] | None, "Not files like these."] = None,
    text: Annotated[Sequence[str] | None, "Columns to search, joined."] = None,
    id: Annotated[str | None, "Id column; default the dataset's key."] = None,
    metadata: Annotated[Sequence[str] | None, "Columns returned with hits; default all others."] = None,
    chunker: Annotated[str | None, "auto (by suffix), plain, markdown, code, table."] = None,
    index_name: Annotated[str | None, "Index to build, if named otherwise."] = None,
    id_prefix: Annotated[str | None, "Put before each id."] = None,
    model: Annotated[str | None, "Default: the configured one."] = None,
    drop_existing: Annotated[bool, "Replace one of another model or source."] = False,
    limit: Annotated[int | None, "Read so many rows or files; remove none.", Field(ge=1)] = None,
    batch_size: Annotated[int | None, "Chunks at a time.", Field(ge=1, le=1024)] = None,
    workers: Annotated[int | None, "Batches at a time.", Field(ge=1, le=8)] = None,
    follow: Annotated[bool | None, "Refresh it with each version of the dataset."] = None,
) -> Built:
    """Make texts searchable with matrix_search, or bring a corpus up to date: only changed texts are embedded.
    Ingest files of rows first. Example: {"name": "jobs", "dataset": "jobs", "text": ["title", "body"], "id": "code"}"""
    return await lake.corpora.build(
        name,
        dataset=dataset,
        as_of=as_of,
        sql=sql,
        folder=folder,
        include=include,
        exclude=exclude,
        text=text,
        id=id,
        metadata=metadata,
        chunker=chunker,
        index_name=index_name,
        id_prefix=id_prefix,
        model=model,
        drop_existing=drop_existing,
        limit=limit,
        batch_size=batch_size,
        workers=workers,
        follow=follow,
        confined=lake.via not in ("python", "cli"),
        remote=lake.caller.remote,
        progress=lake.progress,
    )


@tool(name="matrix_corpora", route="GET /v1/matrix/corpora", title="List corpora", toolset="core retrieval")
async def list(lake: Lakehouse) -> Corpora:
    """What matrix_search can search: names, sizes, embedding models, what each was built from, and how it stands."""
    found, problems = await lake.matrix.corpora(), lake.matrix.problems()
    if lake.profile is not None:  # definitions and versions are about everybody's data
        return Corpora(corpora=[Listed(**dict(each)) for each in found], count=len(found), problems=problems)
    listed = await lake.corpora.standings(found)
    defined, mistaken = await lake.corpora.defined()
    return Corpora(corpora=listed, count=len(listed), defined=defined, problems=[*problems, *mistaken])


@tool(name="check_corpora", route="GET /v1/corpora/check", title="Check corpus definitions", toolset="retrieval")
async def check(
    lake: Lakehouse, name: Annotated[str | None, "Only the definition of this corpus."] = None
) -> Definitions:
    """Check the definitions of corpora (corpora/*.yaml): keys, columns, SQL, folders, model. Nothing is embedded.
    Example: {"name": "handbook"}"""
    checked = await lake.corpora.check(name)
    return Definitions(
        definitions=checked, count=len(checked), problems=sum(each.problem is not None for each in checked)
    )


@resource("lakehouse://corpora", title="Corpora")
async def all(lake: Lakehouse) -> Any:
    """Every corpus and raw index, with what it was built from."""
    return (await list(lake)).model_dump(mode="json", exclude_none=True)
