"""Sorted sets of row numbers. Imports numpy: load it in a worker thread.

numpy's own set functions import numpy.ma when first called, which takes 60 to 150 ms.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.engine.vectors.batch import Rows

EMPTY: Rows = np.empty(0, np.int64)


def union(some: Any, more: Any) -> Rows:
    """The rows in either, sorted; `more` need not be."""
    every = np.sort(np.concatenate((np.asarray(some, np.int64), np.asarray(more, np.int64))))
    return every[np.append(True, every[1:] != every[:-1])] if len(every) else every


def inside(values: Any, among: Any) -> NDArray[np.bool_]:
    """For each value whether it is in a sorted array."""
    if not len(among):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return np.asarray(among[at] == values)
