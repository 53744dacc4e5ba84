"""What a provider of vectors does, and the one way it fails."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse.errors import Upstream

if TYPE_CHECKING:
    import numpy as np

EXCERPT = 300
_SECRET = re.compile(r"(?i)\b(?:sk|pk|key)-[\w.-]{6,}|(?<=\bbearer )[^\s\"',]+|(?<=api_key=)[^\s\"'&]+")
_LOGIN = re.compile(r"//[^/@\s]+@")


class EmbedFailed(Upstream):
    """The provider of vectors could not be reached, refused, or answered with something that is no vector."""


@dataclass(frozen=True)
class Batch:
    """What a provider made of a batch: one row per text, and which texts it had to cut at its length limit."""

    vectors: "np.ndarray"
    truncated: Sequence[bool]


class Provider(Protocol):
    """Somebody who turns texts into vectors."""

    def identity(self, model: str) -> str:
        """The name under which vectors of a model are cached and pinned; "" means the default model.

        A name this returned is itself a valid `model` and stays as it is. Raises InvalidInput for a model the
        provider cannot have.
        """
        ...

    async def embed(self, texts: Sequence[str], identity: str) -> Batch:
        """One float32 row per text, in order. Raises EmbedFailed."""
        ...

    async def aclose(self) -> None:
        """Give connections and memory back."""
        ...


def as_matrix(rows: Any, count: int, who: str) -> "np.ndarray":
    """Upstream's vectors as a float32 matrix of `count` rows.

    Raises EmbedFailed when there are more or fewer, when they are empty or differ in length, or when a component is
    not a finite number.
    """
    import numpy as np

    try:
        given = np.asarray(rows)
    except ValueError:
        raise _unusable(who, "vectors of different lengths") from None
    if given.ndim != 2 or given.dtype.kind not in "fiu":
        raise _unusable(who, "something that is not a list of vectors of numbers")
    if given.shape[0] != count:
        raise _unusable(who, f"{given.shape[0]} vectors for {count} texts")
    if given.shape[1] == 0:
        raise _unusable(who, "an empty vector")
    with np.errstate(over="ignore"):
        matrix = given.astype(np.float32)
    if not np.isfinite(matrix).all():
        raise _unusable(who, "a vector with a component that is not finite")
    return matrix


def _unusable(who: str, what: str) -> EmbedFailed:
    return EmbedFailed(f"{who} answered with {what}.", fix="Check that the model is one that makes embeddings.")


def redacted(text: str, *secrets: str) -> str:
    """The start of an upstream's words on one line, without the given secrets and what looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(_LOGIN.sub("//***@", _SECRET.sub("***", text)).split())[:EXCERPT]
