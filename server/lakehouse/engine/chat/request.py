"""A question to a chat model and its answer, whoever the provider is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    """What is asked. `model` empty: the configured one. `schema`: the answer must be JSON of this schema."""

    messages: tuple[Message, ...]
    model: str = ""
    provider: str = ""
    tools: tuple[Offer, ...] = ()
    schema: Mapping[str, Any] | None = None
    effort: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChatReply:
    """What was answered, by which model, and what it took. `enforced`: the provider holds answers to the schema."""

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
