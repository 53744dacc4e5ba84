"""A chat provider whose answers are written down beforehand: for tests and for trying workflows out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakehouse.engine.chat.request import ChatReply, ChatRequest, ToolCall
from lakehouse.errors import InvalidInput, Upstream, by_code


class Called(BaseModel):
    """A tool that an answer calls."""

    model_config = ConfigDict(extra="forbid")
    name: str
    arguments: dict[str, Any] | str = {}


class Failed(BaseModel):
    """A failure in place of an answer, by its code in lakehouse.errors."""

    model_config = ConfigDict(extra="forbid")
    code: str = "upstream"
    detail: str
    status: int | None = None  # what the provider is said to have answered with


class Entry(BaseModel):
    """One answer. `match` is a part of the last message, `node` the id of whoever asks; `delay` is in seconds."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    content: str = ""
    value: Any = Field(None, alias="json")
    match: str = ""
    node: str = ""
    repeat: bool = False
    delay: float = Field(0, ge=0)
    error: Failed | None = None
    tool_calls: list[Called] = []
    model: str = ""
    finish_reason: str = "stop"
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    cost_usd: float = Field(0, ge=0)
    priced: bool = True
    enforced: bool = False

    @classmethod
    def of(cls, given: Any, place: int) -> "Entry":
        """An entry of a script: a text, or a mapping. Raises InvalidInput."""
        fields = dict(given) if isinstance(given, Mapping) else {"content": "" if given is None else str(given)}
        if isinstance(fields.get("error"), str):
            fields["error"] = {"detail": fields["error"]}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                f"chat.script: answer {place}: {where}: {first['msg']}.",
                fix=f"An answer is a text, or has {', '.join(field.alias or name for name, field in _fields())}.",
            ) from None

    def answers(self, request: ChatRequest) -> bool:
        """Whether it is for this question."""
        said = request.messages[-1].content if request.messages else ""
        places = (request.node, request.node.rpartition("/")[2])
        return self.match in said and (not self.node or self.node in places)


def _fields() -> list[tuple[str, Any]]:
    return list(Entry.model_fields.items())


class Scripted:
    """Answers of a YAML list: texts, or mappings with `content` and what an Entry has besides.

    Of several that fit, the first that was not used yet answers; one with `repeat: true` is never used up.
    """

    def __init__(self, replies: Sequence[Any]) -> None:
        """Raises InvalidInput for what is no answer."""
        self._entries = [Entry.of(given, place) for place, given in enumerate(replies, 1)]
        self.asked: list[ChatRequest] = []

    @classmethod
    def read(cls, path: Path) -> "Scripted":
        """The script in a file. Raises InvalidInput. It blocks."""
        import yaml

        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InvalidInput(f"chat.script: {path} cannot be read: {error}.", fix="Write a YAML list.") from None
        if not isinstance(found, list):
            raise InvalidInput(f"chat.script: {path} holds no list.", fix="Write a YAML list of answers.")
        return cls(found)

    async def ask(self, request: ChatRequest, model: str) -> ChatReply:
        """The next answer that fits. Raises Upstream where there is none, and the error that stands in its place."""
        self.asked.append(request)
        place = next((place for place, entry in enumerate(self._entries) if entry.answers(request)), None)
        if place is None:
            who = f" for {request.node}" if request.node else ""
            raise Upstream(f"the script has no answer left{who}.", fix="Add one to the file that chat.script names.")
        entry = self._entries[place] if self._entries[place].repeat else self._entries.pop(place)
        await anyio.sleep(entry.delay)
        if entry.error is not None:
            status = {"upstream_status": entry.error.status} if entry.error.status else {}
            raise by_code(entry.error.code, entry.error.detail, data=status)
        calls = [ToolCall(f"call_{n}", one.name, one.arguments) for n, one in enumerate(entry.tool_calls, 1)]
        return ChatReply(
            entry.content or ("" if entry.value is None else json.dumps(entry.value)),
            entry.model or model or "scripted",
            "scripted",
            tool_calls=tuple(calls),
            finish_reason="tool_calls" if calls else entry.finish_reason,
            input_tokens=entry.input_tokens,
            output_tokens=entry.output_tokens,
            cost_usd=entry.cost_usd,
            latency_ms=entry.delay * 1000,
            enforced=entry.enforced,
            priced=entry.priced,
        )

    async def aclose(self) -> None:
        """It holds nothing."""
