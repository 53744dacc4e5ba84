"""Vector indexes: immutable mapped segments, a create-only log, numbered generations, searches without locks."""

from lakehouse.engine.vectors.asking import Answer, Ask, Match, Term
from lakehouse.engine.vectors.items import (
    Added,
    Distance,
    Hit,
    IndexDamaged,
    IndexExists,
    IndexInfo,
    IndexNotFound,
    Item,
    ItemNotFound,
)
from lakehouse.engine.vectors.store import Vectors

__all__ = [
    "Added",
    "Answer",
    "Ask",
    "Distance",
    "Hit",
    "IndexDamaged",
    "IndexExists",
    "IndexInfo",
    "IndexNotFound",
    "Item",
    "ItemNotFound",
    "Match",
    "Term",
    "Vectors",
]
