"""One attempt at one node: what its kind works with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse.engine.workflows.model import Node
from lakehouse.engine.workflows.ports import Asked
from lakehouse.engine.workflows.references import Output, Scope

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

    @property
    def asked(self) -> Asked:
        """For whom it calls. The key is the same whenever this node of this run is tried again."""
        record = self.live.record
        return Asked(record.starter, record.id, record.workflow, self.path, f"{record.id}:{self.path}")

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a capability on the starter's behalf. Raises as the call does."""
        answer, op = await self.live.door.call(self.asked, name, arguments)
        self.ops.append(op)
        return answer

    def beat(self) -> None:
        """Something came: the idle time begins anew."""
        self.live.beat(self.path)

    def tell(self, kind: str, **data: Any) -> None:
        """Have something kept among the run's events."""
        self.live.tell(kind, self.path, **data)

    async def keep(self, **extra: Any) -> None:
        """Make something durable that this node needs when the run is resumed."""
        await self.live.keep_extra(self.path, extra)


Executor = Callable[[Step], Awaitable[Output]]
