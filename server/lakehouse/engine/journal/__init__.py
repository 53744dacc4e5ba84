"""The journal of mutations: who changed what, when, from what to what. Events are added, and never changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from lakehouse.engine import moment
from lakehouse.engine.acting import acting
from lakehouse.engine.log import Log


class Journal:
    """Events of one data directory."""

    def __init__(self, home: Path) -> None:
        self._log = Log(home / "journal" / "ahead.jsonl")

    async def record(
        self,
        action: str,
        entity_type: str,
        entity_id: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one event: what was done (commit, drop, put, …) to what (dataset, object, index, …).

        `before` and `after` are what of it changed, small and without credentials.
        """
        actor = acting.get()
        event = {
            "ts": moment.now(),
            "actor": actor.name,
            "action": action,
            "entity_type": entity_type,
            "entity_id": entity_id,
            "before": before,
            "after": after,
            "correlation_id": actor.call,
        }
        await anyio.to_thread.run_sync(self._log.append, [event])

    async def aclose(self) -> None:
        """Write what is still held."""
        await anyio.to_thread.run_sync(self._log.close)
