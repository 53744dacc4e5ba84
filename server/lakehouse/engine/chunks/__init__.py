"""A document's text in pieces to embed: plain windows, markdown by heading, code by symbol, tables by rows."""

from collections.abc import Sequence
from hashlib import blake2b

from lakehouse.engine.chunks.code import code
from lakehouse.engine.chunks.markdown import markdown
from lakehouse.engine.chunks.piece import Kind, Piece
from lakehouse.engine.chunks.plain import plain
from lakehouse.engine.chunks.suffixes import SUFFIXES, kind_of
from lakehouse.engine.chunks.table import table
from lakehouse.engine.chunks.windows import spans, windows
from lakehouse.errors import InvalidInput, did_you_mean

_CHUNKERS = {"plain": plain, "markdown": markdown, "code": code, "table": table}
KINDS = ("auto", *_CHUNKERS)

# Fields that tell where a piece stands; they change with what is written above it, though the piece does not.
PLACES = ("line_start", "line_end", "row_start", "row_end")


def chunk(kind: str, text: str, *, path: str = "", max_chars: int, overlap: int = 0) -> list[Piece]:
    """The text in pieces of at most `max_chars` characters, in order; none for a blank text.

    `kind` is one of KINDS; `auto` goes by the suffix of `path`, and is `plain` without one. `overlap` is what
    neighbouring windows share where something has to be cut within. Every line of the text that is not blank is in
    some piece, and the same text always gives the same pieces, in time linear in its length.

    Raises InvalidInput when there is no such kind.
    """
    if kind == "auto":
        kind = kind_of(path)
    if kind not in _CHUNKERS:
        raise InvalidInput(
            f"chunker: there is no {kind!r}.", fix=did_you_mean(kind, KINDS, f"There are: {', '.join(KINDS)}.")
        )
    return _CHUNKERS[kind](text.removeprefix("\ufeff"), path, max_chars, overlap)


def chunk_ids(document: str, pieces: Sequence[Piece], max_bytes: int = 512) -> list[str]:
    """The ids of a document's pieces: `document#key`, the document's own for the piece without a key.

    A key that does not fit into `max_bytes` with the document's id is replaced by ten digits of its hash.
    """
    return [_id(document, piece.key, max_bytes) for piece in pieces]


def _id(document: str, key: str, max_bytes: int) -> str:
    id = f"{document}#{key}" if key else document
    if key and len(id.encode()) > max_bytes:
        return f"{document}#{blake2b(key.encode(), digest_size=5).hexdigest()}"
    return id


__all__ = ["KINDS", "PLACES", "SUFFIXES", "Kind", "Piece", "chunk", "chunk_ids", "kind_of", "spans", "windows"]
