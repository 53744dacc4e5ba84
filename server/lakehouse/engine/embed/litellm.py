"""Vectors from any provider litellm knows. Importing litellm takes 6 to 10 s, so it waits for the first text."""

import os
import re
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.embed.provider import Batch, EmbedFailed, as_matrix, redacted
from lakehouse.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import numpy as np

# litellm's own limit ends a thread that the batch's deadline has left behind; it must not be met before.
GRACE_SECS = 5.0
# Threads that may wait for a provider: one that drips its answer keeps them past every limit, and takes no others.
WAITING = 16
_MODEL = re.compile(r"(?!.*(?://|\.\.))[\w./:@+ -]+", re.ASCII)


def load() -> ModuleType:
    """litellm without telemetry, network at import or a stranger's `.env` file. Blocks for seconds the first time."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise the import fetches a price list
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # otherwise it reads .env files above its own folder
    import litellm

    settings: Any = litellm
    settings.telemetry = False
    settings.suppress_debug_info = True
    settings.DEFAULT_MAX_RETRIES = 0  # a `max_retries` of 0 is taken for "not given"; failures are the caller's to see
    return litellm


def key_of(variable: str, whose: str, setting: str) -> str:
    """The key in an environment variable; empty where no variable is set. Raises Unavailable when it holds none."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise Unavailable(
            f"the environment variable {variable} is empty.", fix=f"Put the {whose}'s key there, or unset {setting}."
        )
    return key


def told(model: str, error: Exception, key: str) -> str:
    """What went wrong: the provider's status and words, without the key."""
    status = getattr(error, "status_code", None)
    said = redacted(str(error), key) or type(error).__name__
    return f"{model} failed{f' with {status}' if status else ''}: {said}"


class Litellm:
    """The provider of `embed.model`, a name as litellm spells it: `openai/text-embedding-3-small`."""

    def __init__(self, settings: config.Embed) -> None:
        self._settings = settings
        self._loading = anyio.CapacityLimiter(1)
        self._asking = anyio.CapacityLimiter(WAITING)

    def identity(self, model: str) -> str:
        """The model's name as litellm spells it. Callers choose it, and litellm takes from it where the key is sent.

        Raises InvalidInput when neither the call nor embed.model has one, for what is no name, such as an address, and
        for a model of another provider than that of embed.model, whose key or api_base is set.
        """
        name = model or self._settings.model
        if not name:
            raise InvalidInput(
                "model: none is given and embed.model is not set.",
                fix="Set embed.model to a name litellm knows, for instance openai/text-embedding-3-small.",
            )
        ours, asked = (each.partition("/")[0] if "/" in each else "" for each in (self._settings.model, name))
        bound = self._settings.model and (self._settings.api_key_env or self._settings.api_base)
        if not _MODEL.fullmatch(name) or (bound and asked != ours):
            raise InvalidInput(
                f"model: {name[:80]!r} is not one that may be asked for here.",
                fix=f"Leave it out, or name one of the provider of {self._settings.model or 'your key'}.",
            )
        return name

    async def embed(self, texts: Sequence[str], identity: str) -> Batch:
        """One row per text, in order. Raises EmbedFailed with the provider's status and words, without the key."""
        key = key_of(self._settings.api_key_env, "provider", "embed.api_key_env")
        litellm = await anyio.to_thread.run_sync(load, limiter=self._loading)
        ask = partial(self._ask, litellm, list(texts), identity, key)
        vectors = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._asking)
        return Batch(vectors, [False] * len(texts))

    def _ask(self, litellm: ModuleType, texts: list[str], model: str, key: str) -> "np.ndarray":
        try:
            answer = litellm.embedding(
                model=model,
                input=texts,
                api_key=key or None,
                api_base=self._settings.api_base or None,
                timeout=self._settings.batch_timeout_secs + GRACE_SECS,
                max_retries=0,
                encoding_format="float",
            )
            ordered = sorted(answer.data, key=lambda item: item["index"])
            rows = [item["embedding"] for item in ordered]
        # litellm has a class of error for every status and provider, and lets those of its libraries through.
        except Exception as error:
            raise EmbedFailed(
                told(model, error, key),
                fix="Check embed.model, embed.api_base and the key in the variable embed.api_key_env names.",
            ) from None
        return as_matrix(rows, len(texts), model)

    async def aclose(self) -> None:
        """litellm keeps its own connections."""
