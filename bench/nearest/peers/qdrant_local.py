"""Qdrant's client in local mode: a full scan in Python, in one process, with a folder of its own."""

import uuid
from typing import Any

from bench.nearest.peer import Peer
from qdrant_client import QdrantClient, models


class Adapter(Peer):
    """Ids are UUIDs there, so ours go along."""

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.client = QdrantClient(path=str(self.home))
        how = models.VectorParams(size=self.dimension, distance=models.Distance.COSINE)
        self.client.create_collection("items", vectors_config=how)
        self.add(ids, vectors, meta)

    def open(self) -> None:
        self.client = QdrantClient(path=str(self.home))

    def search(self, query: Any, k: int) -> list[str]:
        return self._found(query, k, None)

    def filtered(self, query: Any, k: int, field: str, below: int) -> list[str]:
        condition = models.FieldCondition(key=field, range=models.Range(lt=below))
        return self._found(query, k, models.Filter(must=[condition]))

    def _found(self, query: Any, k: int, wanted: Any) -> list[str]:
        found = self.client.query_points("items", query=query.tolist(), limit=k, query_filter=wanted, with_payload=True)
        return [point.payload["id"] for point in found.points]

    def add(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        for at in range(0, len(ids), 1000):
            self.client.upsert(
                "items",
                points=[
                    models.PointStruct(
                        id=str(uuid.uuid5(uuid.NAMESPACE_OID, id)), vector=vector.tolist(), payload={"id": id} | each
                    )
                    for id, vector, each in zip(
                        ids[at : at + 1000], vectors[at : at + 1000], meta[at : at + 1000], strict=True
                    )
                ],
            )

    def close(self) -> None:
        self.client.close()
