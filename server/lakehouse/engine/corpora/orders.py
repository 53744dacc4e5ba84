"""What a build is asked for: the recipe of the call, of a definition or of the last build, and what stands already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine.corpora.definitions import Definition, Unusable
from lakehouse.engine.corpora.recipe import KINDS, Recipe, recipe_of
from lakehouse.engine.vectors import IndexDamaged, IndexInfo, IndexNotFound
from lakehouse.engine.vectors.items import check_name
from lakehouse.errors import Conflict, InvalidInput, did_you_mean

if TYPE_CHECKING:
    from lakehouse.engine.vectors import Vectors


@dataclass(frozen=True)
class Order:
    """A corpus to be made: `defined` by the definition of a name; `again` as it was made last, with its model."""

    index: str
    recipe: Recipe
    defined: str | None = None
    again: bool = False

    def notes(self, cut: tuple[str, int, int]) -> dict[str, Any]:
        """What is kept with the corpus of how it is made, beside the facts of its source."""
        kind, largest, overlap = cut
        return {
            "id_prefix": self.recipe.id_prefix,
            "chunker": kind,
            "max_chars": largest,
            "overlap": overlap,
            "follows": self.recipe.follow,
            "defined": self.defined,
            "recipe": self.recipe.stored(),
        }

    def renews(self, info: IndexInfo, model: str) -> bool:
        """Whether the definition names another model than the corpus has: then all is embedded beside it."""
        named = self.defined is not None and self.recipe.model is not None
        return named and info.builder is not None and info.model != model

    def check(self, info: IndexInfo, now: Mapping[str, Any], model: str) -> None:
        """Raises Conflict when an index is not an earlier state of what is about to be built."""
        if info.builder is None:
            raise Conflict(f"{info.name} is an index, not a corpus.", fix="Choose another name for the corpus.")
        if info.model != model:
            raise Conflict(
                f"corpus {info.name} was embedded with {info.model}; now it would be {model}.",
                fix="Build it with drop_existing=true, or set embed.provider and embed.model back.",
            )
        bucket = info.builder.get("bucket")
        if bucket is not None and now.get("bucket") not in (None, bucket):  # of a profile, under the same name
            raise Conflict(
                f"corpus {info.name} was built from the dataset of bucket {bucket!r}, which is another.",
                fix="Choose another name, or build it with drop_existing=true.",
            )
        if self.again or (self.defined and self.defined == info.builder.get("defined")):
            return
        kind = str(info.builder.get("source"))
        then = (info.builder.get("source"), info.builder.get(kind))
        if then != (now["source"], now.get(kind)):
            raise Conflict(
                f"corpus {info.name} was built from the {kind} {info.builder.get(kind)}.",
                fix="Choose another name, or build it with drop_existing=true.",
            )


async def ordered(
    find: "Callable[[], tuple[list[Definition], list[Unusable]]]",
    vectors: "Vectors",
    index: str,
    name: str,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    again: bool = False,
) -> Order:
    """The order for an index: from a given source, else by the definition of `name`, else as it was made last.

    With `again` only the last. A definition is no matter for a corpus that it does not rule. Raises InvalidInput, also
    for a definition that cannot be used, naming its line.
    """
    check_name(index)
    stored, defined = await _stored(vectors, index)
    given = {key: value for key, value in options.items() if value is not None}
    if any(source.get(kind) is not None for kind in KINDS):
        if stored is not None and stored.source.dataset is not None and stored.source.dataset == source.get("dataset"):
            # Built by hand in between, it follows as before.
            given.setdefault("follow", stored.follow and source.get("as_of") is None and "limit" not in given)
        return Order(index, recipe_of(index, source, given))
    if astray := [key for key, value in source.items() if value is not None]:
        raise InvalidInput(
            f"{', '.join(astray)}: exactly one of dataset, sql and folder is needed with it.", fix="Name the source."
        )
    if not again:
        found, unusable = await anyio.to_thread.run_sync(find)
        definition = next((each for each in found if each.recipe.name == name), None)
        if definition is not None and (stored is None or index != name or definition.rules(defined)):
            return Order(index, _changed(definition.recipe, given), name)
        broken = next((each for each in unusable if each.name == name), None)
        if broken is not None:
            raise InvalidInput(f"{broken.path.name}: {broken.error.detail}", fix=broken.error.fix)
    if stored is not None:
        return Order(index, _changed(stored, given), defined, again=True)
    known = [] if again else [each.recipe.name for each in found]
    raise InvalidInput(
        f"dataset, sql, folder: exactly one is needed: nothing defines a corpus {name}, and there is none.",
        fix=did_you_mean(name, known, "Give a dataset, a SELECT or a folder."),
    )


async def check_free(vectors: "Vectors", index: str, dataset: str) -> None:
    """Raises InvalidInput, or Conflict, for a name that no corpus of a dataset can have."""
    check_name(index)
    try:
        info = await vectors.get(index)
    except IndexNotFound:
        return
    if info.builder is None or info.builder.get("dataset") != dataset:
        raise Conflict(
            f"corpus: {index!r} is an index of something else.", fix="Choose another name with corpus, or delete it."
        )


def _changed(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    fields = recipe.model_dump(exclude_defaults=True)
    source = fields.pop("source")
    return recipe_of(fields.pop("name"), source, {**fields, **given})


async def _stored(vectors: "Vectors", index: str) -> tuple[Recipe | None, str | None]:
    """The recipe a corpus was made by last, and the definition that gave it."""
    try:
        builder = (await vectors.get(index)).builder or {}
    except (IndexNotFound, IndexDamaged):
        return None, None
    fields = dict(builder.get("recipe") or {})
    source = fields.pop("source", None)
    return (recipe_of(index, source, fields) if source else None), builder.get("defined")
