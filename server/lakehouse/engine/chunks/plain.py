"""Plain texts: overlapping windows, numbered when there are several."""

from lakehouse.engine.chunks.piece import Piece
from lakehouse.engine.chunks.windows import windows


def plain(text: str, path: str, max_chars: int, overlap: int) -> list[Piece]:
    """The windows of the text; the only one has no key, else they are `0`, `1`, …"""
    texts = windows(text, max_chars, overlap)
    return [Piece(piece, "" if len(texts) == 1 else str(place)) for place, piece in enumerate(texts)]
