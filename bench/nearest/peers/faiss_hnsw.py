"""faiss: HNSW over 32-bit vectors, no ids, no metadata; filters are selectors over row numbers."""

from typing import Any

import faiss
import numpy as np
from bench.nearest.peer import Peer


class Adapter(Peer):
    """M 16, ef 128 when building and 64 when searching."""

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.index = faiss.IndexHNSWFlat(self.dimension, 16, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction, self.index.hnsw.efSearch = 128, 64
        self.index.add(vectors)
        faiss.write_index(self.index, str(self.home / "graph.faiss"))
        for field in ("u", "p"):
            np.save(self.home / f"{field}.npy", np.array([each[field] for each in meta]))
        self._fields()

    def _fields(self) -> None:
        self.fields = {field: np.load(self.home / f"{field}.npy") for field in ("u", "p")}

    def open(self) -> None:
        self.index = faiss.read_index(str(self.home / "graph.faiss"), faiss.IO_FLAG_MMAP)
        self.index.hnsw.efSearch = 64

    def search(self, query: Any, k: int) -> list[str]:
        return [f"row-{row}" for row in self.index.search(query[None], k)[1][0] if row >= 0]

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        selector = faiss.IDSelectorBatch(np.flatnonzero(self.fields[field] < below))
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=64)
        return [f"row-{row}" for row in self.index.search(query[None], k, params=parameters)[1][0] if row >= 0]
