"""One build of a corpus: documents to chunks to vectors to the index, a batch at a time."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.corpora.built import SHOWN, Built, PartialFailure, SkippedFile
from lakehouse.engine.corpora.documents import Chunk, Cut, Document, Source
from lakehouse.engine.corpora.target import Target
from lakehouse.engine.embed import Embedder
from lakehouse.engine.fanout import fan_out
from lakehouse.engine.progress import Progress
from lakehouse.engine.vectors import Added, Item, Vectors
from lakehouse.engine.vectors.items import MAX_METADATA_BYTES
from lakehouse.errors import Busy, InvalidInput, LakehouseError, TimedOut, TooLarge, Unavailable, Upstream

# Chunks are sorted by length among this many batches, so that short texts are not padded to long ones.
BATCHES_SORTED = 16
# What may go wrong with one batch and right with the next.
_PASSING = (Upstream, TimedOut, Unavailable, Busy)


@dataclass
class Build:
    """The state of one build. `workers` batches are embedded at a time; `notes` are kept with the corpus beside the
    source's own facts.
    """

    name: str
    source: Source
    model: str
    cut: Cut
    batch_size: int
    workers: int
    notes: Mapping[str, Any]
    embed: Embedder
    vectors: Vectors
    target: Target
    whole: bool
    total: int
    progress: Progress
    began: float = field(default_factory=time.perf_counter)
    documents: int = 0
    chunks: int = 0
    embedded: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    truncated: int = 0
    failed: int = 0
    empty: list[str] = field(default_factory=list)
    why: LakehouseError | None = None
    wanted: set[str] = field(default_factory=set)
    settled: int = 0  # batches of the ones that are under way

    async def run(self) -> Built:
        """Read, embed and store everything. Raises PartialFailure after the last batch when one failed."""
        try:
            return await self._run()
        finally:
            await self.target.discard()

    async def _run(self) -> Built:
        stored, waiting = 0, list[Chunk]()
        async for documents in self.source.documents():
            for chunks in await anyio.to_thread.run_sync(self._cut, documents):
                self.documents += 1
                waiting += chunks
                if len(waiting) >= self.batch_size * BATCHES_SORTED:
                    await self._store(waiting, stored)
                    stored, waiting = self.documents, []
        await self._store(waiting, stored)
        if not self.documents:
            first = self.source.skipped[0]
            raise InvalidInput(
                f"none of the {len(self.source.skipped)} files can be used.", fix=f"{first.path}: {first.reason}."
            )
        return await self._finish()

    def _cut(self, documents: Sequence[Document]) -> list[list[Chunk]]:
        """The chunks of each document; a book has thousands, so not on the event loop."""
        paths = self.source.paths
        return [self.cut.chunks(self.source.name, each, each.id if paths else "") for each in documents]

    async def _store(self, chunks: Sequence[Chunk], before: int) -> None:
        """Embed and store the chunks of the documents that followed the first `before` ones."""
        self.chunks += len(chunks)
        for chunk in chunks:
            if chunk.id in self.wanted:
                raise InvalidInput(
                    f"id: {chunk.id!r} stands for two pieces, one of document {chunk.metadata['doc_id']!r}.",
                    fix="Choose ids without #, or rename the file.",
                )
            self.wanted.add(chunk.id)
        self.empty += [chunk.id for chunk in chunks if not chunk.text]
        chunks = await self._changed(chunks)
        blank = [chunk for chunk in chunks if not chunk.text]
        texts = sorted((chunk for chunk in chunks if chunk.text), key=lambda chunk: -len(chunk.text))
        batches = [texts[at : at + self.batch_size] for at in range(0, len(texts), self.batch_size)]
        steps = [partial(self._add, batch) for batch in batches]
        steps += [partial(self._add_blank, blank)] if blank else []
        if not steps:
            await self.progress(self.documents, self.total, "unchanged")
            return
        self.settled, documents = 0, self.documents - before

        async def settle(step: Callable[[], Awaitable[None]]) -> None:
            try:
                await step()
            except _PASSING as error:
                self.failed += 1
                self.why = error
            self.settled += 1
            done = before + documents * self.settled / len(steps)
            await self.progress(done, self.total, f"{self.embedded} chunks embedded")

        await fan_out([partial(settle, step) for step in steps], self.workers)

    async def _changed(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """The chunks that are not stored as they are: the text is part of the metadata, the model is pinned."""
        if self.target.empty:
            return chunks
        stored = await self.vectors.metadata(self.name, [chunk.id for chunk in chunks])
        changed = [chunk for chunk in chunks if stored.get(chunk.id) != chunk.metadata]
        self.unchanged += len(chunks) - len(changed)
        return changed

    async def _add(self, chunks: Sequence[Chunk]) -> None:
        done = await self.embed.embed([chunk.text for chunk in chunks], self.model)
        self.embedded += len(chunks)
        self.truncated += done.truncated
        ids, metadata = [chunk.id for chunk in chunks], [chunk.metadata for chunk in chunks]
        with _naming(chunks):
            self._count(await self.target.add_matrix(ids, done.vectors, metadata, self._facts(None)))

    async def _add_blank(self, chunks: Sequence[Chunk]) -> None:
        dimension = await self.embed.dimension(self.model)
        items = [Item(chunk.id, None, chunk.metadata) for chunk in chunks]
        with _naming(chunks):
            self._count(await self.target.add(items, dimension, self._facts(None)))

    def _count(self, stored: Added) -> None:
        self.added += stored.added
        self.updated += stored.updated

    async def _finish(self) -> Built:
        wanted = self.wanted if self.whole else None
        self.removed = await self.target.finish(wanted, self._facts(moment.now()), bool(self.failed))
        info = self.target.info
        seconds = time.perf_counter() - self.began
        skipped = [SkippedFile(path=file.path, reason=file.reason) for file in self.source.skipped]
        built = Built(
            name=self.name,
            model=self.model,
            chunks=self.chunks,
            count=info.count if info else 0,
            scanned=self.documents,
            embedded=self.embedded,
            added=self.added,
            updated=self.updated,
            removed=self.removed,
            unchanged=self.unchanged,
            skipped=len(skipped),
            empty=len(self.empty),
            empty_ids=self.empty[:SHOWN],
            truncated=self.truncated,
            skipped_files=skipped[:SHOWN],
            failed_batches=self.failed,
            docs_per_s=round(self.documents / seconds, 1),
            wall_s=round(seconds, 3),
        )
        if self.failed:
            raise PartialFailure(
                f"{self.failed} batches of corpus {self.name} failed, the last one so: {self.why}",
                fix="Build it again: texts embedded already come from the cache. "
                + (
                    "The corpus that was to be replaced stays until then."
                    if self.target.replaces
                    else "What is stored stays."
                ),
                data=built.model_dump(),
            ) from self.why
        return built

    def _facts(self, built_at: str | None) -> dict[str, Any]:
        """The builder metadata: where the corpus comes from, how it was cut, and when a build last went through."""
        return self.source.facts() | {
            "model": self.model,
            **self.notes,
            "built_at": built_at,
            "complete": built_at is not None and not self.failed,
            "documents": self.documents,
            "chunks": self.chunks,
            "empty": len(self.empty),
        }


@contextmanager
def _naming(chunks: Sequence[Chunk]) -> Iterator[None]:
    """Metadata that are too large are blamed on their document; an index knows only places in a batch."""
    try:
        yield
    except TooLarge as error:
        worst = max(chunks, key=lambda chunk: len(json.dumps(chunk.metadata, ensure_ascii=False).encode()))
        raise TooLarge(
            f"document {worst.metadata['doc_id']!r}: its columns are over the limit of {MAX_METADATA_BYTES} bytes.",
            fix="Leave large columns out with metadata.",
        ) from error
