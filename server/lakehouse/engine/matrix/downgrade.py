"""Whether a strong model is given a plainer mode: composed corpora lose to isolation there (5 of 5, p = 0.031)."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from lakehouse.errors import InvalidInput

COMPOSED = "codereview_lakehouse"
ISOLATED = "codereview_isolation"


class Downgrade(BaseModel):
    """Which mode to run."""

    mode: str = Field(description="The mode to use.")
    original_mode: str = Field(description="The mode asked for.")
    downgraded: bool = Field(description="Whether they differ.")
    reason: str = Field(description="Why, in words.")


def weak(model: str, listed: Sequence[str]) -> str | None:
    """Why a model counts as weak: it is a free one by its name, or listed. None for a strong one."""
    if ":free" in model:
        return "it is a free model"
    return "it is in the list of weak models" if model in listed else None


def gate(mode: str, model: str, *, forced: str | None, listed: Sequence[str]) -> Downgrade:
    """The mode for a model. `forced` names what keeps the mode as it is; `listed` are names of weak models.

    Raises InvalidInput for an empty mode or model.
    """
    for name, value in (("mode", mode), ("model", model)):
        if not value.strip():
            raise InvalidInput(f"{name}: it is empty.", fix="Give both mode and model.")
    if mode != COMPOSED:
        reason = f"only {COMPOSED} is ever downgraded"
    elif forced is not None:
        reason = f"{forced} keeps the mode"
    elif (why := weak(model, listed)) is not None:
        reason = f"{model} is weak: {why}"
    else:
        reason = f"{model} is strong, and strong models do better in isolation"
        return Downgrade(mode=ISOLATED, original_mode=mode, downgraded=True, reason=reason)
    return Downgrade(mode=mode, original_mode=mode, downgraded=False, reason=reason)
