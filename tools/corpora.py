"""Corpora: what may be searched, built from datasets and folders."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, resource, tool
from lakehouse.engine.corpora import Built
from lakehouse.engine.matrix import Corpus

INSTRUCTIONS = "Make text searchable once: build_corpus embeds a dataset's text columns, or a folder of text files."


class Corpora(BaseModel):
    """Everything that can be searched."""

    corpora: Sequence[Corpus] = Field(description="Every index, by name.")
    count: int = Field(description="How many.")
    problems: Sequence[str] = Field((), description="Damaged ones, which are not listed.")


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
    name: Annotated[str, "The corpus: letters, digits, _ . -"],
    dataset: Annotated[str | None, "Build from this dataset's rows."] = None,
    as_of: Annotated[int | str | None, "The dataset as it was: a version or a moment."] = None,
    folder: Annotated[str | None, "Or from this folder's .txt, .md, .markdown and .rst files."] = None,
    text: Annotated[Sequence[str] | None, "The dataset's columns to search, joined in this order."] = None,
    id: Annotated[str | None, "The dataset's column that names each row."] = None,
    metadata: Annotated[
        Sequence[str] | None, "Columns returned with each hit; all but the text columns by default."
    ] = None,
    id_prefix: Annotated[str, "Put before every id, so that those of two corpora differ."] = "",
    model: Annotated[str | None, "Embedding model; leave out for the configured one."] = None,
    drop_existing: Annotated[bool, "Replace a corpus of another model or source."] = False,
    limit: Annotated[int | None, "Read only so many rows or files, and remove none.", Field(ge=1)] = None,
    batch_size: Annotated[int | None, "Chunks embedded at a time.", Field(ge=1, le=1024)] = None,
) -> Built:
    """Make texts searchable with matrix_search, or bring a corpus up to date: only changed texts are embedded.
    Ingest a file first to build from it. Example: {"name": "jobs", "dataset": "jobs", "text": ["title", "body"],
    "id": "job_id"}"""
    return await lake.corpora.build(
        name,
        dataset=dataset,
        as_of=as_of,
        folder=folder,
        text=text,
        id=id,
        metadata=metadata,
        id_prefix=id_prefix,
        model=model,
        drop_existing=drop_existing,
        limit=limit,
        batch_size=batch_size,
        confined=lake.via not in ("python", "cli"),
        remote=lake.caller.remote,
        progress=lake.progress,
    )


@tool(name="matrix_corpora", route="GET /v1/matrix/corpora", title="List corpora", toolset="core retrieval")
async def list(lake: Lakehouse) -> Corpora:
    """What matrix_search can search: names, sizes, embedding models, and what each was built from."""
    found = await lake.matrix.corpora()
    return Corpora(corpora=found, count=len(found), problems=lake.matrix.problems())


@resource("lakehouse://corpora", title="Corpora")
async def all(lake: Lakehouse) -> Any:
    """Every corpus and raw index, with what it was built from."""
    return (await list(lake)).model_dump(mode="json", exclude_none=True)
