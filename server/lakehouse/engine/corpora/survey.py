"""What is told of corpora and their definitions: how each stands, which are not built, which cannot be."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse import config
from lakehouse.engine.corpora.definitions import Definition, Unusable
from lakehouse.engine.corpora.following import Following
from lakehouse.engine.corpora.standings import standing
from lakehouse.engine.corpora.states import Checked, Defined, Listed
from lakehouse.engine.matrix import Corpus
from lakehouse.errors import InvalidInput, LakehouseError, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.datasets import Datasets


async def standings(
    corpora: Sequence[Corpus],
    definitions: Sequence[Definition],
    following: Following,
    datasets: "Datasets",
    settings: config.Corpora,
) -> list[Listed]:
    """Indexes as they are listed, each corpus with how it stands to its definition and its datasets."""
    known = {each.recipe.name: each for each in definitions}
    listed = []
    for corpus in corpora:
        builder, about = corpus.builder, None
        if builder is not None:
            read = builder.get("read") or {builder.get("dataset"): builder.get("dataset_version")}
            newest = {dataset: await _newest(datasets, dataset) for dataset in read if dataset is not None}
            definition = known.get(corpus.name)
            if definition is not None and not definition.rules(builder.get("defined")):
                definition = None
            recipe = definition.recipe if definition else None
            follower = await following.of(corpus.name)
            about = standing(builder, recipe, follower, newest, following.refreshing(corpus.name), settings)
        listed.append(Listed(**dict(corpus), standing=about))
    return listed


async def unbuilt(definitions: Sequence[Definition], built: Collection[str], datasets: "Datasets") -> list[Defined]:
    """The corpora that are defined and not among the `built`."""
    return [
        Defined(name=each.recipe.name, description=each.recipe.description, source=each.recipe.source.kind)
        for each in definitions
        if each.recipe.name not in built and await _shown(each, datasets)
    ]


async def checked(
    definitions: Sequence[Definition],
    unusable: Sequence[Unusable],
    name: str | None,
    attempt: Callable[[Definition], Awaitable[None]],
    datasets: "Datasets",
) -> list[Checked]:
    """Every definition, or that of a name, with what `attempt` raises for it. Raises InvalidInput for no such name."""
    found = [
        Checked(file=each.path.name, name=each.name, problem=f"{each.error.detail} {each.error.fix}")
        for each in unusable
        if name in (None, each.name)
    ]
    for each in definitions:
        if each.recipe.name != name and (name is not None or not await _shown(each, datasets)):
            continue
        problem = None
        try:
            await attempt(each)
        except LakehouseError as error:
            problem = f"{error.detail} {error.fix}"
        found.append(Checked(file=each.path.name, name=each.recipe.name, problem=problem))
    if name is not None and not found:
        names = [each.recipe.name for each in definitions]
        raise InvalidInput(
            f"name: nothing defines a corpus {name[:80]!r}.",
            fix=did_you_mean(name, names, "Put NAME.yaml into a corpora folder."),
        )
    return sorted(found, key=lambda each: each.name)


async def _shown(definition: Definition, datasets: "Datasets") -> bool:
    """Whether a definition is listed: one that is shipped is when what it reads is there."""
    source = definition.recipe.source
    if not definition.shipped or source.sql is not None:
        return True
    if source.folder is not None:
        return await anyio.to_thread.run_sync(Path(source.folder).is_dir)
    return await _newest(datasets, source.dataset or "") is not None


async def _newest(datasets: "Datasets", dataset: str) -> int | None:
    try:
        return (await datasets.get(dataset)).version
    except LakehouseError:  # it is gone or damaged: listing datasets says which
        return None
