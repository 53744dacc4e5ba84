"""What is kept of a run: who started it, what it runs, how each node fared, and what happened when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

RunStatus = Literal["running", "completed", "failed", "cancelled", "paused"]
NodeStatus = Literal["pending", "running", "completed", "failed", "skipped", "paused"]
SETTLED = frozenset({"completed", "failed", "skipped"})
OVER = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Starter:
    """Who started a run, as far as it decides what the run may do. See observe.Caller, which it is made of."""

    via: str = "python"
    remote: bool = False
    read_only: bool = False
    toolsets: tuple[str, ...] = ()
    name: str = ""
    profile: str | None = None
    folder: str | None = None  # where its shell stands

    @property
    def shell(self) -> bool:
        """Whether it is somebody at this machine's own command line, or a program on it."""
        return self.via in ("cli", "python") and not self.remote


@dataclass(frozen=True)
class Failure:
    """Why a node failed, as the error that ended it has it."""

    code: str
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class NodeRecord:
    """One node of a run. `path` is its id, and within a loop group `group#2/id`: the second iteration's.

    `text` is its output; `typed` says that it is the JSON of a value.
    """

    path: str
    kind: str
    status: NodeStatus = "pending"
    reason: str = ""  # of a skip: trigger_rule, when_condition, when_condition_parse_error; of a success: idle
    text: str = ""
    typed: bool = False
    failure: Failure | None = None
    started_at: float | None = None  # seconds since 1970
    ended_at: float | None = None
    attempts: int = 0
    ops: tuple[str, ...] = ()
    cost_usd: float = 0.0
    tokens: int = 0
    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)  # what its kind keeps: a gate's decisions, a session

    def changed(self, **fields: Any) -> "NodeRecord":
        """The record with other fields."""
        return replace(self, **fields)


@dataclass(frozen=True)
class Planned:
    """A node as the workflow has it: enough to tell of one that has no record yet."""

    id: str
    kind: str
    depends_on: tuple[str, ...] = ()
    mode: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run. `bundle` is the text of the workflow and of all it reads, as they were when it started."""

    id: str
    workflow: str
    bundle: Mapping[str, Any]
    inputs: Mapping[str, Any]
    message: str
    starter: Starter
    status: RunStatus = "running"
    started_at: float = 0.0
    ended_at: float | None = None
    error: Failure | None = None
    result: str = ""
    outcome: bool | None = None
    parent: str | None = None  # the run whose node started this one
    rerun_of: str | None = None
    depth: int = 0
    plan: tuple["Planned", ...] = ()  # its nodes in the order of the file
    dry: Mapping[str, Any] | None = None  # of a dry run, which is kept nowhere: what it was given

    def changed(self, **fields: Any) -> "RunRecord":
        """The record with other fields."""
        return replace(self, **fields)


WARNED = "warned"  # the kind of an event that tells of something strange, as its `message`
MAX_WARNINGS = 50
MAX_NAMED = 3  # nodes in one warning


class Warnings:
    """What is told of a run by events of that kind: each thing once, with the nodes it is told of."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, path: str, data: Mapping[str, Any]) -> None:
        """One more event; what comes after the first MAX_WARNINGS is left out."""
        message = str(data["message"])
        if message in self._found or len(self._found) < MAX_WARNINGS:
            paths = self._found.setdefault(message, [])
            if path and path not in paths:
                paths.append(path)

    def told(self) -> list[str]:
        """In words: `a, b, c and 5 more: message`."""
        return [f"{_names(paths)}: {message}" if paths else message for message, paths in self._found.items()]


def _names(paths: Sequence[str]) -> str:
    more = len(paths) - MAX_NAMED
    return ", ".join(paths[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Event:
    """Something that happened in a run: `node_started`, `node_retried`, `iteration`, `tool_called`, `run_paused`, …"""

    at: float
    kind: str
    path: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
