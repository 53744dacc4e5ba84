"""Texts to vectors."""

from typing import Annotated

from pydantic import BaseModel, Field

from lakehouse import Lakehouse, tool


class Embeddings(BaseModel):
    """Vectors of texts."""

    model: str = Field(description="The model's identity, as indexes pin it.")
    dimension: int = Field(description="Components of each vector.")
    vectors: list[list[float]] = Field(description="One vector per text, in order.")
    truncated: int = Field(description="Texts of which the model read only the beginning.")


class CacheStats(BaseModel):
    """How the embedding cache does."""

    enabled: bool = Field(description="Whether there is a cache at all.")
    hits: int = Field(description="Texts answered from the cache.")
    misses: int = Field(description="Texts the provider was asked for.")
    hit_rate: float = Field(description="Hits among all texts, 0 to 1.")
    size: int = Field(description="Texts in memory now.")
    capacity: int = Field(description="Texts memory may hold.")
    disk: str = Field(description='"ok", "off", or why the cache\'s file is not in use.')


# Long, so that the batch's own deadline is the one that ends it.
@tool(name="embed_text", route="/v1/embed", toolset="retrieval", title="Embed texts", long=True)
async def text(
    lake: Lakehouse,
    texts: Annotated[list[str], "Up to 1024, none blank."],
    model: Annotated[str | None, "Default: the configured one."] = None,
) -> Embeddings:
    """Turn texts into vectors, for search_vectors. To find texts, use matrix_search: it embeds the question itself.
    Example: {"texts": ["forklift driver, Chicago"]}"""
    done = await lake.embed.embed(texts, model)
    return Embeddings(
        model=done.model, dimension=done.dimension, vectors=done.vectors.tolist(), truncated=done.truncated
    )


@tool(name="embed_stats", route="GET /v1/embed/stats", toolset="retrieval", title="Embedding cache statistics")
async def stats(lake: Lakehouse) -> CacheStats:
    """How often the embedding cache had the answer, and how full it is."""
    return CacheStats(**lake.embed.stats())
