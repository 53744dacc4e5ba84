"""Where in a node references may stand, and how each place takes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lakehouse.engine.workflows.model import (
    Approval,
    Bash,
    Cancel,
    Child,
    Control,
    From,
    Loop,
    LoopGroup,
    Mode,
    Node,
    Prompt,
    Script,
)

How = Literal["text", "prompt", "shell", "source", "given", "arguments"]


@dataclass(frozen=True)
class Place:
    """A text of a node that may hold references; `inner`: it may refer to the nodes of the group's own body."""

    key: str
    text: str
    how: How = "text"
    inner: bool = False


def places(node: Node) -> Iterator[Place]:
    """All texts of a node that may hold references, but `when`."""
    body = node.body
    if isinstance(body, Prompt):
        yield Place("command" if body.command else "prompt", body.text, "prompt")
        yield Place("systemPrompt", body.agent.system)
    elif isinstance(body, Bash):
        yield Place("bash", body.script, "shell")
    elif isinstance(body, Script) and not body.name:  # a file of scripts/ runs as it is
        yield Place("script", body.source, "source")
    elif isinstance(body, Loop):
        yield Place("loop.command" if body.prompt.command else "loop.prompt", body.prompt.text, "prompt")
        yield Place("systemPrompt", body.prompt.agent.system)
        yield from _control("loop", body.control, inner=False)
    elif isinstance(body, LoopGroup):
        yield from _control("loop_group", body.control, inner=True)
    elif isinstance(body, Approval):
        yield Place("approval.message", body.message)
        if body.on_reject is not None:
            yield Place("approval.on_reject.prompt", body.on_reject.prompt, "prompt")
    elif isinstance(body, Cancel):
        yield Place("cancel", body.reason)
    elif isinstance(body, Child):
        yield Place("input", body.input or "")
        if body.fan_out is not None:
            yield Place("fan_out.items", body.fan_out.items, "given")
    how: How = "arguments" if isinstance(body, Mode) else "given"
    for name, value in node.given.items():
        for text in texts(value):
            yield Place(f"with.{name}", text, how)


def texts(value: Any) -> Iterator[str]:
    """The texts in a value of `with:`, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, From):
            yield one.reference
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)


def _control(key: str, control: Control, *, inner: bool) -> Iterator[Place]:
    yield Place(f"{key}.until_bash", control.until_bash, "shell", inner)
    yield Place(f"{key}.gate_message", control.gate_message, "text", inner)
