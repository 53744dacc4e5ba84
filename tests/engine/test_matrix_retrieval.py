"""What a search finds by words, by meaning and by both, how it is ordered, and every number behind that."""

import random
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.searching import WORDS, check_sums, points, texts, told, towards

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse
from lakehouse.engine.matrix.relevance import Focus
from lakehouse.engine.matrix.request import Relevance
from lakehouse.engine.vectors import Item

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize("seed", range(5))
async def test_a_fused_score_is_that_of_the_two_lists(lake: Lakehouse, seed: int) -> None:
    """Over random corpora: hybrid ranks as the dense and the lexical search of the words say, by 1 / (60 + rank)."""
    chance = random.Random(seed)
    vocabulary = [f"word{n}" for n in range(30)]
    names = ["b", "a"]
    for name in names:
        held = {f"{name}{n}": " ".join(chance.choices(vocabulary, k=chance.randint(1, 12))) for n in range(40)}
        await texts(lake, name, held)
    question = " ".join(chance.sample(vocabulary, 4))
    lists = [
        (await lake.matrix.search(question, corpora=names, k=80, retrieval=retrieval)).results
        for retrieval in ("dense", "lexical")
    ]
    expected: dict[tuple[str, str], float] = {}
    for listed in lists:
        for rank, hit in enumerate(listed, 1):
            expected[hit.corpus, hit.id] = expected.get((hit.corpus, hit.id), 0.0) + 1 / (60 + rank)
    order = sorted(expected, key=lambda key: (-expected[key], names.index(key[0]), key[1]))
    found = await lake.matrix.search(question, corpora=names, k=80, retrieval="hybrid", explain=True)
    assert [(hit.corpus, hit.id) for hit in found.results] == order[:80]
    assert [hit.score for hit in found.results] == [expected[key] for key in order[:80]]
    check_sums(found)
    for how in told(found):
        assert how.lexical is None or reduce(add, (t.score for t in how.lexical.terms)) == how.lexical.score


async def test_metadata_is_read_for_what_is_shown_only(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused search looks at 100 items a side and corpus; their metadata, of up to a megabyte each, are left alone."""
    from lakehouse.engine.vectors.snapshot import State

    read: list[int] = []
    original = State.meta

    def meta(state: State, place: int, row: int) -> str:
        read.append(row)
        return original(state, place, row)

    monkeypatch.setattr(State, "meta", meta)
    for name in ("a", "b"):
        await texts(lake, name, {f"{name}{n}": f"forklift number {n}" for n in range(40)})
    read.clear()
    for asked in ({"retrieval": "hybrid"}, {"retrieval": "lexical", "explain": True}, {"metadata_filter": {"x": None}}):
        found = await lake.matrix.search("forklift", k=3, corpora=["a", "b"], **asked)
        assert len(read) == found.count
        read.clear()
    focus = Focus(path="src/forklift.py", content="forklift")
    wanted = Relevance(focus=focus)
    found = await lake.matrix.search("forklift", k=3, corpora=["a"], retrieval="hybrid", relevance=wanted)
    assert all(hit.metadata["text"] for hit in found.results) and len(read) == sum(found.per_corpus_counts.values())
