"""Search across corpora: attribution, order, what is asked of the embedder, and failures that name the corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.doubles.fake_ollama import FakeOllama
from tests.doubles.server import HANG
from tests.doubles.server import Answer as Said
from tests.searching import towards
from tests.tables import commit

import lakehouse
from lakehouse import Conflict, InvalidInput, Lakehouse, TimedOut, Upstream
from lakehouse.engine import matrix
from lakehouse.engine.embed import EmbedFailed
from lakehouse.engine.matrix import CorpusNotFound
from lakehouse.engine.vectors import IndexDamaged, Item
from lakehouse.engine.vectors.asking import Answer, Ask

pytestmark = pytest.mark.anyio


async def fill(lake: Lakehouse, name: str, items: dict[str, float], **facts: Any) -> None:
    """An index of items at these distances from [1, 0]."""
    await lake.vectors.create(name, 2, **facts)
    await lake.vectors.add(name, [Item(id, towards(d), {"from": name, "n": [1, {"x": d}]}) for id, d in items.items()])


async def test_hits_come_from_all_corpora_nearest_first(lake: Lakehouse) -> None:
    """A-S13-1, A-S13-2: three corpora, each hit with its own; metadata as it was given."""
    await fill(lake, "a", {"a-near": 0.1, "a-far": 0.8})
    await fill(lake, "b", {"b-near": 0.05, "b-far": 0.9})
    await fill(lake, "c", {"c-mid": 0.4})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b", "c"], k=4)
    assert [(hit.id, hit.corpus) for hit in found.results] == [
        ("b-near", "b"),
        ("a-near", "a"),
        ("c-mid", "c"),
        ("a-far", "a"),
    ]
    assert [hit.distance for hit in found.results] == pytest.approx([0.05, 0.1, 0.4, 0.8], abs=1e-3)
    assert found.results[0].metadata == {"from": "b", "n": [1, {"x": 0.05}]}
    assert (found.count, found.per_corpus_counts) == (4, {"a": 2, "b": 2, "c": 1})
    assert [corpus.name for corpus in await lake.matrix.corpora()] == ["a", "b", "c"]


async def test_ties_go_by_the_order_of_the_corpora_then_by_id(lake: Lakehouse) -> None:
    """The same id in two corpora stays two results; a corpus named twice is searched once."""
    await fill(lake, "a", {"z": 0.2, "y": 0.2})
    await fill(lake, "b", {"z": 0.2})
    found = await lake.matrix.search(query_vector=[1, 0], corpora=["b", "a", "b"])
    assert [(hit.corpus, hit.id) for hit in found.results] == [("b", "z"), ("a", "y"), ("a", "z")]
    assert found.per_corpus_counts == {"b": 1, "a": 2}


async def test_how_many(lake: Lakehouse) -> None:
    """A-S13-5: 8 in all and 6 of each corpus by default; a given k reaches into one corpus as deep as it needs."""
    assert (matrix.DEFAULT_K, matrix.DEFAULT_PER_CORPUS_K) == (8, 6)
    await fill(lake, "a", {f"a{n}": n / 100 for n in range(20)})
    await fill(lake, "b", {f"b{n}": 0.5 + n / 100 for n in range(20)})

    async def counts(corpora: Sequence[str], **options: Any) -> tuple[int, dict[str, int]]:
        found = await lake.matrix.search(query_vector=[1, 0], corpora=corpora, **options)
        return found.count, found.per_corpus_counts

    assert await counts(["a", "b"]) == (8, {"a": 6, "b": 6})
    assert await counts(["a"]) == (6, {"a": 6})
    assert await counts(["a"], k=10) == (10, {"a": 10})
    assert await counts(["a", "b"], k=3) == (3, {"a": 6, "b": 6})
    assert await counts(["a", "b"], k=10, per_corpus_k=2) == (4, {"a": 2, "b": 2})
    assert await counts(["a"], per_corpus_k=0) == (6, {"a": 6})
    assert await counts(["a"], k=1000) == (20, {"a": 20})


@pytest.mark.slow
async def test_a_vector_is_used_as_it_is(home: Path) -> None:
    """A-S13-3: with a vector, and with a vector and a text, nobody is asked to embed."""
    with FakeOllama() as fake:
        settings = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
        async with lakehouse.open(home, overrides=settings) as lake:
            await fill(lake, "a", {"x": 0.1}, model="some/model")
            for text in (None, "words"):
                found = await lake.matrix.search(text, np.array([1, 0], np.float32), corpora=["a"])
                assert found.count == 1
    assert fake.requests == []


async def test_embed_then_add_then_search(lake: Lakehouse) -> None:
    """A-S10-4: searching with the text of an item finds it first, at distance 1e-6 or less."""
    texts = [f"a text about {subject}" for subject in ("wings", "flow", "heat", "cones", "plates")]
    done = await lake.embed.embed(texts)
    await lake.vectors.create("texts", done.dimension, model=done.model)
    await lake.vectors.add("texts", [Item(t, v, {"text": t}) for t, v in zip(texts, done.vectors, strict=True)])
    found = await lake.matrix.search("a text about heat", corpora=["texts"])
    assert found.results[0].id == "a text about heat" and (found.results[0].distance or 0) <= 1e-6


async def test_all_corpora_are_those_that_were_built(lake: Lakehouse) -> None:
    with pytest.raises(CorpusNotFound, match="build_corpus"):
        await lake.matrix.search("words")
    for name in ("one", "two"):
        await commit(lake, name, {"id": ["x"], "text": [f"words of {name}"]})
        await lake.corpora.build(name, dataset=name, text=["text"], id="id")
    await fill(lake, "raw", {"x": 0.1})
    found = await lake.matrix.search("words of two")
    assert found.per_corpus_counts == {"one": 1, "two": 1}
    assert found.results[0].corpus == "two"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no query"),
        ({"query_text": "  "}, "no query"),
        ({"query_text": "x", "corpora": []}, "corpora: the list is empty"),
        ({"query_vector": [1, 0, 0]}, r"3 components, corpus a has 2"),
        ({"query_vector": []}, "0 components"),
        ({"query_vector": [0, 0]}, "query_vector: "),
        ({"query_vector": [float("nan"), 1]}, "query_vector: "),
        ({"query_vector": [1e39, 1]}, "query_vector: "),
        ({"query_vector": [1, 0], "k": 0}, "k: it is 0"),
        ({"query_vector": [1, 0], "k": -1}, "k: it is -1"),
        ({"query_vector": [1, 0], "k": 10**9}, "max_k"),
        ({"query_vector": [1, 0], "per_corpus_k": -1}, "per_corpus_k"),
        ({"query_vector": [1, 0], "corpora": ["a", "not/a/name"]}, "name"),
    ],
)
async def test_bad_requests(lake: Lakehouse, options: dict[str, Any], said: str) -> None:
    """A-S13-1: an empty list of corpora and no query are the caller's mistakes."""
    await fill(lake, "a", {"x": 0.1})
    with pytest.raises(InvalidInput, match=said):
        await lake.matrix.search(**{"corpora": ["a"]} | options)


async def test_corpora_of_different_dimensions_take_no_vector(lake: Lakehouse) -> None:
    await fill(lake, "a", {"x": 0.1})
    await lake.vectors.create("b", 3)
    with pytest.raises(InvalidInput, match=r"2 components, corpus b has 3"):
        await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b"])


async def test_a_missing_corpus_fails_the_search(lake: Lakehouse) -> None:
    """A-S13-1, A-S13-4: the caller asked for three answers and would get two."""
    await fill(lake, "a", {"x": 0.1})
    await fill(lake, "c", {"x": 0.1})
    with pytest.raises(Upstream, match=r"corpus b: .*There are: a, c\.") as caught:
        await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b", "c"])
    assert caught.value.http == 502
    assert isinstance(caught.value.__cause__, CorpusNotFound)


async def test_a_failing_corpus_fails_the_search(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S13-4: no results of the others are returned."""
    for name in "abc":
        await fill(lake, name, {"x": 0.1})
    answer = lake.vectors.ask

    async def damaged(name: str, ask: Ask) -> Answer:
        if name == "b":
            raise IndexDamaged("segment 7 is cut short.", fix="Restore it.")
        return await answer(name, ask)

    monkeypatch.setattr(lake.vectors, "ask", damaged)
    with pytest.raises(Upstream, match=r"corpus b: segment 7 is cut short\. Restore it\.") as caught:
        await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b", "c"])
    assert isinstance(caught.value.__cause__, IndexDamaged)


async def test_a_damaged_corpus_is_named_and_not_passed_over(home: Path) -> None:
    """A-S13-4: on disk, met when the lake is opened again; the others can still be searched by name."""
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        for name in ("good", "bad"):
            await commit(lake, name, {"id": ["x"], "text": ["words"]})
            await lake.corpora.build(name, dataset=name, text=["text"], id="id")
    newest = max((home / "objects" / "_vectors" / "bad" / "manifest").iterdir())
    newest.chmod(0o644)
    newest.write_bytes(newest.read_bytes()[:-20])
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        for corpora in (None, ["good", "bad"]):
            with pytest.raises(Upstream, match="corpus bad: "):
                await lake.matrix.search("words", corpora=corpora)
        assert (await lake.matrix.search("words", corpora=["good"])).count == 1
        listed = await lake.call("matrix_corpora")
        assert [corpus["name"] for corpus in listed["corpora"]] == ["good"]
        assert listed["problems"][0].startswith("bad: ")


async def test_when_the_question_cannot_be_embedded(home: Path) -> None:
    with FakeOllama() as fake:
        settings: dict[str, Any] = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
        async with lakehouse.open(home, overrides=settings) as lake:
            await fill(lake, "a", {"x": 0.1}, model="ollama/nomic-embed-text")
            fake.script.append(Said(500, {"error": "no"}))
            with pytest.raises(Upstream, match="could not be embedded") as caught:
                await lake.matrix.search("words", corpora=["a"])
            assert isinstance(caught.value.__cause__, EmbedFailed)
            with pytest.raises(Conflict, match="2 components, ollama/nomic-embed-text of 768"):
                await lake.matrix.search("words", corpora=["a"])
        async with lakehouse.open(home, overrides=settings | {"embed.batch_timeout_secs": 0.5}) as lake:
            fake.script.append(HANG)
            with pytest.raises(TimedOut):
                await lake.matrix.search("other words", corpora=["a"])


async def test_models_are_not_mixed(lake: Lakehouse) -> None:
    await fill(lake, "a", {"x": 0.1}, model="hash-256")
    await fill(lake, "b", {"x": 0.1}, model="ollama/nomic-embed-text")
    with pytest.raises(Conflict, match="corpus b was embedded with ollama/nomic-embed-text"):
        await lake.matrix.search("words", corpora=["a", "b"])
    with pytest.raises(Conflict, match=r"corpus b was embedded with ollama/nomic-embed-text.*drop_existing=true"):
        await lake.matrix.search("words", corpora=["b"])
    with pytest.raises(InvalidInput, match="model"):
        await lake.matrix.search("words", corpora=["b"], model="hash-256")
    assert (await lake.matrix.search(query_vector=[1, 0], corpora=["a", "b"])).count == 2


async def test_a_corpus_of_another_model_of_the_provider_is_searched_with_its_own(home: Path) -> None:
    with FakeOllama() as fake:
        settings = {"embed.provider": "ollama", "embed.ollama_url": fake.url}
        async with lakehouse.open(home, overrides=settings) as lake:
            await commit(lake, "jobs", {"id": ["x"], "text": ["words"]})
            await lake.corpora.build("jobs", dataset="jobs", text=["text"], id="id", model="all-minilm")
            await lake.matrix.search("a question")
    assert [request.body["model"] for request in fake.requests] == ["all-minilm", "all-minilm"]
