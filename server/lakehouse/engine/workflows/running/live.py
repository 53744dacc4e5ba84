"""A run while it runs: its record, where its nodes are kept, and what they are given to work with."""

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from lakehouse import config
from lakehouse.engine.workflows.model import Workflow
from lakehouse.engine.workflows.ports import Door
from lakehouse.engine.workflows.runs import Event, NodeRecord, RunRecord, Store
from lakehouse.engine.workflows.runs.again import again, ordered
from lakehouse.engine.workflows.runs.record import MAX_WARNINGS, WARNED, Warnings
from lakehouse.errors import LakehouseError, TooLarge

if TYPE_CHECKING:
    from lakehouse.engine.workflows.running.dry import Dry


MAX_LATEST = 256  # events that who watches may come late for


class Children(Protocol):
    """Present.child, of one run."""

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
        dry: "Dry | None" = None,
    ) -> None:
        """`folder` is the run's own; `shell` whether bash and scripts are open to it.

        `above` is the run a child belongs to, and the path of its node that started it: they share their places and
        their budget, and the child ends with it. `dry` is what a dry run answers in place of models and modes.
        """
        self.record = record
        self.workflow = workflow
        self.store = store
        self.door = door
        self.settings = settings
        self.folder = folder
        self.shell = shell
        self.above = above
        self.dry = dry
        self.places: anyio.Semaphore = (
            above[0].places if above else anyio.Semaphore(settings.at_once, fast_acquire=True)
        )
        self.nodes: dict[str, NodeRecord] = {}  # by path, as they are now
        self.running: dict[str, anyio.CancelScope] = {}  # the attempts under way, by path
        self.settled: set[str] = set()  # nodes of the workflow itself that ended
        self.unsaved: set[str] = set()  # paths of records that the store does not have yet
        self.cancelled_for: str | None = None  # why it is being cancelled
        self.stopped: LakehouseError | None = None  # why nothing more starts: a budget
        self.broken: LakehouseError | None = None  # the store failed: what it holds is how far the run came
        self.scope = anyio.CancelScope()
        self.cost_usd = 0.0  # of its nodes and of its children's
        self.children: Children | None = None  # runs other workflows below this one: see Present.child
        self.below: list[Live] = []  # those that run now
        self.passed: dict[str, float] = {}  # of that, what runs below cost, by the path of the node that runs them
        self._idle: dict[str, tuple[float, float]] = {}  # seconds of silence, and when its time is up, by path
        self._heard: anyio.Event | None = None
        self.happened = 0  # events so far
        self.warnings = Warnings()  # what was found strange since this process runs it
        self.latest: deque[tuple[str, str]] = deque(maxlen=MAX_LATEST)  # the kind and path of the newest
        self._last = record.started_at

    @property
    def heard(self) -> anyio.Event:
        """Set at the next thing that happens; ask again for the one after."""
        if self._heard is None:
            self._heard = anyio.Event()
        return self._heard

    def now(self) -> float:
        """The time, in seconds since 1970; where the clock is set back, as it was: what comes later is never before."""
        self._last = max(self._last, time.time())
        return self._last

    def goes_on(self, nodes: Mapping[str, NodeRecord]) -> None:
        """Take over what is kept of nodes."""
        self.nodes.update({path: again(node) for path, node in nodes.items()})
        known = (at for node in nodes.values() for at in (node.started_at, node.ended_at) if at is not None)
        self._last = max(self._last, *known, 0.0)

    def tell(self, kind: str, path: str = "", **data: Any) -> None:
        """Keep an event, with the next write, and wake who watches."""
        self.store.tell(self.record.id, Event(self.now(), kind, path, data))
        if kind == WARNED:
            self.warnings.add(path, data)
        self.happened += 1
        self.latest.append((kind, path))
        if self._heard is not None:
            self._heard.set()
            self._heard = None

    def tell_end(self, record: NodeRecord) -> None:
        """Keep that a node has ended or waits, as an event."""
        self.tell(f"node_{record.status}", record.path, **({"reason": record.reason} if record.reason else {}))

    def warn(self, *messages: str, path: str = "") -> None:
        """Keep, and have told, what is strange about a node, or about the run's file."""
        for message in messages[:MAX_WARNINGS]:
            self.tell(WARNED, path, message=message)

    def watch(self, path: str, scope: anyio.CancelScope, idle: float, until: float) -> None:
        """Have an attempt end after so many seconds without a beat, or at a moment of the loop's clock."""
        self.running[path] = scope
        self._idle[path] = (idle, until)
        scope.deadline = min(anyio.current_time() + idle, until)

    def unwatch(self, path: str) -> None:
        """An attempt is over."""
        del self.running[path], self._idle[path]

    def beat(self, path: str) -> None:
        """A node showed life."""
        if path in self.running:
            idle, until = self._idle[path]
            self.running[path].deadline = min(anyio.current_time() + idle, until)

    async def keep(self, *nodes: NodeRecord) -> None:
        """Make records of nodes durable, in one commit. Raises Upstream when the disk fails; then the run ends."""
        self.nodes.update({node.path: node for node in nodes})
        await self.save(*(node.path for node in nodes))

    async def save(self, *paths: str) -> None:
        """Make nodes durable as they are in `nodes`, in one commit. Raises as `keep` does."""
        try:
            await self.store.put_nodes(self.record.id, paths, self.nodes)
        except TooLarge:  # of what one node keeps: that node fails
            raise
        except LakehouseError as error:
            self.broken = error
            raise
        self.unsaved.difference_update(paths)

    async def keep_extra(self, path: str, extra: Mapping[str, Any]) -> None:
        """Make durable what a node needs when the run is resumed."""
        found = self.nodes[path]
        await self.keep(found.changed(extra={**found.extra, **extra}))

    async def keep_run(self, **fields: Any) -> None:
        """Make a change of the run's own record durable."""
        record = self.record.changed(**fields)
        try:
            await self.store.put_run(record)
        except LakehouseError as error:
            self.broken = error
            raise
        self.record = record

    def spend(self, usd: float) -> None:
        """Count what a call cost, here and in the runs above. A run over its budget starts nothing more."""
        self.cost_usd += usd
        limit = self.workflow.max_cost_usd
        if limit is not None and self.cost_usd > limit and self.stopped is None:
            self.stopped = TooLarge(
                f"the run cost ${self.cost_usd:.4f}, more than its max_cost_usd of {limit:g}.",
                fix="Raise max_cost_usd in the workflow's file, or let it do less.",
            )
        if self.above:
            live, path = self.above
            live.passed[path] = live.passed.get(path, 0.0) + usd
            live.spend(usd)

    @property
    def refusal(self) -> LakehouseError | None:
        """Why nothing more starts, here or in a run above."""
        return self.stopped or (self.above[0].refusal if self.above else None)

    @property
    def closing(self) -> bool:
        """Whether nothing more starts."""
        return self.cancelled_for is not None or self.refusal is not None

    @property
    def ended_from_above(self) -> bool:
        """Whether the run it belongs to ends it. Where a lake closes nobody does: what runs can be resumed."""
        if self.above is None:
            return False
        live, path = self.above
        attempt = live.running.get(path)
        return live.scope.cancel_called or (attempt is not None and attempt.cancel_called) or live.ended_from_above

    def cancel(self, reason: str) -> None:
        """End it and its children: what runs is ended, nothing more starts."""
        if self.cancelled_for is None:
            self.cancelled_for = reason
        for child in self.below:
            child.cancel(reason)
        self.scope.cancel()

    def asked(self, provider: str, model: str) -> tuple[str, str]:
        """The provider and the model that a run's starter has these names of a file stand for."""
        root = self
        while root.above is not None:
            root = root.above[0]
        named = root.record.bundle.get("providers", {})
        for name in (f"{provider}:{model}", model, provider):
            if name in named:
                return "", named[name]
        return provider, model

    def records(self) -> tuple[NodeRecord, ...]:
        """All nodes as they are now, in the order of the file; those of a loop group behind it, as they began."""
        return ordered(self.workflow.nodes, self.nodes)

    def told(self, after: int) -> list[str]:
        """What happened after so many events, in words, as far as that is still known."""
        new = min(self.happened - after, len(self.latest))
        return [f"{path or 'run'} {_words(kind)}" for kind, path in list(self.latest)[-new:] if new]

    def doing(self) -> str:
        """The paths of the nodes that run."""
        return ", ".join(self.running)


def _words(kind: str) -> str:
    """What an event says of its node or run: `started`, `iteration`, `tool called`."""
    return kind.removeprefix("node_").removeprefix("run_").replace("_", " ")
