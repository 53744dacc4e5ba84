"""What is known about the call that runs now: its id, who asked, where its progress goes. Every log event by name."""

import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

log = logging.getLogger("lakehouse")

Progress = Callable[[float, float | None, str], Awaitable[None]]

# Every log line starts with one of these; a test compares them with what the source emits.
EVENTS = {
    "call.crashed": "A capability failed in a way nobody foresaw; the traceback follows.",
    "observer.failed": "An operation could not be recorded; the operation itself is unharmed.",
    "dataset.damaged": "The newest manifest of a dataset cannot be read; the others are unharmed.",
    "plugin.skipped": "A plugin file or package was left out, and why.",
    "plugin.changed": "A plugin changed something of the whole process while it was loaded; it was put back.",
    "storage.secrets_open": "Others than its owner can read the file of credentials.",
    "storage.failed": "A bucket failed at an operation; the caller was told, or its object was rescued.",
    "storage.errors_unkept": "A bucket's failure could not be kept in the data directory's table, or be read from it.",
    "storage.errors_unstored": "A bucket's failure could not be kept in the primary bucket; the table has it.",
    "sql.refresh_failed": "Looking for what other processes committed failed in a way nobody foresaw.",
    "sql.slow": "A query took `sql.slow_ms` or longer: how long, its text, and over which versions.",
    "sql.fetch_failed": "Fetching a dataset's files failed in a way nobody foresaw; the next query tries again.",
    "compact.failed": "Small files of a dataset stay as they are; folding them is tried again after the next commit.",
    "journal.unwritten": "Events of the journal could not be written; what they tell of is done.",
    "journal.flush_failed": "Events stay on the data directory's disk; storing them is tried again.",
    "vectors.compaction_failed": "Graphs and merges wait for the next new segment, or start; searches scan instead.",
    "vectors.seal_failed": "Fresh vectors stay in their log; sealing is tried again after more of them.",
    "vectors.left_incomplete": "What others added while an index was replaced is not in the build before.",
    "vectors.collect_failed": "Objects of an index that nobody needs any more stay until the next time.",
    "attach.failed": "An attached process' connection was dropped; it calls again.",
    "http.refused": "A request was turned away at the door, and why.",
    "http.failed": "A request failed in a way nobody foresaw; the traceback follows.",
    "http.network_ignored": "An entry of a list of addresses is none; it is left out.",
    "hold.lost": "The data directory was removed, moved or replaced while it was open; nothing is done there any more.",
    "attach.closed": "No socket can be had; other processes are told who holds the data directory.",
    "catalogue.cache": "The rendered catalogue could not be read or written; it is rebuilt at each start.",
    "corpus.refresh_failed": "A corpus that follows a dataset stays as it was; what may pass is tried again.",
    "corpus.follower_unread": "What a corpus follows cannot be read; building it again with follow writes it anew.",
    "trigger.disabled": "A trigger of a workflow's file does not fire, and why.",
    "trigger.failed": "A trigger began no run, and why; what may pass is tried again.",
    "trigger.missed": "Times or versions came while nobody watched a trigger; how many.",
    "trigger.own": "A version was made by a run that a trigger of the same workflow led to: it starts no other.",
    "trigger.skipped": "A trigger began no run, as its run before is not over.",
    "trigger.unread": "What is kept of a trigger cannot be read or removed; it begins anew.",
    "workflow.interrupted": "A run was under way when its process closed; it can be resumed.",
    "workflow.crashed": "A run of a workflow ended in a way nobody foresaw; the traceback follows. It can be resumed.",
    "profile.skipped": "A dataset could not be profiled ahead of being asked; asking tries again.",
    "profile.not_kept": "A profile could not be kept in the data directory; it is measured again when it is wanted.",
}


def new_id() -> str:
    """A call id: 22 hex digits that sort by time (microseconds) and do not repeat."""
    return f"{time.time_ns() // 1000:014x}{os.urandom(4).hex()}"


async def no_progress(done: float, total: float | None, message: str) -> None:
    """Nobody asked."""


@dataclass(frozen=True)
class Caller:
    """Who makes a call, through which face (mcp, http, cli, python, workflow), and what is open to them."""

    via: str = "python"
    remote: bool = False  # from another machine: no path of this one is theirs to name
    read_only: bool = False
    toolsets: frozenset[str] = frozenset()  # the tools they may call; empty: all
    name: str = ""  # who it is, where that is known: the name of a token
    profile: str | None = None  # the profile it asks for, or is bound to
    folder: str | None = None  # what relative paths are meant from; None: this process's working directory


@dataclass(frozen=True)
class Call:
    """One call through the door."""

    name: str
    caller: Caller
    parent: str | None = None
    progress: Progress = no_progress
    limit: int | None = None  # bytes of JSON the answer is fitted to; None: all of it
    scope: object = None  # the profile it is bound to, once that is looked up
    workflow: str = ""  # of a node's call: the workflow, the node's path in the run, and the key of that node's effect
    node: str = ""
    key: str = ""
    id: str = field(default_factory=new_id)


current: ContextVar[Call | None] = ContextVar("lakehouse_call", default=None)
