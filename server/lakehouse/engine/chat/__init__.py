"""Questions to chat models: one interface, whoever answers."""

from typing import TYPE_CHECKING

import anyio.to_thread

from lakehouse import config
from lakehouse.engine.chat.request import ChatReply, ChatRequest, Message, Offer, ToolCall
from lakehouse.errors import NotInstalled

if TYPE_CHECKING:
    from lakehouse.engine.chat.scripted import Scripted


class Chat:
    """The provider of the section `chat`."""

    def __init__(self, settings: config.Chat) -> None:
        self._settings = settings
        self._scripted: Scripted | None = None

    async def ask(self, request: ChatRequest) -> ChatReply:
        """What the model answers. Raises NotInstalled without a provider, and Upstream, TimedOut as it fares."""
        if self._settings.provider == "scripted":
            if self._scripted is None:
                from lakehouse.engine.chat.scripted import Scripted

                self._scripted = await anyio.to_thread.run_sync(Scripted.read, self._settings.script)
            return await self._scripted.ask(request, request.model)
        raise NotInstalled(
            "no chat model is set up.",
            fix="Set chat.provider = litellm and chat.model, for instance ollama_chat/qwen3.5 or openai/gpt-5-mini.",
        )


__all__ = ["Chat", "ChatReply", "ChatRequest", "Message", "Offer", "ToolCall"]
