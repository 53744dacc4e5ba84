"""A question to a chat model and its answer, whoever the provider is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lakehouse.errors import Upstream


class Blank(Upstream):
    """A model answered nothing: another time it may."""


Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model wants called. `arguments` is the object it wrote, or the text where that is no object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | str


@dataclass(frozen=True)
class Message:
    """One message. Of role `tool` it is the answer to the call `tool_call_id`."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True)
class Offer:
    """A tool the model may call: its name, what it is for, and its arguments as a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """What is asked.

    `model` and `provider` are as a workflow names them; empty: the configured one. `schema`: the answer must be JSON of
    this schema; `json`: it must be JSON. `effort` and `thinking` are passed on where the model takes them. `node` is
    who asks.
    """

    messages: tuple[Message, ...]
    model: str = ""
    provider: str = ""
    tools: tuple[Offer, ...] = ()
    schema: Mapping[str, Any] | None = None
    json: bool = False
    effort: str = ""
    thinking: Any = None
    max_tokens: int | None = None
    temperature: float | None = None
    node: str = ""

    @property
    def asked(self) -> str:
        """The model as it was asked for: `small`, `claude:opus`, `pi:`; "" where none was."""
        return f"{self.provider}:{self.model}" if self.provider else self.model


@dataclass(frozen=True)
class ChatReply:
    """What was answered, by which model, and what it took.

    `enforced`: the provider holds answers to the schema. `priced`: what it cost is known. `notes` say what of the
    request was not followed: another model's name, an effort it does not take.
    """

    content: str
    model: str
    provider: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    enforced: bool = False
    priced: bool = True
    notes: tuple[str, ...] = field(default=())
