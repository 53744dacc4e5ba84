"""A profile made ready: everything it names is opened and checked, so that the first question finds it open."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets
    from lakehouse.engine.embed import Embedder
    from lakehouse.engine.profiles import Profile
    from lakehouse.engine.vectors import Vectors


class Bound(BaseModel):
    """An index the profile names."""

    name: str = Field(description="The profile's name for it.")
    index: str = Field(description="The index, or the generation of one, that it stands for.")
    generation: int | None = Field(None, description="The generation that answers.")
    dimension: int | None = Field(None, description="Components of its vectors.")
    count: int | None = Field(None, description="Items in it.")
    model: str | None = Field(None, description="Embedding model of its vectors, where known.")
    problem: str | None = Field(None, description="Why it cannot be searched; absent when it can.")


class Activated(BaseModel):
    """What a profile has, opened and checked."""

    name: str = Field(description="The profile.")
    ready: bool = Field(description="Whether nothing has a problem.")
    indexes: list[Bound] = Field(description="The indexes and corpora, by name.")
    datasets: list[str] = Field(description="The datasets that are there.")
    missing: list[str] = Field([], description="Datasets it names that are not.")


async def activate(profile: "Profile", vectors: "Vectors", datasets: "Datasets", embed: "Embedder") -> Activated:
    """Open and check what a profile names: its indexes by `vectors` and its `datasets`, as its readers have them.

    Each embedding model its corpora need is asked for a vector once, so that it is loaded.
    """
    found = [await _opened(name, target, vectors) for name, target in sorted(profile.targets.items())]
    sizes: dict[str, int | str] = {}
    for each in found:
        if each.model is not None and each.problem is None:
            if each.model not in sizes:
                sizes[each.model] = await _size(embed, each.model)
            size = sizes[each.model]
            if isinstance(size, str):
                each.problem = size
            elif size != each.dimension:
                each.problem = f"{each.model} now gives vectors of {size} components."
    there = sorted(manifest.name for manifest in await datasets.list())
    missing = sorted((profile.datasets or frozenset()) - set(there))
    ready = not missing and all(each.problem is None for each in found)
    return Activated(name=profile.name, ready=ready, indexes=found, datasets=there, missing=missing)


async def _opened(name: str, target: str, vectors: "Vectors") -> Bound:
    try:
        info = await vectors.get(name)
    except LakehouseError as error:
        return Bound(name=name, index=target, problem=error.detail)
    return Bound(
        name=name,
        index=target,
        generation=info.generation,
        dimension=info.dimension,
        count=info.count,
        model=info.model,
    )


async def _size(embed: "Embedder", model: str) -> int | str:
    """Components of a model's vectors, or why there are none."""
    try:
        return (await embed.embed(["ready"], model)).dimension
    except LakehouseError as error:
        return error.detail
