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
class Generation:
    """One build of an index. `created` is when it was made, `swapped_at` when it last went live."""

    generation: int
    live: bool
    created: str
    swapped_at: str
    count: int
    dimension: int
    model: str | None


@dataclass(frozen=True)
class HotSwap:
    """Which generation of an index went live, and when."""

    generation: int
    swapped_at: str


@dataclass(frozen=True)
class Swapped:
    """A change of the live generation: `previous` went, with its items, and `generation` came.

    What had been added to the previous one stays in it, and is not in the one that came. `kept` says whether it is
    there to be read as `name@previous`, and to go back to.
    """

    name: str
    generation: int
    previous: int
    count: int
    previous_count: int
    swapped_at: str
    kept: bool


@dataclass(frozen=True)
class IndexInfo:
    """An index as it is now. `count` has all items, with or without a vector.

    `generation` is the number of the live build; `revision` grows whenever what is stored of it is written anew, and
    starts again with a replacement. `generations` are the live one and those kept beside it, by number.
    """

    name: str
    dimension: int
    distance: Distance
    count: int
    generation: int
    model: str | None
    builder: dict[str, Any] | None
    revision: int = 0
    generations: tuple[Generation, ...] = ()


def at(name: str) -> tuple[str, int | None]:
    """A name as readers give it: that of an index, or `name@n`, its generation n. Raises InvalidInput."""
    base, sign, number = name.partition("@")
    if sign and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidInput(
            f"name {name[:80]!r}: behind the @ there is no number.", fix="Name a generation such as tickets@3."
        )
    return check_name(base), int(number) if sign else None


def check_live(name: str) -> str:
    """The name of an index that is to be changed. Raises Conflict for a generation, and InvalidInput."""
    base, number = at(name) if "@" in name else (name, None)
    if number is not None:
        raise Conflict(
            f"{name} is a generation that is kept, and never changes.", fix=f"Change {base}, or swap it to that first."
        )
    return check_name(base)


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
