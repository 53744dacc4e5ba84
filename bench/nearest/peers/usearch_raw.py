"""usearch by itself: a graph of 32-bit vectors, no ids, no metadata, a file that is written whole."""

from typing import Any

import numpy as np
from bench.nearest.peer import Peer
from usearch.index import Index


class Adapter(Peer):
    """M 16, ef 128 when building and 64 when searching; keys are row numbers."""

    def _made(self) -> Index:
        return Index(
            ndim=self.dimension, metric="cos", dtype="f32", connectivity=16, expansion_add=128, expansion_search=64
        )

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.index = self._made()
        self.index.add(np.arange(len(vectors)), vectors)
        self.index.save(self.home / "graph.usearch")

    def open(self) -> None:
        self.index = self._made()
        self.index.view(self.home / "graph.usearch")

    def search(self, query: Any, k: int) -> list[str]:
        return [f"row-{key}" for key in self.index.search(query, k, threads=1).keys]

    def rebuild(self, vectors: Any) -> None:
        self._made().add(np.arange(len(vectors)), vectors, threads=1)
