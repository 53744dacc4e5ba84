"""Calls kept whole, arguments and answers, where the settings ask for it: what a workflow can be made of later."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from pydantic_core import from_json, to_json

from lakehouse.engine.log import Log
from lakehouse.engine.redact import MARK, Redactor, secret_name

SETTING = "observer.keep_bytes"
_LOOKED_THROUGH = 100_000


class Kept:
    """A journal of whole calls, without credentials, beside the one of summaries."""

    def __init__(self, home: Path, limit: int, redact: Redactor) -> None:
        """`limit` is how many bytes of JSON one call may take; of a longer one only its name is kept. 0: nothing."""
        self.limit = limit
        self._log = Log(home / "observer" / "calls.jsonl")
        self._redact = redact
        self._thread = anyio.CapacityLimiter(1)

    async def put(self, about: Mapping[str, Any], arguments: Any, answer: Any) -> None:
        """Keep a call; `about` has its `id`, `op`, `source`, `parent`, `ts` and `success`. Raises OSError."""

        def write() -> None:
            try:
                whole = {"arguments": masked(arguments, self._redact), "answer": masked(answer, self._redact)}
                data = to_json(whole, inf_nan_mode="null")
                kept = from_json(data) if len(data) <= self.limit else {"cut": True}
            except (ValueError, RecursionError):  # half a character, which JSON cannot carry; or too deep for it
                kept = {"cut": True}
            self._log.append([{**about, **kept}])

        await anyio.to_thread.run_sync(write, limiter=self._thread)

    async def newest(self, count: int = _LOOKED_THROUGH) -> list[dict[str, Any]]:
        """The newest calls, oldest first."""
        tail = await anyio.to_thread.run_sync(self._log.tail, count, limiter=self._thread)
        return sorted(tail.records, key=lambda one: str(one["ts"]))

    async def aclose(self) -> None:
        """Close the journal."""
        await anyio.to_thread.run_sync(self._log.close, limiter=self._thread)


def masked(value: Any, redact: Redactor) -> Any:
    """JSON without credentials: those that are known, and whatever is called like one."""
    if isinstance(value, Mapping):
        return {
            key: MARK if inner is not None and secret_name(str(key)) else masked(inner, redact)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(inner, redact) for inner in value]
    return redact.whole(value)
