"""A long text as overlapping windows that begin and end where a reader would pause."""

import re

# Kinds of pause, best first. A cut is made behind the match.
_PAUSES = (re.compile(r"\n\s*\n\s*"), re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n\s*"), re.compile(r"\s+"))


def windows(text: str, max_chars: int, overlap: int) -> list[str]:
    """The text in pieces of at most `max_chars` characters, in order, without white space around them.

    Neighbours share about `overlap` characters, at most half of `max_chars`. Pieces end at the end of a paragraph, of
    a sentence, of a word, whichever comes first in that order within the second half of the window. A text within the
    limit is one piece, a blank one none. The same text always gives the same pieces.
    """
    return [text[start:end] for start, end in spans(text, max_chars, overlap)]


def spans(text: str, max_chars: int, overlap: int) -> list[tuple[int, int]]:
    """Where each window begins and ends in the text."""
    start, last = len(text) - len(text.lstrip()), len(text.rstrip())
    found: list[tuple[int, int]] = []
    while last - start > max_chars:
        end = _pause(text, start + max_chars // 2 + 1, start + max_chars)
        found.append((start, start + len(text[start:end].rstrip())))
        start = _restart(text, max(end - min(overlap, max_chars // 2), start + 1), end)
    return [*found, (start, last)] if start < last else found


def _pause(text: str, low: int, high: int) -> int:
    """The last good place in [low, high] to end a piece; `high` when there is none."""
    for kind in _PAUSES:
        places = [match.end() for match in kind.finditer(text, low - 1, high) if match.end() >= low]
        if places:
            return places[-1]
    return high


def _restart(text: str, low: int, end: int) -> int:
    """Where the next piece begins: at the first sentence, else word, that starts in [low, end)."""
    if not text[end - 1].isspace() and not text[end].isspace():
        return low  # the cut went through something without pauses
    for kind in _PAUSES[1:]:
        match = kind.search(text, low, end)
        if match and match.end() < end:
            return match.end()
    while end < len(text) and text[end].isspace():
        end += 1
    return end
