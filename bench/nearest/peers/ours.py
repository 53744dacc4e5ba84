"""Lakehouse's own store: ids, typed metadata and text beside the vectors, durable, with graphs."""

import asyncio
import importlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio.to_thread
from bench.nearest.data import K
from bench.nearest.peer import Peer

from lakehouse import config
from lakehouse.engine.filters import Filter
from lakehouse.engine.journal import Journal
from lakehouse.engine.redact import Redactor
from lakehouse.engine.storage import Storage
from lakehouse.engine.vectors import Ask, Item, Vectors

_OURS = ("answer", "compaction", "generations", "lifecycle", "rebuild", "seal")


class Adapter(Peer):
    """As an open lake has it: every change is on record in the journal."""

    def __init__(self, home: Any, dimension: int) -> None:
        super().__init__(home, dimension)
        self.loop = asyncio.new_event_loop()
        # Peers import all they need with their names; a server has these from its first call on.
        for module in ("obstore", "usearch.index", *(f"lakehouse.engine.vectors.{name}" for name in _OURS)):
            importlib.import_module(module)
        self._run(anyio.to_thread.run_sync(int))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def _made(self) -> Vectors:
        storage = Storage(self.home, config.Storage())
        journal = Journal(self.home, lambda: storage.bucket, Redactor(environ={}))
        return Vectors(self.home, storage, config.Vectors(), journal.record)

    def build(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        self.vectors = self._made()
        self._run(self._filled("items", ids, vectors, meta))

    async def _filled(self, index: str, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        await self.vectors.create(index, self.dimension)
        for at in range(0, len(ids), 100_000):
            part = slice(at, at + 100_000)
            await self.vectors.add_matrix(index, ids[part], vectors[part], meta[part])
        await self.vectors.optimise(index)

    def open(self) -> None:
        self.vectors = self._made()
        self._run(self.vectors.get("items"))

    def search(self, query: Any, k: int) -> Any:
        return self._run(self._ids(Ask(k, query)))

    async def _ids(self, ask: Ask) -> list[str]:
        return [hit.id for hit in (await self.vectors.ask("items", ask)).near]

    def filtered(self, query: Any, k: int, field: str, below: int) -> Any:
        return self._run(self._ids(Ask(k, query, filter=Filter.parse({field: {"$lt": below}}))))

    def timed(self, calls: Sequence[Callable[[], list[str]]]) -> tuple[list[float], list[list[str]]]:
        """Within one run of the loop, as a caller in the server has it."""
        run, self._run = self._run, lambda work: work  # type: ignore[method-assign]

        async def all() -> tuple[list[float], list[list[str]]]:
            times, found = [], []
            for call in calls:
                began = time.perf_counter()
                found.append(await call())  # type: ignore[misc]
                times.append((time.perf_counter() - began) * 1e3)
            return times, found

        try:
            return run(all())  # type: ignore[no-any-return]
        finally:
            self._run = run  # type: ignore[method-assign]

    def add(self, ids: list[str], vectors: Any, meta: list[dict[str, Any]]) -> None:
        items = [Item(*each) for each in zip(ids, vectors, meta, strict=True)]
        self._run(self.vectors.add("items", items))

    def while_rebuilding(self, vectors: Any, queries: Any) -> list[float]:
        """In one loop, as in the server: the graph is another process's work there, too."""
        return list(self._run(self._while_rebuilding(vectors, queries)))

    async def _while_rebuilding(self, vectors: Any, queries: Any) -> list[float]:
        ids = [f"row-{row}" for row in range(len(vectors))]
        building = asyncio.create_task(self._filled("beside", ids, vectors, [{"n": row} for row in range(len(ids))]))
        times: list[float] = []
        while not building.done():
            for query in queries[:20]:
                began = time.perf_counter()
                await self.vectors.ask("items", Ask(K, query))
                times.append((time.perf_counter() - began) * 1e3)
        await building
        return times

    def close(self) -> None:
        self._run(self.vectors.aclose())
        self.loop.close()
