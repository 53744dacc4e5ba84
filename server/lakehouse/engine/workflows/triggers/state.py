"""What is kept of a trigger between firings: a small file for each, replaced as a whole."""

import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lakehouse.engine import files
from lakehouse.errors import disk_failed

log = logging.getLogger("lakehouse")
KEPT_SECS = 90 * 24 * 3600.0  # of a trigger that stands in no file any more


@dataclass(frozen=True)
class Occasion:
    """Why a trigger fires: the moment it was due, or a version of its dataset and when that was committed."""

    at: float
    version: int = 0
    chain: tuple[str, ...] = ()  # the workflows whose triggers led to it


@dataclass(frozen=True)
class State:
    """How a trigger stands. Moments are seconds since 1970.

    What was due until `seen`, or came with `version` or before, is dealt with; `owed` is to be fired, unless a run of
    its id is there already: it is written down before the run begins.
    """

    workflow: str
    kind: str
    on: str
    seen: float
    version: int = 0
    owed: Occasion | None = None
    runs: tuple[str, ...] = ()  # the newest, last first
    missed: int = 0
    missed_at: float | None = None
    skipped: int = 0
    skipped_at: float | None = None
    failed: str = ""  # why the last firing began no run

    def changed(self, **fields: Any) -> "State":
        """The state with other fields."""
        return replace(self, **fields)


class States:
    """The states of a data directory's triggers, by key. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> State | None:
        """A trigger's state; None: it was never seen, or what is kept of it cannot be read."""
        try:
            found: Mapping[str, Any] = json.loads((self._folder / f"{key}.json").read_bytes())
            owed = found.get("owed")
            if owed is not None:
                owed = Occasion(**{**owed, "chain": tuple(owed["chain"])})
            return State(**{**found, "runs": tuple(found["runs"]), "owed": owed})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("trigger.unread %s: it begins anew: %s", key, error)
            return None

    def put(self, key: str, state: State) -> None:
        """Keep a state. Durable when it returns; raises Upstream where the disk fails."""
        try:
            files.write(self._folder / f"{key}.json", json.dumps(asdict(state)).encode())
        except OSError as error:
            raise disk_failed(error) from error

    def forget(self, but: Collection[str]) -> None:
        """Remove what is kept of triggers that have stood in no file for 90 days."""
        try:
            old = [path for path in self._folder.glob("*.json") if path.stem not in but]
            for path in old:
                if time.time() - path.stat().st_mtime > KEPT_SECS:
                    path.unlink()
        except OSError as error:
            log.warning("trigger.unread %s", error.strerror)
