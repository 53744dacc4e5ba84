"""What every peer answers to, and how its calls are timed. Needs numpy only."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bench.nearest.data import K


class Skipped(Exception):
    """The peer cannot do this."""


class Peer(ABC):
    """What every peer answers to. Ids are "row-N"; distances are cosine."""

    def __init__(self, home: Path, dimension: int) -> None:
        self.home, self.dimension = home, dimension

    @abstractmethod
    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        """Everything added, indexed and on disk."""

    def open(self) -> None:
        """Open what is on disk, in a fresh process."""
        raise Skipped("it has no files of its own")

    @abstractmethod
    def search(self, query: Any, k: int) -> list[str]:
        """The ids of the k nearest, nearest first, fetched with their metadata."""

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        """The same among the items whose field is below a number."""
        raise Skipped("it has no filters")

    def add(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        """More items, on disk when it returns."""
        raise Skipped("it keeps nothing durably")

    def rebuild(self, vectors: Any) -> None:
        """Build another index of as many vectors beside the one that is searched."""
        raise Skipped("it would be a second process's work")

    def while_rebuilding(self, vectors: Any, queries: Any) -> list[float]:
        """Milliseconds of the searches that are made until `rebuild`, in another thread, is done."""
        with ThreadPoolExecutor(1) as pool:
            done, times = pool.submit(self.rebuild, vectors), []
            while not done.done():
                times += self.timed([partial(self.search, query, K) for query in queries[:20]])[0]
            done.result()
        return times

    def timed(self, calls: Sequence[Callable[[], list[str]]]) -> tuple[list[float], list[list[str]]]:
        """Milliseconds and answer of each call."""
        times, found = [], []
        for call in calls:
            began = time.perf_counter()
            found.append(call())
            times.append((time.perf_counter() - began) * 1e3)
        return times, found

    def close(self) -> None:  # noqa: B027  (most have nothing)
        """Let go."""
