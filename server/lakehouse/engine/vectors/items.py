"""What callers of the vector store give and get: items, hits, index descriptions, and its errors."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakehouse.errors import Conflict, InvalidInput, NotFound, Upstream

if TYPE_CHECKING:
    import numpy as np

MAX_METADATA_BYTES = 2**20

Distance = Literal["cosine", "euclidean"]
_NAME = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9_.-]{0,127}")


class IndexNotFound(NotFound):
    """There is no index of this name."""


class ItemNotFound(NotFound):
    """The index has no item of this id."""


class IndexExists(Conflict):
    """The name is taken by another index."""


class IndexDamaged(Upstream):
    """A stored file of the index is missing, cut short or altered; the message names it."""


@dataclass(frozen=True)
class Item:
    """One entry: an id, its vector, any JSON value beside it.

    An item without a vector is kept, counted and retrievable by id, and is never a hit. When an id is put again,
    metadata None keeps what is stored.
    """

    id: str
    vector: "Sequence[float] | np.ndarray | None"
    metadata: Any = None


@dataclass(frozen=True)
class Hit:
    """One answer of a search. `distance` is 1 - cos, or the L2 norm of the difference; smaller is nearer."""

    id: str
    distance: float
    metadata: Any


@dataclass(frozen=True)
class Added:
    """How many ids of a batch were new and how many replaced a stored item."""

    added: int
    updated: int


@dataclass(frozen=True)
class IndexInfo:
    """An index as it is now. `count` has all items, with or without a vector."""

    name: str
    dimension: int
    distance: Distance
    count: int
    generation: int
    model: str | None
    builder: dict[str, Any] | None


def check_name(name: str) -> str:
    """The name, when it is a legal one. Raises InvalidInput."""
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidInput(
            f"name {name[:80]!r}: it must be 1 to 128 letters, digits, '_', '.' or '-', and not start with '_'.",
            fix="Choose a name such as support-tickets.",
        )
    return name


def check_builder(builder: dict[str, Any] | None) -> None:
    """Raises InvalidInput when the facts about an index's making are not JSON."""
    try:
        json.dumps(builder, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"builder: it is not JSON: {error}.", fix="Send a JSON object.") from None
