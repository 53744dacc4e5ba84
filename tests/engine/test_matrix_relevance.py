"""The relevance filter's signals, one by one and together."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse import InvalidInput
from lakehouse.engine.matrix.relevance import Chunk, Focus, Scorer, file_prefix, jaccard, split, tokens
from lakehouse.engine.symbols import symbols

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "relevance.yaml").read_text(encoding="utf-8"))
FOCUS = Focus(**CASES["focus"])


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.get("name") or case.get("path") for case in cases])


def test_headline() -> None:
    """A-S15-1, A-S15-4: the three chunks, to 1e-9, and the gap of 1.14 between the first two."""
    cases = CASES["headline"]
    chunks = [Chunk(id=c["id"], source="lakehouse_symbols_v1", doc_id=c["id"], text=c["text"]) for c in cases]
    found = split(FOCUS, chunks)
    scores = {chunk.id: chunk.score for chunk in found.kept + found.dropped}
    assert scores == pytest.approx({case["id"]: case["score"] for case in cases}, abs=1e-9)
    assert scores["c1"] - scores["c2"] == pytest.approx(1.14, abs=1e-9)
    assert [chunk.id for chunk in found.kept] == [case["id"] for case in cases if case["kept"]]
    assert (found.threshold, found.count, len(found.dropped)) == (0.3, 1, 2)
    assert found.kept[0].signals == {"defined_match": 0.6, "token_overlap": pytest.approx(0.08)}
    assert len(tokens(FOCUS.content or "")) == 9


@named(CASES["signals"])
def test_each_signal_alone(case: dict[str, Any]) -> None:
    """A-S15-2: no signal fires but those listed, and they sum to the score."""
    focus = Focus(**case["focus"]) if "focus" in case else Focus(path=FOCUS.path)
    found = Scorer(focus).score(case["text"], case.get("source"), case.get("doc_id"))
    fired = {name: value for name, value in found.model_dump(exclude={"score"}).items() if value}
    assert fired == pytest.approx(case["fired"])
    assert found.score == pytest.approx(sum(case["fired"].values()))


@named(CASES["symbols"])
def test_what_a_text_defines_and_imports(case: dict[str, Any]) -> None:
    """A-S15-2: mentioning what it defines counts for a chunk, what it imports against it."""
    found = symbols(case["content"], case["path"])
    assert set(case["defined"]) <= set(found.defined) and set(case["imported"]) <= set(found.imported)
    scorer = Scorer(Focus(path=case["path"], content=case["content"]))
    assert scorer.score(f"a {case['defined'][0]} b").defined_match == 0.6
    assert scorer.score(f"a {case['imported'][0]} b").import_penalty == -0.5


def test_words() -> None:
    assert tokens("The quick _ab a1b Quick ab x9 42abc to_do") == {"quick", "_ab", "a1b", "to_do", "abc"}
    assert jaccard(set(), set()) == 0 and jaccard({"a"}, set()) == 0 and jaccard({"a", "b"}, {"b", "c"}) == 1 / 3
    assert [file_prefix(p) for p in ("a/b/c", "./a/b", "a/b", "a", "")] == ["a/b", "a/b", "a/b", None, None]


def test_threshold() -> None:
    """A-S15-3: 0.7 drops the Connector chunk; a score that is the threshold is kept; nothing to judge is a mistake."""
    chunks = [Chunk(text=CASES["headline"][0]["text"])]
    assert split(FOCUS, chunks, 0.7).kept == []
    named = split(Focus(path="p", defined_symbols=["Pool"]), [Chunk(text="Pool")], 0.6)
    assert named.count == 1
    assert split(FOCUS, chunks, 0.7, keep_all=True).kept[0].score == pytest.approx(0.68)
    for focus, given, threshold in ((FOCUS, [], 0.3), (Focus(path=" "), chunks, 0.3), (FOCUS, chunks, float("nan"))):
        with pytest.raises(InvalidInput):
            split(focus, given, threshold)
