"""hnswlib: HNSW over 32-bit vectors, row numbers for ids; filters are Python callbacks."""

from typing import Any

import hnswlib
import numpy as np
from bench.nearest.peer import Peer


class Adapter(Peer):
    """M 16, ef 128 when building and 64 when searching."""

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.index = hnswlib.Index("cosine", self.dimension)
        self.index.init_index(max_elements=len(vectors) + 2000, ef_construction=128, M=16)
        self.index.add_items(vectors, np.arange(len(vectors)))
        self.index.set_ef(64)
        self.index.save_index(str(self.home / "graph.hnsw"))
        self.fields = {field: np.array([each[field] for each in meta]) for field in ("u", "p")}

    def open(self) -> None:
        self.index = hnswlib.Index("cosine", self.dimension)
        self.index.load_index(str(self.home / "graph.hnsw"))
        self.index.set_ef(64)

    def search(self, query: Any, k: int) -> list[str]:
        return [f"row-{row}" for row in self.index.knn_query(query, k, num_threads=1)[0][0]]

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        values = self.fields[field]
        try:
            rows = self.index.knn_query(query, k, num_threads=1, filter=lambda row: values[row] < below)[0][0]
        except RuntimeError:  # it found fewer than k, and then gives none
            return []
        return [f"row-{row}" for row in rows]
