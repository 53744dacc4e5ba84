"""LanceDB: a table with an IVF_HNSW_SQ index of one partition and scalar indexes on the filtered fields."""

from typing import Any

import lancedb
import pyarrow as pa
from bench.nearest.peer import Peer


class Adapter(Peer):
    """ef 100 and refine 3 when searching."""

    def _rows(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> pa.Table:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), self.dimension)
        return pa.table(
            {"id": ids, "vector": flat} | {name: [each[name] for each in meta] for name in ("u", "p", "text")}
        )

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        table = lancedb.connect(self.home).create_table("items", self._rows(ids, vectors, meta))
        table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=1, m=16, ef_construction=128)
        for field in ("u", "p"):
            table.create_scalar_index(field)
        self.table = table

    def open(self) -> None:
        self.table = lancedb.connect(self.home).open_table("items")

    def search(self, query: Any, k: int) -> list[str]:
        found = self.table.search(query).metric("cosine").ef(100).refine_factor(3).limit(k)
        return [row["id"] for row in found.select(["id", "u", "p", "text"]).to_list()]

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        found = self.table.search(query).metric("cosine").where(f"{field} < {below}", prefilter=True)
        return [row["id"] for row in found.ef(100).refine_factor(3).limit(k).select(["id", "u", "p", "text"]).to_list()]

    def add(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.table.add(self._rows(ids, vectors, meta))
