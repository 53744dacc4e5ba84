"""Vectors from hashed words: the same everywhere, no model, no meaning. For tests.

Texts that share words are near each other; no two texts that differ have the same vector.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse.engine.embed.provider import Batch
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

DIMENSION = 256
IDENTITY = f"hash-{DIMENSION}"
_WORD = re.compile(r"\w+")


class Hash:
    """The provider of hashed vectors: 256 components, unit length."""

    def identity(self, model: str) -> str:
        """Always `hash-256`. Raises InvalidInput for any other model."""
        if model not in ("", IDENTITY):
            raise InvalidInput(f"model: there is no model {model!r} here.", fix=f"There is: {IDENTITY}.")
        return IDENTITY

    async def embed(self, texts: Sequence[str], identity: str) -> Batch:
        """One unit vector per text."""
        return Batch(await anyio.to_thread.run_sync(_vectors, texts), [False] * len(texts))

    async def aclose(self) -> None:
        """There is nothing to give back."""


def _vectors(texts: Sequence[str]) -> "np.ndarray":
    import numpy as np

    out = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(out, texts, strict=True):
        for word in _WORD.findall(text.lower()):
            place = hashlib.blake2b(word.encode(), digest_size=3).digest()
            row[place[0]] += 1.0 if place[1] & 1 else -1.0
        # A whisper of the whole text keeps apart those with the same words in another order.
        whole = np.frombuffer(hashlib.shake_128(text.encode()).digest(DIMENSION), np.uint8)
        row += (whole.astype(np.float32) - 127.5) / 10_000
        row /= np.linalg.norm(row)
    return out
