"""Vectors from an Ollama server: the batch route, and the older one of a text at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.embed.provider import Batch, EmbedFailed, as_matrix, redacted

if TYPE_CHECKING:
    import httpx

DEFAULT_MODEL = "nomic-embed-text"
PREFIX = "ollama/"
# What servers answer on a route they do not have.
_NO_ROUTE = (404, 405, 501)


def loopback(url: str) -> bool:
    """Whether a URL is of this machine: a proxy that the environment names has no business with it."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


class Ollama:
    """The provider behind `embed.ollama_url`."""

    def __init__(self, settings: config.Embed) -> None:
        self._settings = settings
        self._url = settings.ollama_url.rstrip("/")
        self._who = f"Ollama at {redacted(self._url)}"
        self._client: httpx.AsyncClient | None = None
        self._opening = anyio.Lock()

    def identity(self, model: str) -> str:
        """`ollama/` and the model's name; the setting `embed.model`, else nomic-embed-text, by default."""
        return PREFIX + (model or self._settings.model or DEFAULT_MODEL).removeprefix(PREFIX)

    async def embed(self, texts: Sequence[str], identity: str) -> Batch:
        """One row per text, in order. Raises EmbedFailed with the server's status and words."""
        model = identity.removeprefix(PREFIX)
        status, answer = await self._post("/api/embed", {"model": model, "input": list(texts)})
        if status in _NO_ROUTE:
            rows = [await self._one(model, text) for text in texts]
        else:
            rows = self._field(status, answer, "embeddings")
        # Half a million numbers of a long batch take 40 ms to convert.
        vectors = await anyio.to_thread.run_sync(as_matrix, rows, len(texts), self._who)
        return Batch(vectors, [False] * len(texts))

    async def _one(self, model: str, text: str) -> Any:
        status, answer = await self._post("/api/embeddings", {"model": model, "prompt": text})
        return self._field(status, answer, "embedding")

    def _field(self, status: int, answer: Any, name: str) -> Any:
        if status != 200:
            said = answer.get("error", answer) if isinstance(answer, dict) else answer
            raise EmbedFailed(
                f"{self._who} answered {status}: {redacted(str(said))}",
                fix="Pull the model with `ollama pull`, or set embed.model to one that `ollama list` shows.",
            )
        if not isinstance(answer, dict) or name not in answer:
            raise EmbedFailed(f"{self._who} answered without {name!r}.", fix="Check that embed.ollama_url is Ollama's.")
        return answer[name]

    async def _post(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the answer: JSON when it is, else text."""
        client = await self._open()
        import httpx  # here, because the thread that made the client has loaded it by now

        try:
            response = await client.post(self._url + route, json=body)
        except httpx.HTTPError as error:
            raise EmbedFailed(
                f"{self._who} could not be asked: {redacted(str(error)) or type(error).__name__}.",
                fix="Start it with `ollama serve`, or set embed.ollama_url.",
            ) from error
        try:
            return response.status_code, await anyio.to_thread.run_sync(response.json)
        except (ValueError, RecursionError):
            if response.status_code == 200:
                raise EmbedFailed(
                    f"{self._who} answered with something that is not JSON.", fix="Check embed.ollama_url."
                ) from None
            return response.status_code, response.text

    async def _open(self) -> "httpx.AsyncClient":
        async with self._opening:
            if self._client is None:
                self._client = await anyio.to_thread.run_sync(self._new_client)
            return self._client

    def _new_client(self) -> "httpx.AsyncClient":
        import httpx

        # The batch's deadline is the caller's.
        return httpx.AsyncClient(timeout=None, trust_env=not loopback(self._url), verify=self._url.startswith("https"))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
