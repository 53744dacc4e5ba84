"""What comes after retrieval: the playbook, a reranker, relevance, the least score and unlikeness."""

from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.fake_ollama import FakeOllama
from tests.searching import WORDS, check_sums, endorse, points, texts, told

import lakehouse
from lakehouse import InvalidInput, Lakehouse, NotInstalled, Upstream
from lakehouse.engine.matrix.boosting import moved
from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.relevance import Focus
from lakehouse.engine.matrix.request import Relevance
from lakehouse.engine.playbook import Endorsement
from lakehouse.engine.vectors import IndexDamaged, Item

pytestmark = pytest.mark.anyio


async def test_a_reranker_that_is_not_there(lake: Lakehouse) -> None:
    with pytest.raises(NotInstalled, match="no reranker") as caught:
        await lake.matrix.search("words", rerank=True)
    assert "rerank.provider" in caught.value.fix


async def test_a_playbook_halves_a_distance(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S17-1, A-S17-4: exactly half, by id and corpus both; a rejection the other way; 0 changes nothing."""
    await points(lake, "a", {"x": 0.2, "y": 0.3, "z": 0.35, "u": 0.7})
    await points(lake, "b", {"z": 0.4})
    await points(lake, "playbook_memory", {"q": 0.0})
    first = await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b"])
    plain = {(hit.corpus, hit.id): hit.distance or 0 for hit in first.results}
    asked = endorse(monkeypatch, lake, ("z", "a", 1.0), ("x", "a", -1.0), ("y", "a", 0.0), ("none", "a", 1.0))
    found = await lake.matrix.search(
        query_vector=[1, 0], corpora=["a", "b"], use_playbook=True, playbook_top_k=7, without=["pb-1"], explain=True
    )
    after = {(hit.corpus, hit.id): hit.distance or 0 for hit in found.results}
    assert after["a", "z"] == plain["a", "z"] * 0.5 and after["a", "x"] == plain["a", "x"] * 1.5
    assert {key: after[key] for key in plain if key not in {("a", "z"), ("a", "x")}} == {
        key: plain[key] for key in plain if key not in {("a", "z"), ("a", "x")}
    }
    assert [hit.id for hit in found.results][:3] == ["z", "x", "y"]
    assert found.playbook_boosted == 2 and found.count == 5
    assert [hit.boosted_by for hit in found.results][:3] == ["pb-z", "pb-x", None]
    part = told(found)[0].playbook
    assert part is not None and (part.factor, part.effect, part.question) == (0.5, 1.0, "asked then")
    assert {name: asked[0][name] for name in ("corpus", "top_k", "max_distance", "without")} == {
        "corpus": "playbook_memory",
        "top_k": 7,
        "max_distance": 0.5,
        "without": ["pb-1"],
    }
    check_sums(found)


async def test_what_stays_where_it_is_was_not_boosted(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """S17.6: results that change are counted, not those at distance 0, nor those whose effect has faded to nothing."""
    await points(lake, "a", {"x": 0.0, "y": 0.3, "z": 0.4})
    await points(lake, "playbook_memory", {"q": 0.0})
    endorse(monkeypatch, lake, ("x", "a", 1.0), ("y", "a", 1e-70), ("z", "a", 0.5))
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], use_playbook=True)
    assert [(hit.id, hit.boosted_by) for hit in found.results] == [("x", None), ("z", "pb-z"), ("y", None)]
    assert found.playbook_boosted == 1


@pytest.mark.parametrize("retrieval", ["lexical", "hybrid"])
async def test_a_playbook_lifts_a_score(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, retrieval: str) -> None:
    """The fused score is doubled, or divided by 1.5; the distance stays."""
    await texts(lake, "people", WORDS)
    await points(lake, "playbook_memory", {"q": 0.0})
    plain = await lake.matrix.search("chicago forklift", corpora=["people"], retrieval=retrieval)
    before = {hit.id: (hit.score or 0, hit.distance) for hit in plain.results}
    endorse(monkeypatch, lake, ("w2", "people", 1.0), ("w1", "people", -0.5))
    found = await lake.matrix.search(
        "chicago forklift", corpora=["people"], retrieval=retrieval, use_playbook=True, explain=True
    )
    after = {hit.id: (hit.score or 0, hit.distance) for hit in found.results}
    assert after["w2"] == (before["w2"][0] / 0.5, before["w2"][1])
    assert after["w1"] == (before["w1"][0] / 1.25, before["w1"][1])
    assert found.results[0].id == "w2" and found.playbook_boosted == 2
    scores = [hit.score or 0 for hit in found.results]
    assert scores == sorted(scores, reverse=True)
    check_sums(found)


async def test_a_playbook_of_another_model(lake: Lakehouse) -> None:
    """A question in words is embedded by the playbook's own model; a vector that is of another one is refused."""
    await points(lake, "a", {"x": 0.2}, model="one/model")
    await points(lake, "playbook_memory", {"q": 0.0}, model="other/model")
    with pytest.raises(Upstream, match=r"playbook_memory is of other/model, the question of one/model"):
        await lake.matrix.search(query_vector=[1, 0], corpora=["a"], use_playbook=True)
    with pytest.raises(InvalidInput, match="name"):
        await lake.matrix.search(query_vector=[1, 0], corpora=["a"], use_playbook=True, playbook_corpus="no/name")


async def test_no_playbook_yet(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S17-5, A-S17-6: a missing playbook is no failure; one that fails is."""
    await points(lake, "a", {"x": 0.2})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], use_playbook=True)
    assert (found.count, found.playbook_boosted) == (1, 0)
    await points(lake, "playbook_memory", {"q": 0.0})

    async def damaged(vector: Any, **options: Any) -> list[Endorsement]:
        raise IndexDamaged("segment 7 is cut short.")

    monkeypatch.setattr(lake.playbook, "endorsements", damaged)
    with pytest.raises(Upstream, match="playbook corpus playbook_memory: segment 7") as caught:
        await lake.matrix.search(query_vector=[1, 0], corpora=["a"], use_playbook=True)
    assert isinstance(caught.value.__cause__, IndexDamaged)


@pytest.mark.slow
async def test_the_question_is_embedded_once(home: Path) -> None:
    """A-S17-12: for the corpora and the playbook; for words alone only when the playbook needs it."""
    with FakeOllama() as fake:
        settings = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
        async with lakehouse.open(home, overrides=settings) as lake:
            model = lake.embed.effective_model()
            for name in ("a", "playbook_memory"):
                await lake.vectors.create(name, 768, model=model)
            await lake.vectors.add("a", [Item("x", [1.0] * 768, {"text": "words"})])
            await lake.matrix.search("words of one", corpora=["a"], use_playbook=True)
            assert len(fake.requests) == 1
            await lake.matrix.search("words of two", corpora=["a"], retrieval="lexical")
            assert len(fake.requests) == 1
            await lake.matrix.search("words of three", corpora=["a"], retrieval="lexical", use_playbook=True)
            assert len(fake.requests) == 2


async def test_results_unlike_each_other(lake: Lakehouse) -> None:
    """Of near duplicates one comes first and the others late; explained by the one it is like."""
    await lake.vectors.create("a", 3)
    points = {"x1": [1, 0.1, 0], "x2": [1, 0.11, 0], "x3": [1, 0.12, 0], "y": [0.8, 0, 0.6]}
    await lake.vectors.add("a", [Item(id, vector, {"text": id}) for id, vector in points.items()])
    plain = await lake.matrix.search(query_vector=[1, 0, 0], corpora=["a"])
    assert [hit.id for hit in plain.results] == ["x1", "x2", "x3", "y"]
    found = await lake.matrix.search(query_vector=[1, 0, 0], corpora=["a"], k=2, diversity=0.9, explain=True)
    assert [hit.id for hit in found.results] == ["x1", "y"]
    first, second = (how.diversity for how in told(found))
    assert first is not None and (first.relevance, first.similarity, first.like) == (1.0, 0.0, None)
    assert second is not None and second.like == "a/x1"
    assert second.penalty == 0.9 * second.similarity
    assert second.value == pytest.approx(0.1 * second.relevance - second.penalty)
    same = await lake.matrix.search(query_vector=[1, 0, 0], corpora=["a"], diversity=0)
    assert [hit.id for hit in same.results] == [hit.id for hit in plain.results]
    check_sums(found)


async def test_least_score_and_relevance(lake: Lakehouse) -> None:
    await points(lake, "a", {"Pool": 0.1, "other": 0.2, "far": 0.9})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], min_score=0.5, explain=True)
    assert [hit.id for hit in found.results] == ["Pool", "other"] and found.relevance_dropped is None
    assert found.explain is not None and [(s.stage, s.dropped) for s in found.explain.stages][2] == ("min_score", 1)
    focus = Focus(path="src/pool.rs", defined_symbols=["Pool"], imported_symbols=["other"])
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], relevance=Relevance(focus=focus), explain=True)
    assert [hit.id for hit in found.results] == ["Pool"] and found.relevance_dropped == 2
    signals = told(found)[0].relevance
    assert signals is not None and (signals.score, signals.defined_match) == (0.6, 0.6)
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], relevance=Relevance(focus=focus, threshold=0))
    assert [hit.id for hit in found.results] == ["Pool", "far"]


async def test_a_model_judges_again(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores are the order; the playbook moves them, also those below 0; a failure fails the search."""
    await points(lake, "a", {"x": 0.1, "y": 0.2, "z": 0.3})
    await points(lake, "playbook_memory", {"q": 0.0}, model="hash-256")
    judged = {"x": -2.0, "y": 0.4, "z": 0.5}

    async def scores(question: str, given: list[str]) -> list[float]:
        assert question == "words"
        return [judged[text] for text in given]

    monkeypatch.setattr(lake.matrix.reranker, "check", lambda: None)
    monkeypatch.setattr(lake.matrix.reranker, "scores", scores)
    options: dict[str, Any] = {"corpora": ["a"], "rerank": True, "explain": True}
    found = await lake.matrix.search("words", [1, 0], **options)
    assert [(hit.id, hit.score) for hit in found.results] == [("z", 0.5), ("y", 0.4), ("x", -2.0)]
    assert [round(hit.distance or 0, 3) for hit in found.results] == [0.3, 0.2, 0.1]
    assert [how.rerank for how in told(found)] == [0.5, 0.4, -2.0]
    check_sums(found)
    endorse(monkeypatch, lake, ("y", "a", 1.0), ("x", "a", 1.0))
    found = await lake.matrix.search("words", [1, 0], use_playbook=True, **options)
    assert [(hit.id, hit.score) for hit in found.results] == [("y", 0.8), ("z", 0.5), ("x", -1.0)]
    check_sums(found)

    async def fails(question: str, given: list[str]) -> list[float]:
        raise Upstream("the reranker failed.")

    monkeypatch.setattr(lake.matrix.reranker, "scores", fails)
    with pytest.raises(Upstream, match="reranker failed"):
        await lake.matrix.search("words", [1, 0], **options)


@settings(max_examples=200)
@given(
    parts=st.lists(st.floats(0, 1e6), min_size=1, max_size=3),
    effects=st.lists(st.floats(-1, 1), min_size=1, max_size=3),
    by=st.sampled_from(["distance", "score"]),
)
def test_addends_add_up_exactly(parts: list[float], effects: list[float], by: Any) -> None:
    """In floating point, not nearly; and of several endorsements the strongest counts, once."""
    one = Candidate(0, "a", "cosine", "x", None)
    one.start(by, **{f"part{place}": value for place, value in enumerate(parts)})
    start = one.value
    known = [Endorsement(f"pb-{n}", "x", "a", effect, 0.1, "q") for n, effect in enumerate(effects)]
    changed = moved([one], known)
    effect = max(effects)
    assert changed == (one.value != start)
    assert one.value == (start * (1 - 0.5 * effect) if by == "distance" else start / (1 - 0.5 * effect))
    assert reduce(add, (value for _, value in one.addends), 0.0) == one.value
