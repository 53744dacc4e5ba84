"""What a corpus is made of: documents with an id, a text and fields; and where they come from."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from lakehouse.engine.chunks import Piece, chunk, chunk_ids

# Bytes of a document's id, so that its chunks' ids, `#` and a number behind it, fit into an index's 512.
MAX_ID_BYTES = 500


@dataclass(frozen=True)
class Document:
    """One row or one file."""

    id: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """What is embedded and found: a document, or a window of a long one. `text` is empty for an empty document."""

    id: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


class Source(Protocol):
    """Where documents come from. `skipped` grows while they are read. With `paths`, their ids are paths of files."""

    name: str
    paths: bool
    skipped: list[Skipped]

    async def prepare(self) -> int:
        """How many documents there are. Raises InvalidInput when they cannot be told apart, or there is none."""
        ...

    def documents(self) -> AsyncIterator[list[Document]]:
        """All documents, some at a time, always in the same order."""
        ...

    def facts(self) -> dict[str, Any]:
        """What is kept with the corpus about where it comes from; `source` and its name identify it."""
        ...

    async def aclose(self) -> None:
        """Let go of what was opened to read it."""
        ...


@dataclass(frozen=True)
class Cut:
    """How documents become chunks: the kind of chunker, characters of a chunk and of an overlap."""

    kind: str
    max_chars: int
    overlap: int
    id_prefix: str = ""

    def chunks(self, source: str, document: Document, path: str = "") -> list[Chunk]:
        """A document's chunks: one with the document's own id, or several with `#` and each one's own key behind it.

        `path` tells the chunker that goes by the suffix what it is. An empty document is one empty chunk.
        """
        pieces = chunk(self.kind, document.text, path=path, max_chars=self.max_chars, overlap=self.overlap)
        pieces = pieces or [Piece("")]
        ids = chunk_ids(self.id_prefix + document.id, pieces)
        found = []
        for place, (id, piece) in enumerate(zip(ids, pieces, strict=True)):
            own = {"source": source, "doc_id": document.id, "chunk": place, "text": piece.text} | piece.fields
            fields = {f"{name}_" if name in own else name: value for name, value in document.fields.items()}
            found.append(Chunk(id, piece.text, own | fields))
        return found
