"""Questions to chat models: one interface, whoever answers."""

from typing import Protocol

import anyio.to_thread

from lakehouse import config
from lakehouse.engine.chat.request import ChatReply, ChatRequest, Message, Offer, ToolCall
from lakehouse.errors import NotInstalled


class Provider(Protocol):
    """Somebody who answers."""

    async def ask(self, request: ChatRequest, model: str) -> ChatReply:
        """What the model answers. Raises Upstream, TimedOut, Unavailable."""


class Chat:
    """The provider of the section `chat`."""

    def __init__(self, settings: config.Chat, provider: Provider | None = None) -> None:
        """`provider` in place of the configured one."""
        self._settings = settings
        self._provider = provider

    async def ask(self, request: ChatRequest) -> ChatReply:
        """What the model answers. Raises NotInstalled without a provider, and Upstream, TimedOut as it fares."""
        if self._provider is None and self._settings.provider == "scripted":
            from lakehouse.engine.chat.scripted import Scripted

            self._provider = await anyio.to_thread.run_sync(Scripted.read, self._settings.script)
        if self._provider is not None:
            return await self._provider.ask(request, request.model or self._settings.model)
        raise NotInstalled(
            "no chat model is set up.",
            fix="Set chat.provider = litellm and chat.model, for instance ollama_chat/qwen3.5 or openai/gpt-5-mini.",
        )


__all__ = ["Chat", "ChatReply", "ChatRequest", "Message", "Offer", "ToolCall"]
