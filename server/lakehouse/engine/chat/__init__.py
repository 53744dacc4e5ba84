"""Questions to chat models: one interface, whoever answers."""

from dataclasses import replace
from typing import Any, Protocol

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.chat.formats import formed
from lakehouse.engine.chat.naming import chosen
from lakehouse.engine.chat.request import Blank, ChatReply, ChatRequest, Message, Offer, ToolCall
from lakehouse.errors import NotInstalled


class Provider(Protocol):
    """Somebody who answers."""

    async def ask(self, request: ChatRequest, model: str) -> ChatReply:
        """What the model answers. Raises Upstream, TimedOut, Unavailable."""

    async def aclose(self) -> None:
        """Give connections back."""


class Chat:
    """The provider of the section `chat`."""

    def __init__(self, settings: config.Chat, provider: Provider | None = None) -> None:
        """`provider` in place of the configured one."""
        self._settings = settings
        self._provider = provider
        self._making = anyio.Lock()

    async def ask(self, request: ChatRequest) -> ChatReply:
        """What the model answers.

        Raises NotInstalled without a provider, InvalidInput for a model that may not be asked for, Unavailable without
        the key, Upstream and TimedOut as it fares.
        """
        provider = await self._made()
        model = chosen(self._settings, request.provider, request.model)
        reply = await provider.ask(request, model.model)
        return replace(reply, notes=(model.note, *reply.notes)) if model.note else reply

    async def formed(self, request: ChatRequest) -> tuple[ChatReply, Any]:
        """What the model answers, and the JSON that it is; asked again where it is none, or not of `schema`.

        Tokens, cost and time are of all answers together. Raises NotOfTheSchema, and as `ask` does.
        """
        said, replies = request.messages, list[ChatReply]()

        async def asked(more: tuple[Message, ...]) -> ChatReply:
            nonlocal said
            said = (*said, *more)
            replies.append(await self.ask(replace(request, messages=said)))
            return replies[-1]

        reply, value = await formed(asked, request.schema)
        return (
            replace(
                reply,
                input_tokens=sum(one.input_tokens for one in replies),
                output_tokens=sum(one.output_tokens for one in replies),
                cost_usd=sum(one.cost_usd for one in replies),
                latency_ms=sum(one.latency_ms for one in replies),
            ),
            value,
        )

    async def _made(self) -> Provider:
        async with self._making:
            if self._provider is None and self._settings.provider == "scripted":
                from lakehouse.engine.chat.scripted import Scripted

                self._provider = await anyio.to_thread.run_sync(Scripted.read, self._settings.script)
            if self._provider is None and self._settings.provider == "litellm" and self._settings.model:
                from lakehouse.engine.chat.litellm import Litellm

                self._provider = Litellm(self._settings)
            if self._provider is None:
                raise NotInstalled(
                    "no chat model is set up.",
                    fix="Set chat.provider = litellm and chat.model, for instance ollama_chat/qwen3.5 or "
                    "openai/gpt-5-mini.",
                )
            return self._provider

    async def aclose(self) -> None:
        """Give the provider's connections back."""
        if self._provider is not None:
            await self._provider.aclose()


__all__ = ["Blank", "Chat", "ChatReply", "ChatRequest", "Message", "Offer", "ToolCall"]
