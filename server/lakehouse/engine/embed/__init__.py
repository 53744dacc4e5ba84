"""Texts to vectors: the provider the settings name, behind a cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.embed.cache import Cache, Entry, keys
from lakehouse.engine.embed.provider import Batch, EmbedFailed, Provider
from lakehouse.engine.embed.store import Store
from lakehouse.errors import InvalidInput, TimedOut, TooLarge

if TYPE_CHECKING:
    import numpy as np

MAX_MODEL_CHARS = 200
MAX_BATCHES = 8  # with the provider at once; others wait, within the batch's deadline
# Hashing this much takes about a millisecond; more is done off the event loop.
INLINE_CHARS = 256 * 1024


@dataclass(frozen=True)
class Embedded:
    """Vectors of a batch of texts, in order: float32, one row a text, the caller's own copy.

    `model` is the identity that indexes pin. `truncated` is how many texts the model read only the beginning of, as
    far as the provider says (the bundled one does).
    """

    model: str
    dimension: int
    vectors: "np.ndarray"
    truncated: int = 0


class Embedder:
    """Vectors for texts, from the cache where it has them. Errors are never cached."""

    def __init__(self, home: Path, settings: config.Embed) -> None:
        self._settings = settings
        self._provider = _provider(settings)
        self._cache = Cache(settings.cache_size, Store(home / "cache" / "embeddings.sqlite", settings.disk_cache_bytes))
        self._dimensions: dict[str, int] = {}
        self._batches = anyio.CapacityLimiter(MAX_BATCHES)

    @property
    def remote(self) -> bool:
        """Whether another process embeds, so that several batches at a time are faster than one after another."""
        return self._settings.provider in ("ollama", "litellm")

    def effective_model(self, model: str | None = None) -> str:
        """The identity of a model, as cached and as pinned in indexes; None or "" means the configured default.

        An identity is itself a valid `model`. Raises InvalidInput for a model the provider cannot have.
        """
        name = (model or "").strip()
        if len(name) > MAX_MODEL_CHARS or not name.isprintable():
            raise InvalidInput("model: it is too long or not printable.", fix="Name a model, or leave it out.")
        return self._provider.identity(name)

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embedded:
        """Vectors of texts, in order, all within one deadline of `embed.batch_timeout_secs`.

        Only texts the cache lacks go to the provider, each once. Raises InvalidInput for no text, an empty or blank
        text and an unknown model, TooLarge for over `embed.max_texts`, EmbedFailed when the provider fails and
        TimedOut when the deadline passes.
        """
        identity = self.effective_model(model)
        self._check(texts)
        if sum(map(len, texts)) <= INLINE_CHARS:
            wanted = keys(identity, texts)
        else:
            wanted = await anyio.to_thread.run_sync(keys, identity, texts)
        found = self._cache.recall(wanted)
        missing = {key: text for key, text in zip(wanted, texts, strict=True) if key not in found}
        if missing:
            stored = await self._cache.look_up(list(missing))
            found |= stored
            missing = {key: text for key, text in missing.items() if key not in stored}
        self._cache.count(len(texts) - len(missing), len(missing))
        if missing:
            batch = await self._fetch(list(missing.values()), identity)
            fresh = {
                key: Entry(row.copy(), bool(cut))
                for key, row, cut in zip(missing, batch.vectors, batch.truncated, strict=True)
            }
            await self._cache.keep(fresh)
            found |= fresh
        return self._joined(identity, [found[key] for key in wanted])

    async def dimension(self, model: str | None = None) -> int:
        """How many components the vectors of a model have. Asks the provider once. Raises what `embed` raises."""
        identity = self.effective_model(model)
        if identity not in self._dimensions:
            await self.embed(["dimension"], identity)
        return self._dimensions[identity]

    def stats(self) -> dict[str, Any]:
        """How the cache does: see `Cache.stats`."""
        return self._cache.stats()

    async def aclose(self) -> None:
        """Close connections and the cache file."""
        await self._provider.aclose()
        await self._cache.aclose()

    def _check(self, texts: Sequence[str]) -> None:
        if isinstance(texts, str) or not texts:
            raise InvalidInput("texts: a list of at least one text is needed.", fix='Send {"texts": ["…"]}.')
        if len(texts) > self._settings.max_texts:
            raise TooLarge(
                f"texts: {len(texts)} are over the limit of {self._settings.max_texts}.",
                fix="Send them in several calls, or raise embed.max_texts.",
            )
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidInput(f"texts[{place}]: it is not a text.", fix="Send strings only.")
            if not text or text.isspace():
                raise InvalidInput(f"texts[{place}]: it is empty.", fix="Leave empty texts out.")

    async def _fetch(self, texts: list[str], identity: str) -> Batch:
        limit = self._settings.batch_timeout_secs
        with anyio.move_on_after(limit):
            async with self._batches:
                return await self._provider.embed(texts, identity)
        raise TimedOut(
            f"{identity} took over {limit:g} seconds for {len(texts)} texts.",
            fix="Send fewer texts at a time, or raise embed.batch_timeout_secs.",
        )

    def _joined(self, identity: str, entries: Sequence[Entry]) -> Embedded:
        import numpy as np

        width = self._dimensions[identity] = len(entries[0].vector)
        vectors = np.empty((len(entries), width), np.float32)
        for row, entry in zip(vectors, entries, strict=True):
            if len(entry.vector) != width:
                raise EmbedFailed(
                    f"{identity} gave vectors of {width} and of {len(entry.vector)} components.",
                    fix="The model behind the name has changed: give the new one a name of its own.",
                )
            row[:] = entry.vector
        return Embedded(identity, width, vectors, sum(entry.truncated for entry in entries))


def _provider(settings: config.Embed) -> Provider:
    """The provider the settings name; what it needs is imported when it is used."""
    if settings.provider == "ollama":
        from lakehouse.engine.embed.ollama import Ollama

        return Ollama(settings)
    if settings.provider == "litellm":
        from lakehouse.engine.embed.litellm import Litellm

        return Litellm(settings)
    if settings.provider == "hash":
        from lakehouse.engine.embed.hash import Hash

        return Hash()
    from lakehouse.engine.embed.bundled import Bundled

    return Bundled()


__all__ = ["EmbedFailed", "Embedded", "Embedder"]
