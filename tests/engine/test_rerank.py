"""The reranker against a local service, in a process of its own: litellm warns on import."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.fake_rerank import BROKEN, NONSENSE, SHORT, FakeRerank
from tests.doubles.server import COMPUTE, HANG

from lakehouse import config
from lakehouse.engine.rerank import Reranker, RerankFailed
from lakehouse.errors import NotInstalled, Unavailable

CHILD = """
import json, os, sys
import anyio
import lakehouse
from lakehouse.engine.vectors import Item
from lakehouse.errors import LakehouseError

async def tried(lake, **options):
    try:
        found = await lake.matrix.search("night nurse", corpora=["a"], rerank=True, **options)
        return [[hit.id, hit.score] for hit in found.results]
    except LakehouseError as error:
        return {"error": type(error).__name__, "cause": type(error.__cause__).__name__, "text": str(error)}

async def main(home, base, key):
    os.environ["KEY_FOR_TEST"] = key
    service = {"provider": "litellm", "model": "cohere/rerank-tiny", "api_base": base, "api_key_env": "KEY_FOR_TEST"}
    settings = {f"rerank.{name}": value for name, value in service.items()} | {"embed.provider": "hash"}
    answers = []
    async with lakehouse.open(home, overrides=settings) as lake:
        texts = {"x": "a welder", "y": "a nurse by day", "z": "a nurse at night"}
        done = await lake.embed.embed(list(texts.values()))
        await lake.vectors.create("a", done.dimension, model=done.model)
        rows = zip(texts.items(), done.vectors, strict=True)
        await lake.vectors.add("a", [Item(id, row, {"text": text}) for (id, text), row in rows])
        for options in ({}, {"retrieval": "lexical"}, {}, {}, {}):
            answers.append(await tried(lake, **options))
        os.environ["KEY_FOR_TEST"] = "sk-wrong-9876543210"
        answers.append(await tried(lake))
    os.environ["KEY_FOR_TEST"] = key
    hasty = settings | {"rerank.timeout_secs": 0.5}
    async with lakehouse.open(home, overrides=hasty) as lake:
        answers.append(await tried(lake))
    json.dump(answers, sys.stdout)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
def test_end_to_end(home: Path) -> None:
    """Its order; a failing, short or senseless answer, a refused key (hidden), a hanging server fail the search."""
    with FakeRerank() as fake:
        fake.script.extend([COMPUTE, COMPUTE, BROKEN, SHORT, NONSENSE, COMPUTE, HANG])
        command = [sys.executable, "-c", CHILD, str(home), fake.url, fake.key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        sent = [request.body["query"] for request in fake.requests]
    good, words, *bad, refused, slow = json.loads(done.stdout)
    assert good == [["z", 1.0], ["y", 0.5], ["x", 0.0]]
    assert words == [["z", 1.0], ["y", 0.5]]
    assert [one["error"] for one in bad] == ["RerankFailed"] * 3
    assert "500" in bad[0]["text"] and "1 of 3" in bad[1]["text"]
    assert refused["error"] == "RerankFailed" and "sk-wrong" not in refused["text"]
    assert slow["error"] == "TimedOut" and "rerank.timeout_secs" in slow["text"]
    assert sent == ["night nurse"] * 7  # each failure is seen, not tried again


@pytest.mark.anyio
async def test_what_is_not_set_up() -> None:
    for settings in (config.Rerank(), config.Rerank(provider="litellm"), config.Rerank(model="cohere/x")):
        with pytest.raises(NotInstalled, match="no reranker"):
            await Reranker(settings).scores("q", ["a"])
    keyless = config.Rerank(provider="litellm", model="cohere/x", api_key_env="NO_SUCH_VARIABLE")
    with pytest.raises(Unavailable, match="NO_SUCH_VARIABLE"):
        await Reranker(keyless).scores("q", ["a"])


@pytest.mark.parametrize("nonsense", [["x"], [None], [{"index": 0, "relevance_score": 10**400}], [{"index": {}}], [[]]])
def test_senseless_scores(nonsense: list[Any]) -> None:
    with pytest.raises(RerankFailed, match="0 of 1"):
        Reranker(config.Rerank(provider="litellm", model="cohere/x"))._ordered(nonsense, 1)
