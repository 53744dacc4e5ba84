"""One attempt at one node: what its kind works with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.ports import Asked
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.errors import TooLarge

if TYPE_CHECKING:
    from lakehouse.engine.workflows.running.live import Live


class Pause(Exception):
    """A gate waits for somebody; `extra` is what it needs to go on, `message` what it asks."""

    def __init__(self, message: str, extra: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.message, self.extra = message, extra


class Stop(Exception):
    """The run is to be cancelled, for this reason."""


@dataclass
class Step:
    """A node of a live run, in its scope. `path` tells it apart from itself in another iteration."""

    live: "Live"
    node: Node
    path: str
    scope: Scope
    attempt: int
    extra: Mapping[str, Any]  # what an earlier part of the run left with it: a gate's decision, an iteration
    ops: list[str] = field(default_factory=list)
    cost_usd: float = 0.0
    tokens: int = 0
    model: str = ""
    reason: str = ""  # of a success that is told apart: idle
    partial: str = ""  # what came so far: the output when nothing more comes for `idle_timeout`
    spent_usd: float = 0.0  # in earlier attempts
    _counted: float = 0.0  # of `cost_usd`, what the run knows of

    @property
    def asked(self) -> Asked:
        """For whom it calls. The key is the same whenever this node of this run is tried again."""
        record = self.live.record
        return Asked(record.starter, record.id, record.workflow, self.path, f"{record.id}:{self.path}", self.ops)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a capability on the starter's behalf. Raises as the call does."""
        return (await self.live.door.call(self.asked, name, arguments))[0]

    def beat(self) -> None:
        """Something came: the idle time begins anew."""
        self.live.beat(self.path)

    def count(self) -> None:
        """Let the run know of what was spent; runs below it tell it themselves."""
        self.live.spend(self.cost_usd - self._counted)
        self._counted = self.cost_usd

    def spend(self, usd: float, tokens: int = 0) -> None:
        """Count what a call took. Raises TooLarge when the node is over its budget."""
        self.cost_usd += usd
        self.tokens += tokens
        self.count()
        self._check_budget()

    def afford(self) -> None:
        """Whoever is about to ask a model asks this first. Raises TooLarge when the node or its run is over budget."""
        self.count()
        self._check_budget()
        if self.live.refusal is not None:
            raise self.live.refusal

    def _check_budget(self) -> None:
        limit = self.node.agent.max_cost_usd if self.node.agent else None
        cost = self.spent_usd + self.cost_usd
        if limit is not None and cost > limit:
            raise TooLarge(
                f"it cost ${cost:.4f}, more than its maxBudgetUsd of ${limit:g}.",
                fix="Raise maxBudgetUsd, or ask for less.",
            )

    def tell(self, kind: str, **data: Any) -> None:
        """Have something kept among the run's events."""
        self.live.tell(kind, self.path, **data)

    def warn(self, message: str) -> None:
        """Have whoever looks at the run told of something strange."""
        self.live.warn(message, path=self.path)

    async def keep(self, **extra: Any) -> None:
        """Make something durable that this node needs when the run is resumed."""
        await self.live.keep_extra(self.path, extra)


Executor = Callable[[Step], Awaitable[Output]]
