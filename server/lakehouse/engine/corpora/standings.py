"""How a corpus stands, from the facts of its last build, its definition and the newest version of its dataset."""

from collections.abc import Mapping
from typing import Any

from lakehouse import config
from lakehouse.engine.corpora.following import Follower
from lakehouse.engine.corpora.recipe import Recipe, changes
from lakehouse.engine.corpora.states import Standing


def standing(
    builder: Mapping[str, Any],
    recipe: Recipe | None,
    follower: Follower | None,
    newest: int | None,
    refreshing: bool,
    settings: config.Corpora,
) -> Standing:
    """What is told of a corpus. `newest` is None where there is no dataset (any more)."""
    drift: list[str] = []
    if recipe is not None:
        drift = changes(builder.get("recipe") or {}, recipe.stored())
        cut = recipe.cut(settings)
        if "recipe" in builder and cut != (builder.get("chunker"), builder.get("max_chars"), builder.get("overlap")):
            drift += [] if any(field.startswith("chunker") for field in drift) else ["chunker"]
    version = builder.get("dataset_version")
    fixed = (builder.get("recipe") or {}).get("source", {}).get("as_of") is not None
    behind = version is not None and newest is not None and not fixed and version < newest
    about = Standing(
        state="current",
        follows=follower is not None,
        version=version,
        newest=newest,
        defined=recipe is not None,
        drift=drift,
        error=follower.error if follower is not None else None,
    )
    if refreshing:
        state = "refreshing"
    elif not builder.get("complete"):
        state = "incomplete"
    elif behind or drift:
        state = "behind"
    else:
        state = "current" if newest is not None else "unknown"
    return about.model_copy(update={"state": state})
