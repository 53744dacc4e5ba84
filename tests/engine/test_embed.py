"""The embedder: what it refuses, what reaches the provider, how failures and deadlines come out."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from tests.doubles.fake_ollama import FakeOllama, vector
from tests.doubles.server import HANG, Answer

from lakehouse import config
from lakehouse.engine.embed import Embedder, EmbedFailed
from lakehouse.engine.embed.provider import redacted
from lakehouse.errors import InvalidInput, TimedOut, TooLarge

pytestmark = pytest.mark.anyio


def ollama(home: Path, fake: FakeOllama, **settings: Any) -> Embedder:
    return Embedder(home, config.Embed(provider="ollama", ollama_url=fake.url, **settings))


def asked(fake: FakeOllama) -> list[str]:
    """The texts that went upstream by the batch route, in order."""
    return [text for request in fake.requests if request.path == "/api/embed" for text in request.body["input"]]


async def test_vectors_come_in_the_order_of_the_texts(home: Path) -> None:
    """A-S10-2, A-S11-1: 768 components; the same text the same vector; different texts, different vectors."""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        done = await embedder.embed(["hello", "world", "hello"])
        await embedder.aclose()
    assert (done.model, done.dimension, done.vectors.shape) == ("ollama/nomic-embed-text", 768, (3, 768))
    assert done.vectors.dtype == np.float32
    assert np.array_equal(done.vectors[0], done.vectors[2])
    assert not np.array_equal(done.vectors[0], done.vectors[1])
    assert np.allclose(done.vectors[1], vector("world"), atol=1e-7)


def test_golden_vector_of_the_double() -> None:
    """A-S11-2"""
    assert vector("hello")[:4] == pytest.approx([0.706703722, -0.726746366, -0.782208204, 0.617981793], abs=1e-9)


async def test_an_older_server_is_asked_text_by_text(home: Path) -> None:
    with FakeOllama(batches=False) as fake:
        embedder = ollama(home, fake)
        done = await embedder.embed(["a", "b"])
        await embedder.aclose()
    assert np.allclose(done.vectors, [vector("a"), vector("b")], atol=1e-7)
    assert [r.body["prompt"] for r in fake.requests if r.path == "/api/embeddings"] == ["a", "b"]


@pytest.mark.parametrize(
    "texts", [[], [""], ["good", " \n\t"], ["good", 3], "a bare text", ["\ud800"]], ids=lambda t: repr(t)
)
async def test_bad_texts_are_refused_before_anything_is_asked(home: Path, texts: Any) -> None:
    """A-S10-1 (empty texts), A-S10-2"""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        with pytest.raises(InvalidInput, match="texts"):
            await embedder.embed(texts)
        await embedder.aclose()
    assert fake.requests == []


async def test_too_many_texts_name_the_setting(home: Path) -> None:
    """A-S10-2"""
    embedder = Embedder(home, config.Embed(provider="hash", max_texts=2))
    with pytest.raises(TooLarge, match=r"embed\.max_texts"):
        await embedder.embed(["a", "b", "c"])


BAD_ANSWERS = {
    "status 500": Answer(500, {"error": "out of memory"}),
    "status 400": Answer(400, {"error": "bad request"}),
    "not JSON": Answer(200, b"<html>"),
    "not an object": Answer(200, [1, 2]),
    "no field": Answer(200, {"vectors": []}),
    "too few": Answer(200, {"embeddings": [[1.0, 2.0]]}),
    "empty": Answer(200, {"embeddings": [[], []]}),
    "ragged": Answer(200, {"embeddings": [[1.0, 2.0], [1.0]]}),
    "words": Answer(200, {"embeddings": [["a", "b"], ["c", "d"]]}),
    "numbers as text": Answer(200, {"embeddings": [["1", "2"], ["3", "4"]]}),
    "null": Answer(200, {"embeddings": [[1.0, None], [1.0, 2.0]]}),
    "not finite": Answer(200, b'{"embeddings": [[1.0, NaN], [1.0, 2.0]]}'),
    "over float32": Answer(200, b'{"embeddings": [[1.0, 1e300], [1.0, 2.0]]}'),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_whatever_the_provider_does_wrong_is_one_error_and_not_cached(home: Path, answer: Answer) -> None:
    """A-S10-1 (error propagation and non-caching), A-S10-2"""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        fake.script.append(answer)
        with pytest.raises(EmbedFailed) as caught:
            await embedder.embed(["a", "b"])
        assert caught.value.http == 502
        done = await embedder.embed(["a", "b"])
        await embedder.aclose()
    assert np.allclose(done.vectors, [vector("a"), vector("b")], atol=1e-7)
    assert len(fake.requests) == 2


async def test_an_unknown_model_says_how_to_get_it(home: Path) -> None:
    """A-S11-1: the server's 404 becomes ours of a failed upstream."""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        with pytest.raises(EmbedFailed, match=r"404.*no-such-model.*ollama pull"):
            await embedder.embed(["a"], "no-such-model")
        await embedder.aclose()


async def test_nobody_listening(home: Path) -> None:
    """A-S10-2"""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
    with pytest.raises(EmbedFailed, match="ollama serve"):
        await embedder.embed(["a"])
    await embedder.aclose()


async def test_a_text_that_hangs_ends_the_batch_at_the_deadline(home: Path) -> None:
    """A-S10-3: one deadline for all texts; here the second of three hangs."""
    with FakeOllama(batches=False) as fake:
        embedder = ollama(home, fake, batch_timeout_secs=0.5)
        fake.script.extend([Answer(404, b"404 page not found"), Answer(200, {"embedding": [1.0]}), *[HANG] * 3])
        with pytest.raises(TimedOut, match=r"embed\.batch_timeout_secs"):
            await embedder.embed(["a", "b", "c"])
        await embedder.aclose()
    assert "c" not in [request.body.get("prompt") for request in fake.requests]


async def test_cancellation_leaves_the_embedder_usable(home: Path) -> None:
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        fake.script.append(HANG)
        async with anyio.create_task_group() as group:
            group.start_soon(embedder.embed, ["a"])
            while not fake.requests:
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        assert (await embedder.embed(["a"])).dimension == 768
        await embedder.aclose()


async def test_only_misses_go_upstream_and_each_once(home: Path) -> None:
    """A-S10-1: hit on repeat; a mixed batch fetches only misses; all hits make no call; duplicates are fetched once."""
    with FakeOllama() as fake:
        embedder = ollama(home, fake)
        await embedder.embed(["a", "b", "a"])
        assert asked(fake) == ["a", "b"]
        mixed = await embedder.embed(["c", "b", "d", "a"])
        assert asked(fake) == ["a", "b", "c", "d"]
        again = await embedder.embed(["a", "d"])
        assert len(fake.requests) == 2
        stats = embedder.stats()
        await embedder.aclose()
    assert np.allclose(mixed.vectors, [vector(t) for t in "cbda"], atol=1e-7)
    assert (again.model, again.dimension) == ("ollama/nomic-embed-text", 768)
    assert (stats["hits"], stats["misses"]) == (5, 4)
    assert stats["hit_rate"] == pytest.approx(5 / 9)
    assert (stats["enabled"], stats["size"], stats["capacity"], stats["disk"]) == (True, 4, 10_000, "ok")


async def test_models_are_cached_apart_and_an_empty_name_is_the_default(home: Path) -> None:
    """A-S10-1: model isolation; empty model = default key."""
    with FakeOllama() as fake:
        embedder = ollama(home, fake, model="all-minilm")
        for model in (None, "", "all-minilm", "ollama/all-minilm"):
            assert (await embedder.embed(["a"], model)).model == "ollama/all-minilm"
        assert len(fake.requests) == 1
        await embedder.embed(["a"], "nomic-embed-text")
        assert len(fake.requests) == 2
        await embedder.aclose()


async def test_without_a_cache_everything_goes_upstream(home: Path) -> None:
    """A-S10-1: pass-through at 0, and the statistics keep their shape."""
    with FakeOllama() as fake:
        embedder = ollama(home, fake, cache_size=0)
        await embedder.embed(["a"])
        await embedder.embed(["a"])
        assert len(fake.requests) == 2
        stats = embedder.stats()
        await embedder.aclose()
    zeros = {"hits": 0, "misses": 0, "hit_rate": 0.0, "size": 0, "capacity": 0}
    assert stats == zeros | {"enabled": False, "disk": "off"}
    assert not home.exists()


async def test_what_one_process_embedded_the_next_has(home: Path) -> None:
    with FakeOllama() as fake:
        for _ in range(2):
            embedder = ollama(home, fake, cache_size=1)
            done = await embedder.embed(["a", "b"])
            await embedder.aclose()
    assert asked(fake) == ["a", "b"]
    assert np.allclose(done.vectors, [vector("a"), vector("b")], atol=1e-7)


async def test_a_hit_in_memory_leaves_the_event_loop_for_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S10-5: no thread, no file, no provider; what is left takes microseconds, and `make bench` prints how many."""
    embedder = Embedder(home, config.Embed(provider="hash"))
    await embedder.embed(["a", "b"])
    with monkeypatch.context() as patch:
        patch.delattr(anyio.to_thread, "run_sync")
        assert (await embedder.embed(["b", "a"])).dimension == 256
    await embedder.aclose()


async def test_vectors_handed_out_are_copies(home: Path) -> None:
    embedder = Embedder(home, config.Embed(provider="hash"))
    first = await embedder.embed(["a"])
    kept = first.vectors.copy()
    first.vectors[:] = 0
    assert np.array_equal((await embedder.embed(["a"])).vectors, kept)
    await embedder.aclose()


@pytest.mark.slow
async def test_fifty_callers_at_once(home: Path) -> None:
    """A-S10-1: 50 callers × 100 calls agree with what one caller alone gets."""
    embedder = Embedder(home, config.Embed(provider="hash", cache_size=20))
    words = [f"word {n}" for n in range(60)]
    alone = dict(zip(words, (await embedder.embed(words)).vectors, strict=True))

    async def caller(seed: int) -> None:
        for call in range(100):
            word = words[(seed * 7 + call * 13) % len(words)]
            assert np.array_equal((await embedder.embed([word])).vectors[0], alone[word])

    await asyncio.gather(*(caller(seed) for seed in range(50)))
    stats = embedder.stats()
    await embedder.aclose()
    assert stats["hits"] + stats["misses"] == 50 * 100 + 60
    assert stats["size"] == 20


async def test_no_more_than_eight_batches_are_with_the_provider_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(home, config.Embed(provider="hash", cache_size=0))
    hashed, at_once, go_on = embedder._provider.embed, [0, 0], anyio.Event()

    async def slow(texts: Any, model: str) -> Any:
        at_once[0] += 1
        at_once[1] = max(at_once)
        if at_once[0] == 8:
            go_on.set()
        await go_on.wait()
        await anyio.lowlevel.checkpoint()
        at_once[0] -= 1
        return await hashed(texts, model)

    monkeypatch.setattr(embedder._provider, "embed", slow)
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(embedder.embed, [f"text {number}"])
    assert at_once == [0, 8]
    await embedder.aclose()


async def test_hash_vectors_are_near_when_words_are_shared(home: Path) -> None:
    embedder = Embedder(home, config.Embed(provider="hash"))
    texts = ["forklift driver in Chicago", "a driver of a forklift", "quantum chemistry", "in Chicago driver forklift"]
    done = await embedder.embed(texts)
    await embedder.aclose()
    near = done.vectors @ done.vectors[0]
    assert (done.model, done.dimension) == ("hash-256", 256)
    assert np.allclose(np.linalg.norm(done.vectors, axis=1), 1, atol=1e-6)
    assert near[1] > near[2] + 0.2
    assert not np.array_equal(done.vectors[0], done.vectors[3])


@pytest.mark.slow
async def test_dimension_is_asked_once(home: Path) -> None:
    with FakeOllama() as fake:
        embedder = ollama(home, fake, cache_size=0)
        assert [await embedder.dimension(), await embedder.dimension()] == [768, 768]
        await embedder.aclose()
    assert len(fake.requests) == 1


@pytest.mark.parametrize("provider", ["bundled", "hash"])
def test_a_provider_of_one_model_lists_it(home: Path, provider: Any) -> None:
    embedder = Embedder(home, config.Embed(provider=provider))
    identity = embedder.effective_model()
    assert embedder.effective_model(identity) == identity
    with pytest.raises(InvalidInput, match=identity):
        embedder.effective_model("text-embedding-3-small")
    with pytest.raises(InvalidInput, match="model"):
        embedder.effective_model("x" * 1000)


@pytest.mark.slow
def test_the_server_starts_without_the_heavy_libraries() -> None:
    """A-S1-5: neither the package, nor its tools and their schemas, nor the embedder's module loads them."""
    code = """
import sys, lakehouse, lakehouse.lake, lakehouse.engine.embed
from lakehouse.catalogue import Catalogue
[(tool.input_schema, tool.output_schema) for tool in Catalogue().public()]
heavy = {"litellm", "onnxruntime", "tokenizers", "numpy", "httpx", "duckdb", "pyarrow", "usearch", "obstore"}
sys.exit(" ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (child.returncode, child.stderr) == (0, "")


def test_what_looks_like_a_key_is_not_repeated() -> None:
    said = "Incorrect key sk-abc123def456 for\nhttp://me:pass@host/v1?api_key=zzz&x=1 (Bearer abc.def), hidden-word"
    assert redacted(said, "hidden-word") == (
        "Incorrect key *** for http://***@host/v1?api_key=***&x=1 (Bearer ***, ***"
    )
    assert len(redacted("x" * 10_000)) == 300
