"""Texts become the terms a searcher expects, and postings say what a plain count says."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.engine.lexical.analysis import MAX_TERM, cut, question, terms
from lakehouse.engine.lexical.indexing import Growing, build
from lakehouse.engine.lexical.postings import PAGE, Words

MOST = 100


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("Running", ["run"]),
        ("the", []),
        ("dog's", ["dog"]),
        ("dog’s", ["dog"]),
        ("don't", ["don", "t"]),
        ("boundary-layer", ["boundari", "layer"]),
        ("OSHA-30", ["osha", "30", "osha30"]),
        ("OSHA30", ["osha30", "osha", "30"]),
        ("AC-1001", ["ac", "1001", "ac1001"]),
        ("snake_case", ["snake", "case", "snakecas"]),
        ("snakeCase", ["snake", "case", "snakecas"]),
        ("__init__", ["init"]),
        ("HTTPServer", ["http", "server", "httpserver"]),
        ("McDonald", ["mc", "donald", "mcdonald"]),
        ("3.14", ["3", "14", "3.14"]),
        ("U.S.", ["us"]),
        ("U.S.A", ["usa"]),
        ("C++", ["c++"]),
        ("C#.", ["c#"]),
        ("h2o", ["h2o"]),
        ("--", []),
        ("Café", ["cafe"]),
        ("Straße", ["strass"]),
        ("МОСКВА", ["москва"]),
        ("हिन्दी", ["हिन्दी"]),
        ("كتاب", ["كتاب"]),
        ("犬", ["犬"]),
        ("日本語", ["日", "本", "語", "日本", "本語"]),
        ("データ2026年", ["デ", "ー", "タ", "デー", "ータ", "2026", "年"]),
        ("「東京」、", ["東", "京", "東京"]),
        ("서울에", ["서", "울", "에", "서울", "울에"]),
        ("ＡＢＣ－１２", ["abc", "12", "abc12"]),
        ("“quoted”", ["quot"]),
        ("a" * 1_000_000, ["a" * MAX_TERM]),
    ],
)
def test_a_word_gives_the_terms_it_is_looked_for_by(word: str, found: list[str]) -> None:
    """Stems, codes whole and in parts, any script, no accents; a word without an end counts as its beginning."""
    assert list(terms(word)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("  \0\n,;:!?", []),
        ("the of and", []),
        ("What have the Romans ever done for us", ["roman", "ever", "done", "us"]),
        ("what should we do", ["what", "should", "we", "do"]),
        ("Wing wings WING", ["wing"]),
        ("日本語", ["日本", "本語"]),
        ("犬", ["犬"]),
        ("\ud800 wing\0slipstream", ["wing", "slipstream"]),
        ('"OSHA-30" OR (x)', ["osha", "30", "osha30", "x"]),
    ],
)
def test_a_question_gives_its_distinct_terms(text: str, found: list[str]) -> None:
    """In order, each once; what makes it a sentence only when there is nothing else; there is no syntax in it."""
    assert question(text, MOST) == found


def test_a_long_question_counts_as_its_first_terms() -> None:
    """Ten kilobytes, or ten megabytes: only so many terms are looked for."""
    assert question(" ".join(f"w{i}x" for i in range(1_000_000)), 3) == ["w0x", "w1x", "w2x"]


WORDS = [
    "wing",
    "Wings",
    "the",
    "AC-1001",
    "日本語",
    "café",
    "x\0y",
    "…\u3000C++\u2028wing",
    "getUserName",
    "Ünï",
    "a/b",
]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=12)


def counted(texts: list[str]) -> dict[str, dict[int, int]]:
    """Each term's rows and how often it stands there, one word after the other."""
    found: dict[str, dict[int, int]] = {}
    for row, text in enumerate(texts):
        for term, count in Counter(term for word in cut(text) for term in terms(word)).items():
            found.setdefault(term, {})[row] = count
    return found


def told(words: Words, every: set[str]) -> dict[str, dict[int, int]]:
    """The same of postings."""
    found = {term: words.find(term) for term in every}
    return {
        term: dict(zip(own[0].tolist(), own[1].tolist(), strict=True)) for term, own in found.items() if own is not None
    }


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS, stops=st.lists(st.integers(0, 12), max_size=4).map(sorted), together=st.sampled_from([1, 3, 99]))
def test_postings_are_what_a_plain_count_gives(texts: list[str], stops: list[int], together: int) -> None:
    """Made at once, in parts or text by text; what is made later does not show in what was taken before."""
    every = set(counted(texts)) | {"absent", "", "zzz"}
    growing = Growing(together)
    cuts = [min(stop, len(texts)) for stop in [*stops, 99]]
    grown = [growing.first(cut, texts.__getitem__) for cut in cuts]
    made: list[tuple[Words, list[str]]] = [(build(texts), texts)]
    made += [(first, texts[:end]) for first, end in zip(grown, cuts, strict=True)]
    for words, some in made:
        expected = counted(some)
        assert told(words, every) == expected
        totals = Counter(row for rows in expected.values() for row, count in rows.items() for _ in range(count))
        assert words.lengths.tolist() == [totals[row] for row in range(len(some))]
        assert (words.documents, words.total) == (len(totals), totals.total())


def test_postings_of_more_than_a_page_of_rows() -> None:
    """Row numbers are kept in 16 bits and come back whole; large frequencies too."""
    rows = [5, PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE, 2 * PAGE + 7]
    texts = ["other"] * (2 * PAGE + 10)
    for row in rows:
        texts[row] = "wing " * 300 if row == PAGE else "wing"
    found = build(texts).find("wing")
    assert found is not None
    assert found[0].tolist() == rows
    assert found[1].tolist() == [1, 1, 300, 1, 1, 1]
