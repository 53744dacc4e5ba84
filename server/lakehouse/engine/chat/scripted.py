"""A chat provider whose answers are written down beforehand: for tests and for trying workflows out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lakehouse.engine.chat.request import ChatReply, ChatRequest
from lakehouse.errors import InvalidInput, Upstream


class Scripted:
    """Answers of a YAML list: texts, or mappings with `match` (a part of the last message) and `content`.

    Of several that match, the first that was not used yet answers; one with `repeat: true` is never used up.
    """

    def __init__(self, replies: Sequence[Any]) -> None:
        self._replies = [dict(reply) if isinstance(reply, dict) else {"content": str(reply)} for reply in replies]
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
        """The next answer that fits. Raises Upstream where there is none."""
        self.asked.append(request)
        said = request.messages[-1].content if request.messages else ""
        for place, reply in enumerate(self._replies):
            if str(reply.get("match", "")) in said:
                if not reply.get("repeat"):
                    del self._replies[place]
                return ChatReply(str(reply.get("content", "")), model or "scripted", "scripted")
        raise Upstream("the script has no answer left.", fix="Add one to the file that chat.script names.")
