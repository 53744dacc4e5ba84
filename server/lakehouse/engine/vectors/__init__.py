"""Vector indexes: immutable mapped segments, a create-only log, numbered generations, searches without locks."""

from lakehouse.engine.vectors.asking import Answer, Ask, Match, Term
from lakehouse.engine.vectors.items import (
    Added,
    Distance,
    Generation,
    Hit,
    IndexDamaged,
    IndexExists,
    IndexInfo,
    IndexNotFound,
    Item,
    ItemNotFound,
    Swapped,
)
from lakehouse.engine.vectors.store import Vectors

__all__ = [
    "Added",
    "Answer",
    "Ask",
    "Distance",
    "Generation",
    "Hit",
    "IndexDamaged",
    "IndexExists",
    "IndexInfo",
    "IndexNotFound",
    "Item",
    "ItemNotFound",
    "Match",
    "Swapped",
    "Term",
    "Vectors",
]
