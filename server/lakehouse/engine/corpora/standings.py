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
    newest: Mapping[str, int | None],
    refreshing: bool,
    settings: config.Corpora,
) -> Standing:
    """What is told of a corpus. `newest` are the versions of the datasets it was built from; None: it is gone."""
    drift: list[str] = []
    if recipe is not None:
        drift = changes(builder.get("recipe") or {}, recipe.stored())
        cut = recipe.cut(settings)
        if "recipe" in builder and cut != (builder.get("chunker"), builder.get("max_chars"), builder.get("overlap")):
            drift += [] if any(field.startswith("chunker") for field in drift) else ["chunker"]
    held = builder.get("read") or {builder.get("dataset"): builder.get("dataset_version")}
    fixed = (builder.get("recipe") or {}).get("source", {}).get("as_of") is not None
    ahead = [number for name, number in newest.items() if number is not None and number != held[name]]
    behind = bool(ahead) and not fixed
    known = bool(newest) and None not in newest.values()
    about = Standing(
        state="current",
        follows=follower is not None,
        version=builder.get("dataset_version"),
        newest=newest.get(builder.get("dataset", "")),
        defined=recipe is not None,
        drift=drift,
        error=follower.error if follower is not None else None,
    )
    complete = bool(builder.get("complete"))
    if refreshing and (behind or not complete or about.error is not None):
        state = "refreshing"
    elif not complete:
        state = "incomplete"
    elif behind or drift:
        state = "behind"
    else:
        state = "current" if known else "unknown"
    return about.model_copy(update={"state": state})
