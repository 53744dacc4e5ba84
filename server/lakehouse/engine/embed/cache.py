"""Vectors of texts seen before: the recent ones in memory, many more in a file."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from lakehouse.engine.embed.store import Store
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Entry:
    """One text's vector, never handed out itself, and whether the model cut the text."""

    vector: "np.ndarray"
    truncated: bool


def keys(model: str, texts: Sequence[str]) -> list[str]:
    """`model:sha256 of the text`, per text. Raises InvalidInput for a text that is not valid Unicode."""
    found = []
    for place, text in enumerate(texts):
        try:
            found.append(f"{model}:{hashlib.sha256(text.encode()).hexdigest()}")
        except UnicodeEncodeError:
            raise InvalidInput(f"texts[{place}]: it is not valid Unicode.", fix="Send the text as UTF-8.") from None
    return found


class Cache:
    """Least recently used entries leave memory first. Usable from many threads. `capacity` 0 turns it all off."""

    def __init__(self, capacity: int, store: Store) -> None:
        self._capacity = capacity
        self._store = store
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def recall(self, keys: Sequence[str]) -> dict[str, Entry]:
        """What memory has of these, by key."""
        found: dict[str, Entry] = {}
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is not None:
                    self._entries.move_to_end(key)
                    found[key] = entry
        return found

    async def look_up(self, keys: Sequence[str]) -> dict[str, Entry]:
        """What the file has of these; it is in memory afterwards."""
        if not self._capacity or not keys:
            return {}
        rows = await anyio.to_thread.run_sync(self._store.get, keys)
        found = {key: Entry(vector, truncated) for key, (vector, truncated) in rows.items()}
        self.remember(found)
        return found

    async def keep(self, entries: Mapping[str, Entry]) -> None:
        """Put new entries into memory and into the file."""
        if not self._capacity:
            return
        self.remember(entries)
        rows = {key: (entry.vector, entry.truncated) for key, entry in entries.items()}
        await anyio.to_thread.run_sync(self._store.put, rows)

    def remember(self, entries: Mapping[str, Entry]) -> None:
        """Put entries into memory; the least recently used make room."""
        with self._lock:
            for key, entry in entries.items():
                self._entries[key] = entry
                self._entries.move_to_end(key)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def count(self, hits: int, misses: int) -> None:
        """Add to the statistics."""
        if self._capacity:
            with self._lock:
                self._hits += hits
                self._misses += misses

    def stats(self) -> dict[str, Any]:
        """`enabled`, `hits` and `misses` in texts, `hit_rate` 0 to 1, `size` and `capacity` in entries of memory,
        and `disk`: "ok", "off", or why the file is not in use."""
        with self._lock:
            hits, misses, size = self._hits, self._misses, len(self._entries)
        asked = hits + misses
        return {
            "enabled": self._capacity > 0,
            "hits": hits,
            "misses": misses,
            "hit_rate": hits / asked if asked else 0.0,
            "size": size,
            "capacity": self._capacity,
            "disk": (self._store.problem or "ok") if self._capacity else "off",
        }

    async def aclose(self) -> None:
        """Close the file."""
        await anyio.to_thread.run_sync(self._store.close)
