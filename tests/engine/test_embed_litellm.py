"""The litellm provider against a local OpenAI-compatible server, in a process of its own: litellm warns on import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.doubles.fake_ollama import vector
from tests.doubles.fake_openai import BROKEN, DIMENSION, TOO_MANY, FakeOpenAI
from tests.doubles.server import COMPUTE, HANG, Answer

from lakehouse import config
from lakehouse.engine.embed import Embedder
from lakehouse.errors import InvalidInput, Unavailable

CHILD = """
import json, os, socket, sys
import anyio
from pathlib import Path
from lakehouse import config
from lakehouse.engine.embed import Embedder
from lakehouse.errors import LakehouseError

outside, connect = [], socket.socket.connect
def watched(self, address):
    if address[0] not in ("127.0.0.1", "localhost"):
        outside.append(str(address))
        raise OSError("no network in tests")
    return connect(self, address)
socket.socket.connect = watched

async def tried(embedder, texts):
    try:
        done = await embedder.embed(texts)
        return {"model": done.model, "vectors": done.vectors.tolist()}
    except LakehouseError as error:
        return {"error": type(error).__name__, "text": str(error)}

async def main(home, base, key):
    os.environ["KEY_FOR_TEST"] = key
    patient = config.Embed(provider="litellm", model="openai/tiny", api_base=base, api_key_env="KEY_FOR_TEST")
    embedder = Embedder(Path(home), patient)
    answers = [await tried(embedder, ["hello", "world"])]
    answers += [await tried(embedder, [f"text {n}"]) for n in range(4)]
    os.environ["KEY_FOR_TEST"] = "sk-wrong-9876543210"
    answers.append(await tried(embedder, ["another"]))
    hasty = patient.model_copy(update={"batch_timeout_secs": 0.5, "cache_size": 0})
    answers.append(await tried(Embedder(Path(home), hasty), ["slow"]))
    json.dump({"answers": answers, "outside": outside}, sys.stdout)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
def test_end_to_end(home: Path) -> None:
    """A-S10-2, A-S10-3: good answers, 429, 500, nonsense, a refused key (hidden), a hanging server; no network."""
    with FakeOpenAI() as fake:
        # One answer for each request up to the hanging one: ours never asks again by itself.
        fake.script.extend(
            [COMPUTE, TOO_MANY, BROKEN, Answer(200, b"<html>"), Answer(200, {"data": []}), COMPUTE, HANG]
        )
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(home), f"{fake.url}/v1", fake.key],
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    good, too_many, broken, nonsense, empty, refused, slow = report["answers"]
    assert good["model"] == "openai/tiny"
    assert good["vectors"][1] == pytest.approx(vector("world")[:DIMENSION], abs=1e-6)
    assert (too_many["error"], broken["error"]) == ("EmbedFailed", "EmbedFailed")
    assert "429" in too_many["text"] and "500" in broken["text"]
    assert (nonsense["error"], empty["error"]) == ("EmbedFailed", "EmbedFailed")
    assert refused["error"] == "EmbedFailed" and "401" in refused["text"]
    assert "9876543210" not in refused["text"]
    assert slow["error"] == "TimedOut"
    assert report["outside"] == []
    assert len(fake.requests) == 7
    assert fake.requests[0].body["input"] == ["hello", "world"]


pytestmark = pytest.mark.anyio


async def test_no_model_and_no_key_say_what_to_set(home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"embed\.model"):
        await Embedder(home, config.Embed(provider="litellm")).embed(["a"])
    keyless = config.Embed(provider="litellm", model="openai/tiny", api_key_env="NO_SUCH_VARIABLE", cache_size=0)
    with pytest.raises(Unavailable, match="NO_SUCH_VARIABLE"):
        await Embedder(home, keyless).embed(["a"])


async def test_a_caller_does_not_choose_where_the_key_is_sent(home: Path) -> None:
    """litellm takes an address, or a provider, from a model's name, and sends it what embed.api_key_env holds."""
    mine = config.Embed(provider="litellm", model="openai/tiny", api_key_env="KEY_FOR_TEST")
    for model in ("huggingface/https://evil.example/", "https://evil.example/x", "voyage/large", "bare", "openai/../x"):
        with pytest.raises(InvalidInput, match="model: "):
            await Embedder(home, mine).embed(["a"], model)
    assert Embedder(home, mine).effective_model("openai/large:2@x") == "openai/large:2@x"
    # Without a key of ours each provider has its own variable.
    free = Embedder(home, config.Embed(provider="litellm", model="openai/tiny"))
    assert free.effective_model("voyage/large") == "voyage/large"
    with pytest.raises(InvalidInput, match="model: "):
        free.effective_model("huggingface/https://evil.example/")
