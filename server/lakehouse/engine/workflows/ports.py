"""What workflows need of the rest of Lakehouse, which is not theirs to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse.engine.workflows.runs.record import Starter

if TYPE_CHECKING:
    from lakehouse.engine.chat import ChatReply, ChatRequest


KEY = "idempotency_key"  # the argument that is filled in by a run, where a node does not give it


@dataclass(frozen=True)
class ModeFacts:
    """What a mode takes and gives, as JSON Schemas. `tool` is its name as a tool; of a step that is none, ""."""

    name: str
    description: str
    effect: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    tool: str = ""


@dataclass(frozen=True)
class Asked:
    """A call that a node makes: for whom, in which run, and the key that is the same when it is made again.

    `ops` takes the ids of the calls, and of what is asked of a model: of those that fail, too.
    """

    starter: Starter
    run: str
    workflow: str
    node: str
    key: str
    ops: list[str] = field(default_factory=list)


class Door(Protocol):
    """The one door, and what is behind it."""

    async def ready(self) -> None:
        """Load what the other methods look into."""

    def mode(self, name: str) -> ModeFacts | None:
        """A mode: a step of its own, or a tool. None: there is none."""

    def modes(self) -> list[str]:
        """Their names."""

    def offered(self, starter: Starter, names: Sequence[str] | None) -> list[ModeFacts]:
        """The tools that may be offered to a model on behalf of somebody; of these names, if any are given.

        Raises NotFound for a name that is none.
        """

    async def call(self, asked: Asked, name: str, arguments: Mapping[str, Any]) -> tuple[Any, str]:
        """Make a call on the starter's behalf; what it answers, as plain data, and its op. Raises as the call does."""

    async def record(self, asked: Asked, op: str, given: Any, answer: Any, error: str | None, seconds: float) -> str:
        """Have something observed that is no call: a script, a gate, a skip. Returns the op."""

    async def dispatch(self, asked: Asked, request: "ChatRequest") -> "tuple[ChatReply, str]":
        """Ask a chat model; its answer, and the op, `llm.chat`. Raises as engine.chat.Chat.ask does."""

    def clean(self, text: str) -> str:
        """A text without the credentials that are known here."""

    def hidden(self) -> frozenset[str]:
        """The environment's variables, in upper case, whose values are credentials of our own settings."""
