"""A run while it runs: its record, where its nodes are kept, and what they are given to work with."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import anyio

from lakehouse import config
from lakehouse.engine.workflows.language import Loaded
from lakehouse.engine.workflows.model import Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.runs import Event, NodeRecord, RunRecord, Store


class Children(Protocol):
    """Workflows.child, of one run."""

    async def __call__(
        self,
        path: str,
        workflow: str,
        *,
        index: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        message: str = "",
    ) -> RunRecord:
        """Run a workflow below the node of this path, and wait until it ends or pauses."""


class Live:
    """One run of this process."""

    def __init__(
        self,
        record: RunRecord,
        workflow: Workflow,
        store: Store,
        door: Door,
        settings: config.Workflows,
        folder: Path,
        *,
        shell: bool,
        above: "tuple[Live, str] | None" = None,
    ) -> None:
        """`folder` is the run's own; `shell` whether bash and scripts are open to it.

        `above` is the run a child belongs to, and the path of its node that started it: they share their places, and
        the child ends with it.
        """
        self.record = record
        self.workflow = workflow
        self.store = store
        self.door = door
        self.settings = settings
        self.folder = folder
        self.shell = shell
        self.above = above
        self.places: anyio.Semaphore = (
            above[0].places if above else anyio.Semaphore(settings.at_once, fast_acquire=True)
        )
        self.children: Children | None = None  # runs other workflows below this one: see Workflows.child
        self._children: set[Live] = set()
        self.nodes: dict[str, NodeRecord] = {}  # by path, as they are now
        self.cancelled_for: str | None = None  # why it is being cancelled
        self.scope = anyio.CancelScope()
        self.heard = anyio.Event()  # set, and replaced, at everything that happens
        self._beats: dict[str, Callable[[], None]] = {}

    def tell(self, kind: str, path: str = "", **data: Any) -> None:
        """Keep an event, with the next write, and wake who watches."""
        self.store.tell(self.record.id, Event(time.time(), kind, path, data))
        heard, self.heard = self.heard, anyio.Event()
        heard.set()

    def beat(self, path: str) -> None:
        """A node showed life."""
        if path in self._beats:
            self._beats[path]()

    async def keep(self, node: NodeRecord) -> None:
        """Make a node's record durable."""
        self.nodes[node.path] = node
        await self.store.put_node(self.record.id, node)

    async def keep_extra(self, path: str, extra: Mapping[str, Any]) -> None:
        """Make durable what a node needs when the run is resumed."""
        found = self.nodes[path]
        await self.keep(found.changed(extra={**found.extra, **extra}))

    async def keep_run(self, **fields: Any) -> None:
        """Make a change of the run's own record durable."""
        self.record = self.record.changed(**fields)
        await self.store.put_run(self.record)

    def adopt(self, child: "Live") -> None:
        """A run that belongs to this one begins: it is cancelled with it."""
        self._children.add(child)

    def release(self, child: "Live") -> None:
        """It ended."""
        self._children.discard(child)

    def cancel(self, reason: str) -> None:
        """End it: what runs is ended, nothing more starts."""
        if self.cancelled_for is None:
            self.cancelled_for = reason
        for child in tuple(self._children):
            child.cancel(reason)
        self.scope.cancel()


__all__ = ["Live", "Loaded"]
