"""What a corpus is made of: documents with an id, a text and fields; and where they come from."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from lakehouse.engine.chunks import windows

# The metadata every chunk has; a source's own field of such a name gets an underscore behind it.
OWN = ("source", "doc_id", "chunk", "text")

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
    """Where documents come from. `skipped` grows while they are read."""

    name: str
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


def chunked(source: str, document: Document, max_chars: int, overlap: int, id_prefix: str = "") -> list[Chunk]:
    """A document as chunks: one with the document's own id, or several with `#0`, `#1`, … behind it."""
    id = id_prefix + document.id
    texts = windows(document.text, max_chars, overlap) or [""]
    fields = {f"{name}_" if name in OWN else name: value for name, value in document.fields.items()}
    return [
        Chunk(
            id if len(texts) == 1 else f"{id}#{place}",
            text,
            {"source": source, "doc_id": document.id, "chunk": place, "text": text} | fields,
        )
        for place, text in enumerate(texts)
    ]
