"""Chroma with a folder of its own."""

from typing import Any

import chromadb
from bench.nearest.peer import Peer


class Adapter(Peer):
    """HNSW with M 16, ef 128 when building and 64 when searching; as many items a call as it takes."""

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self._client()
        how = {"hnsw": {"space": "cosine", "max_neighbors": 16, "ef_construction": 128, "ef_search": 64}}
        self.items = self.client.create_collection("items", configuration=how)
        self.add(ids, vectors, meta)

    def _client(self) -> None:
        self.client = chromadb.PersistentClient(str(self.home), settings=chromadb.Settings(anonymized_telemetry=False))

    def open(self) -> None:
        self._client()
        self.items = self.client.get_collection("items")

    def search(self, query: Any, k: int) -> list[str]:
        found = self.items.query(query_embeddings=[query], n_results=k, include=["metadatas", "documents", "distances"])
        return list(found["ids"][0])

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        found = self.items.query(
            query_embeddings=[query],
            n_results=k,
            where={field: {"$lt": below}},
            include=["metadatas", "documents", "distances"],
        )
        return list(found["ids"][0])

    def add(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        for at in range(0, len(ids), 5000):
            part = slice(at, at + 5000)
            self.items.add(
                ids=ids[part],
                embeddings=vectors[part],
                metadatas=[{"u": each["u"], "p": each["p"]} for each in meta[part]],
                documents=[each["text"] for each in meta[part]],
            )
