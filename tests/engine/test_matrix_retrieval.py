"""What a search finds by words, by meaning and by both, how it is ordered, and every number behind that."""

from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.fake_ollama import FakeOllama

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse, NotInstalled, Upstream
from lakehouse.engine.matrix.boosting import moved
from lakehouse.engine.matrix.candidate import Candidate
from lakehouse.engine.matrix.relevance import Focus
from lakehouse.engine.matrix.request import Relevance
from lakehouse.engine.matrix.shapes import Explained, Found
from lakehouse.engine.playbook import Endorsement
from lakehouse.engine.vectors import IndexDamaged, Item

pytestmark = pytest.mark.anyio
WORDS = {
    "w1": "forklift driver in Chicago",
    "w2": "welder in Chicago",
    "w3": "forklift trainer",
    "w4": "night nurse",
    "w5": "day nurse and midwife",
}


def towards(distance: float) -> list[float]:
    """A vector of two components at this cosine distance from [1, 0]."""
    cosine = 1 - distance
    return [cosine, (1 - cosine**2) ** 0.5]


async def texts(lake: Lakehouse, name: str, held: dict[str, str], **facts: Any) -> None:
    """A corpus of these texts, embedded."""
    done = await lake.embed.embed(list(held.values()))
    await lake.vectors.create(name, done.dimension, model=facts.pop("model", done.model), **facts)
    rows = zip(held.items(), done.vectors, strict=True)
    await lake.vectors.add(name, [Item(id, row, {"text": text}) for (id, text), row in rows])


async def points(lake: Lakehouse, name: str, items: dict[str, float], **facts: Any) -> None:
    """An index of items at these distances from [1, 0]; their texts are their ids."""
    await lake.vectors.create(name, 2, **facts)
    await lake.vectors.add(name, [Item(id, towards(d), {"text": id, "d": d}) for id, d in items.items()])


def endorse(monkeypatch: pytest.MonkeyPatch, lake: Lakehouse, *known: tuple[str, str, float]) -> list[dict[str, Any]]:
    """Have the playbook know of these answers: id, corpus, effect. Returns what it was asked."""
    asked: list[dict[str, Any]] = []

    async def endorsements(vector: Any, **options: Any) -> list[Endorsement]:
        asked.append(options | {"vector": vector})
        return [Endorsement(f"pb-{id}", id, corpus, effect, 0.1, "asked then") for id, corpus, effect in known]

    monkeypatch.setattr(lake.playbook, "endorsements", endorsements)
    return asked


def told(found: Found) -> list[Explained]:
    """The explanation of each result."""
    return [hit.explain for hit in found.results if hit.explain is not None]


def check_sums(found: Found) -> None:
    """Each result's addends are exactly what it is ordered by, and that is what it shows."""
    assert len(told(found)) == found.count
    for hit, how in zip(found.results, told(found), strict=True):
        total = reduce(add, (addend.value for addend in how.addends), 0.0)
        assert total == (hit.distance if how.by == "distance" else hit.score)
        if how.lexical is not None and how.lexical.terms:
            assert sum(term.score for term in how.lexical.terms) == pytest.approx(how.lexical.score)


async def test_words_find_what_vectors_do_not(lake: Lakehouse) -> None:
    """Lexical hits have a score and no distance; hybrid ones a distance where the vector was near, too."""
    await texts(lake, "people", WORDS)
    words = await lake.matrix.search("forklift", corpora=["people"], retrieval="lexical", explain=True)
    assert {hit.id for hit in words.results} == {"w1", "w3"}
    assert (words.retrieval, words.fusion, words.note) == ("lexical", "score", None)
    assert all(hit.distance is None and "distance" in hit.model_dump(exclude_none=True) for hit in words.results)
    scores = [hit.score or 0 for hit in words.results]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0
    assert words.explain is not None and (words.explain.corpora[0].scanned, words.explain.models) == ("none", [])
    check_sums(words)
    both = await lake.matrix.search("forklift", corpora=["people"], retrieval="hybrid", k=5, explain=True)
    assert (both.count, both.retrieval, both.fusion) == (5, "hybrid", "rank")
    assert {hit.id for hit in both.results[:2]} == {"w1", "w3"}
    check_sums(both)
    for hit, how in zip(both.results, told(both), strict=True):
        ranks = [part.rank for part in (how.dense, how.lexical) if part is not None]
        assert hit.score == reduce(add, (1 / (60 + rank) for rank in ranks))
        assert how.dense is not None and hit.distance == how.dense.distance


async def test_an_item_without_a_vector_is_found_by_its_words(lake: Lakehouse) -> None:
    await texts(lake, "people", WORDS)
    await lake.vectors.add("people", [Item("bare", None, {"text": "forklift forklift"})])
    found = await lake.matrix.search("forklift", corpora=["people"], retrieval="hybrid")
    assert next(hit for hit in found.results if hit.id == "bare").distance is None
    assert "bare" not in {hit.id for hit in (await lake.matrix.search("forklift", corpora=["people"])).results}


async def test_dense_is_ordered_by_distance_and_explained(lake: Lakehouse) -> None:
    await points(lake, "a", {"near": 0.1, "far": 0.8})
    await points(lake, "b", {"mid": 0.4})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b"], explain=True)
    assert (found.retrieval, found.fusion) == ("dense", "distance")
    assert [hit.id for hit in found.results] == ["near", "mid", "far"]
    assert [(how.dense.rank, how.by) for how in told(found) if how.dense] == [
        (1, "distance"),
        (2, "distance"),
        (3, "distance"),
    ]
    assert [hit.score for hit in found.results] == [1 - (hit.distance or 0) for hit in found.results]
    check_sums(found)
    how = found.explain
    assert how is not None and [(one.corpus, one.near, one.scanned) for one in how.corpora] == [
        ("a", 2, "scan"),
        ("b", 1, "scan"),
    ]
    assert [(stage.stage, stage.given, stage.dropped) for stage in how.stages] == [
        ("retrieve", 3, 0),
        ("merge", 3, 0),
        ("cut", 3, 0),
    ]
    assert how.embed_ms == 0 and how.total_ms > 0
    plain = await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b"])
    assert plain.explain is None and all(hit.explain is None for hit in plain.results)


async def test_hybrid_without_words_is_dense_and_says_so(lake: Lakehouse) -> None:
    await points(lake, "a", {"x": 0.1})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a"], retrieval="hybrid")
    assert (found.retrieval, found.note, found.results[0].id) == ("dense", "dense: hybrid needs query_text", "x")


async def test_a_vector_with_words_is_used_for_what_is_near(lake: Lakehouse) -> None:
    await points(lake, "a", {"alpha": 0.1, "beta": 0.9})
    found = await lake.matrix.search("beta", [1, 0], corpora=["a"], retrieval="hybrid", explain=True)
    assert [hit.id for hit in found.results] == ["beta", "alpha"]
    assert [how.dense.rank for how in told(found) if how.dense] == [2, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retrieval": "lexical"}, "retrieval: it compares words"),
        ({"k": 1001}, r"k: it is 1001, not 1 to 1000 \(vectors.max_k\)"),
        ({"k": 10_000}, r"vectors\.max_k"),
        ({"per_corpus_k": 10_000}, r"per_corpus_k: .*vectors\.max_k"),
        ({"playbook_top_k": 0, "use_playbook": True}, "playbook_top_k"),
        ({"playbook_max_distance": float("nan"), "use_playbook": True}, "playbook_max_distance"),
        ({"diversity": 1.5}, "diversity"),
        ({"min_score": float("nan")}, "min_score"),
        ({"metadata_filter": {"text": {"$like": "x"}}}, "like"),
        ({"metadata_filter": {"text": {"$regex": "("}}}, "regex"),
        ({"relevance": Relevance(focus=Focus(path=""))}, "focus.path"),
    ],
)
async def test_bad_options(lake: Lakehouse, options: dict[str, Any], said: str) -> None:
    await points(lake, "a", {"x": 0.1})
    with pytest.raises(InvalidInput, match=said):
        await lake.matrix.search(query_vector=[1, 0], corpora=["a"], **options)


async def test_a_reranker_that_is_not_there(lake: Lakehouse) -> None:
    with pytest.raises(NotInstalled, match="no reranker") as caught:
        await lake.matrix.search("words", rerank=True)
    assert "rerank.provider" in caught.value.fix


async def test_more_than_is_asked_of_a_fused_side(lake: Lakehouse) -> None:
    """Hybrid looks at 100 of each side; a corpus gives no more results than per_corpus_k."""
    held = {f"i{n:03}": f"alpha word{n}" for n in range(130)}
    await texts(lake, "many", held)
    found = await lake.matrix.search("alpha", corpora=["many"], retrieval="hybrid", explain=True)
    assert (found.count, found.per_corpus_counts) == (6, {"many": 6})
    assert found.explain is not None
    assert [(one.near, one.matches) for one in found.explain.corpora] == [(100, 100)]
    deep = await lake.matrix.search("alpha", corpora=["many"], retrieval="hybrid", k=120, explain=True)
    assert deep.count == 120


async def test_the_filter_is_met_before_the_cut(lake: Lakehouse) -> None:
    """A-S14-1, A-S14-2, A-S14-3: never fewer than k when there are k, and how many were left out."""
    await lake.vectors.create("jobs", 2)
    states = ["IL", "WI", "IN", "OH"]
    items: list[Item] = [
        Item(f"j{n}", towards(n / 100), {"state": states[n % 4], "ok": n % 8 == 0, "text": "job"}) for n in range(40)
    ]
    await lake.vectors.add("jobs", [*items, Item("bare", towards(0.0)), Item("odd", towards(0.0), ["IL"])])

    async def ids(wanted: Any, retrieval: str = "dense") -> tuple[list[str], int]:
        found = await lake.matrix.search(
            "job", [1, 0], corpora=["jobs"], k=3, metadata_filter=wanted, retrieval=retrieval
        )
        return [hit.id for hit in found.results], found.metadata_filter_dropped

    assert await ids({"state": "IL"}) == (["j0", "j4", "j8"], 32)
    assert await ids({"state": ["IL", "WI"]}) == (["j0", "j1", "j4"], 22)
    assert await ids({"state": "IL", "ok": True}) == (["j0", "j8", "j16"], 37)
    assert await ids({"state": "IL", "ok": 1}) == ([], 42)
    assert await ids({"state": "IL", "absent": 1}) == ([], 42)
    assert await ids({"state": []}) == ([], 42)
    assert (await ids(None))[1] == 0 and (await ids({}))[1] == 0
    for retrieval in ("lexical", "hybrid"):
        names, dropped = await ids({"state": "IL"}, retrieval)
        assert len(names) == 3 and dropped == 32
        assert all(int(name[1:]) % 4 == 0 for name in names)


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


async def test_corpora_of_two_models_are_fused_by_rank(home: Path) -> None:
    """The question is embedded once a model, distances of different models are never compared, and it says so."""
    with FakeOllama() as fake:
        settings = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
        async with lakehouse.open(home, overrides=settings) as lake:
            for name, model in (("a", "nomic-embed-text"), ("b", "all-minilm")):
                done = await lake.embed.embed(["one", "two"], model)
                await lake.vectors.create(name, 768, model=done.model)
                rows = zip(("one", "two"), done.vectors, strict=True)
                await lake.vectors.add(name, [Item(text, row, {"text": text}) for text, row in rows])
            before = len(fake.requests)
            found = await lake.matrix.search("two or three", corpora=["b", "a"], explain=True)
            assert len(fake.requests) == before + 2
            by_vector = await lake.matrix.search(query_vector=[1.0] * 768, corpora=["a", "b"])
            hybrid = await lake.matrix.search("two", corpora=["a", "b"], retrieval="hybrid", explain=True)
            euclid = lake.embed.effective_model("all-minilm")
            await lake.vectors.create("c", 768, distance="euclidean", model=euclid)
            mixed = await lake.matrix.search("two", corpora=["b", "c"])
    assert found.fusion == by_vector.fusion == hybrid.fusion == mixed.fusion == "rank"
    assert "different embedding models" in (found.note or "") and "b: ollama/all-minilm" in (found.note or "")
    assert "euclidean" in (mixed.note or "")
    assert [hit.score for hit in found.results] == [1 / 61, 1 / 61, 1 / 62, 1 / 62]
    assert [hit.corpus for hit in found.results] == ["b", "a", "b", "a"]
    assert found.explain is not None and len(found.explain.models) == 2
    assert [hit.id for hit in hybrid.results][:2] == ["two", "two"]
    check_sums(found)
    check_sums(hybrid)


async def test_words_of_a_corpus_whose_model_is_gone(lake: Lakehouse) -> None:
    await points(lake, "old", {"alpha": 0.1}, model="gone/model")
    for retrieval in ("dense", "hybrid"):
        with pytest.raises(Conflict, match="embedded with gone/model") as caught:
            await lake.matrix.search("alpha", corpora=["old"], retrieval=retrieval)
        assert "retrieval=lexical" in caught.value.fix
    found = await lake.matrix.search("alpha", corpora=["old"], retrieval="lexical")
    assert [hit.id for hit in found.results] == ["alpha"]


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
    assert changed == (effect != 0)
    assert one.value == (start * (1 - 0.5 * effect) if by == "distance" else start / (1 - 0.5 * effect))
    assert reduce(add, (addend.value for addend in one.addends), 0.0) == one.value
