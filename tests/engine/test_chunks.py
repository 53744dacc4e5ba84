"""Windows over long texts: nothing lost, nothing too long, cut where a reader would pause."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.engine.chunks import spans, windows

SENTENCES = " ".join(f"Wing {n} stalled. Did the flow separate at station {n}? Nobody saw {n}!" for n in range(12))


def test_a_short_text_is_one_piece_and_a_blank_one_none() -> None:
    assert windows("  a few words \n", 200, 50) == ["a few words"]
    assert windows(" \n\t", 200, 50) == []
    assert windows("x" * 200, 200, 50) == ["x" * 200]


def test_pieces_end_with_sentences_and_overlap_by_whole_ones() -> None:
    pieces = windows(SENTENCES, 200, 60)
    assert all(piece[-1] in ".!?" and piece[0].isupper() for piece in pieces)
    for one, two in pairwise(pieces):
        shared = next(n for n in range(len(two), 0, -1) if one.endswith(two[:n]))
        assert 10 < shared <= 60


def test_a_paragraph_end_is_the_best_place() -> None:
    pieces = windows("First part. " * 12 + "\n\n" + "Second part. " * 12, 200, 0)
    assert pieces[0].endswith("First part.") and pieces[1].startswith("Second part.")


def test_words_are_kept_whole_where_there_are_any() -> None:
    assert windows("word " * 100, 200, 20)[0] == "word " * 39 + "word"
    text = "東京の天気は晴れです。" * 40
    assert all(piece.endswith("。") for piece in windows(text, 200, 20))


@settings(max_examples=150, deadline=None)
@example("x" * 1000, 200, 150)
@given(st.text(alphabet="ab .\n!。", max_size=1500), st.integers(20, 300), st.integers(0, 400))
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, max_chars: int, overlap: int) -> None:
    """Between two neighbours, before the first and behind the last there is white space at most."""
    found = spans(text, max_chars, overlap)
    assert windows(text, max_chars, overlap) == [text[start:end] for start, end in found]
    behind = 0
    for start, end in found:
        assert 0 < end - start <= max_chars and text[start:end] == text[start:end].strip()
        assert not text[behind:start].strip() and end > behind
        behind = end
    assert not text[behind:].strip()
