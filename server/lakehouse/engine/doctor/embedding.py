"""Whether texts can be embedded."""

import os
from urllib.parse import urlsplit

import anyio.to_thread

from lakehouse.config import Settings
from lakehouse.engine import files
from lakehouse.engine.doctor.check import Check, bad, good
from lakehouse.engine.doctor.packages import DISTRIBUTION

OLLAMA_SECS = 3.0


async def check_embedding(settings: Settings) -> list[Check]:
    """Whether the configured provider has what it needs. Nothing that may cost money is called."""
    embed = settings.config.embed
    if embed.provider == "bundled":
        return await anyio.to_thread.run_sync(_bundled, abandon_on_cancel=True)
    if embed.provider == "hash":
        return good("embedding", "the hash provider, whose vectors have no meaning; it is for tests")
    if embed.provider == "ollama":
        return []  # the check of Ollama is the required one then
    if not embed.model:
        return bad("embedding", "embed.provider is litellm and embed.model is not set.", "Set embed.model.")
    if embed.api_key_env and not os.environ.get(embed.api_key_env, "").strip():
        return bad(
            "embedding",
            f"the environment variable {embed.api_key_env}, which embed.api_key_env names, is empty.",
            f"Put the provider's key into {embed.api_key_env}.",
        )
    return good("embedding", f"{embed.model} through litellm; it was not called, since that may cost money")


def _bundled() -> list[Check]:
    from lakehouse.engine.embed import bundled

    try:
        same = files.sha256_of(bundled.pack_path()) == bundled.PACK_SHA256
    except (ImportError, OSError) as error:
        return bad("embedding", f"the bundled model is not there: {type(error).__name__}.", bundled.REINSTALL)
    if not same:
        return bad("embedding", "the bundled model's file is not the one this version was made for.", bundled.REINSTALL)
    if not bundled.GRAPH.is_file():
        return bad(
            "embedding", "the bundled model's graph is missing.", f"pip install --force-reinstall {DISTRIBUTION}"
        )
    return good("embedding", f"{bundled.IDENTITY}, bundled")


def check_ollama(settings: Settings) -> list[Check]:
    """Whether an Ollama answers and has the model. It is required only where it is the provider."""
    import httpx

    from lakehouse.engine.embed.ollama import DEFAULT_MODEL, PREFIX, loopback

    embed = settings.config.embed
    required = embed.provider == "ollama"
    wanted = (embed.model if required else "").removeprefix(PREFIX) or DEFAULT_MODEL
    place = urlsplit(embed.ollama_url)
    shown = f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
    try:
        url = embed.ollama_url.rstrip("/")
        answer = httpx.get(f"{url}/api/tags", timeout=OLLAMA_SECS, trust_env=not loopback(url))
        answer.raise_for_status()
        models = [str(model["name"]) for model in answer.json()["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return bad(
            "ollama",
            f"no Ollama answers at {shown}: {type(error).__name__}.",
            f"Start it with `ollama serve`, then `ollama pull {wanted}`; or set embed.ollama_url.",
            required=required,
        )
    if wanted in models or f"{wanted}:latest" in models:
        return good("ollama", f"{shown} has {wanted}", required=required)
    return bad("ollama", f"{shown} does not have {wanted}.", f"ollama pull {wanted}", required=required)
