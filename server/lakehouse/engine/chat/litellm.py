"""Answers of any provider litellm knows. Importing litellm takes 6 to 10 s, so it waits for the first question."""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread

from lakehouse import config
from lakehouse.engine.chat.formats import instructions
from lakehouse.engine.chat.naming import family, home
from lakehouse.engine.chat.request import ChatReply, ChatRequest, Message, ToolCall
from lakehouse.engine.chat.thread import Elsewhere
from lakehouse.engine.embed.litellm import GRACE_SECS, key_of, load, told
from lakehouse.errors import TimedOut, Upstream


class ChatFailed(Upstream):
    """The provider could not be reached, refused, or answered with nothing.

    `data["upstream_status"]` is the HTTP status it answered with, where it answered.
    """


class Litellm:
    """The provider of `chat.model`, a name as litellm spells it. It never asks twice by itself.

    What litellm does on an event loop takes milliseconds of computing and leaves tasks behind: it has a loop of its
    own, in a thread.
    """

    def __init__(self, settings: config.Chat) -> None:
        self._settings = settings
        self._loading = anyio.CapacityLimiter(1)
        self._elsewhere = Elsewhere("chat")

    async def ask(self, request: ChatRequest, model: str) -> ChatReply:
        """What the model answers. Cancelling ends the provider's request too.

        Raises Unavailable without the key, ChatFailed with the provider's status and words, without the key, and
        TimedOut after `chat.timeout_secs`.
        """
        ours = family(model) == home(self._settings)
        key = key_of(self._settings.api_key_env, "provider", "chat.api_key_env") if ours else ""
        litellm = await anyio.to_thread.run_sync(load, limiter=self._loading)
        seconds = self._settings.timeout_secs
        with anyio.move_on_after(seconds):
            return await self._elsewhere.run(lambda: self._asked(litellm, request, model, key, ours))
        raise TimedOut(
            f"{model} took over {seconds:g} seconds.", fix="Ask for less, another model, or raise chat.timeout_secs."
        )

    async def _asked(self, litellm: ModuleType, request: ChatRequest, model: str, key: str, ours: bool) -> ChatReply:
        given, enforced, notes = self._given(litellm, request, model)
        began = time.perf_counter()
        try:
            answer = await litellm.acompletion(
                model=model,
                api_key=key or None,
                api_base=(self._settings.api_base or None) if ours else None,
                timeout=self._settings.timeout_secs + GRACE_SECS,
                num_retries=0,
                max_retries=0,
                drop_params=False,
                **given,
            )
            if not answer.choices:
                raise ValueError("it answered with no choice")
            choice = answer.choices[0]
            content, calls = choice.message.content or "", _calls(choice.message.tool_calls)
        # litellm has a class of error for every status and provider, and lets those of its libraries through.
        except Exception as error:
            status = getattr(error, "status_code", None)
            raise ChatFailed(
                told(model, error, key),
                fix="Check chat.model, chat.api_base and the key in the variable chat.api_key_env names.",
                data={"upstream_status": status} if isinstance(status, int) else None,
            ) from None
        usage = getattr(answer, "usage", None)
        cost = _cost(litellm, answer, model)
        return ChatReply(
            content,
            model,
            family(model) or "litellm",
            tool_calls=calls,
            finish_reason=choice.finish_reason or "",
            input_tokens=getattr(usage, "prompt_tokens", 0) or 0,
            output_tokens=getattr(usage, "completion_tokens", 0) or 0,
            cost_usd=cost or 0.0,
            priced=cost is not None,
            latency_ms=(time.perf_counter() - began) * 1000,
            enforced=enforced,
            notes=tuple(notes),
        )

    def _given(self, litellm: ModuleType, request: ChatRequest, model: str) -> tuple[dict[str, Any], bool, list[str]]:
        """The arguments, whether the provider will hold to the schema, and what is not passed on."""
        takes = set(litellm.get_supported_openai_params(model=model) or ())
        given: dict[str, Any] = {}
        notes = []
        if request.temperature is not None:
            given["temperature"] = request.temperature
        if request.max_tokens is not None:
            given["max_tokens"] = request.max_tokens
        if request.effort and "reasoning_effort" in takes:
            given["reasoning_effort"] = _rung(litellm, model, request.effort)
        elif request.effort:
            notes.append(f"{model} takes no effort: it is left out")
        if request.thinking is not None and "thinking" in takes:
            given["thinking"] = _thinking(request.thinking)
        elif request.thinking is not None:
            notes.append(f"{model} takes no thinking: it is left out")
        if request.tools:
            given["tools"] = [{"type": "function", "function": vars(offer)} for offer in request.tools]
        known = self._settings.json_schema == "auto" and litellm.supports_response_schema(model=model)
        able = known or self._settings.json_schema == "on"
        enforced = request.schema is not None and able and strict(request.schema)
        messages: Sequence[Message] = request.messages
        if request.schema is not None and able:
            form = {"name": "answer", "schema": request.schema, "strict": enforced}
            given["response_format"] = {"type": "json_schema", "json_schema": form}
        elif request.json:
            given["response_format"] = {"type": "json_object"}
        if (request.schema is not None and not enforced) or request.json:
            messages = _instructed(messages, instructions(request.schema))
        given["messages"] = [_wire(message) for message in messages]
        return given, enforced, notes

    async def aclose(self) -> None:
        """Close the provider's connections, and end the thread."""
        await self._elsewhere.aclose(_closed)


async def _closed() -> None:
    """Close the clients that litellm keeps for the running event loop, whose id ends the names it keeps them under."""
    litellm = sys.modules["litellm"]
    ours = f"-{id(asyncio.get_running_loop())}"
    kept = litellm.in_memory_llm_clients_cache.cache_dict
    for client in [client for name, client in [*kept.items()] if str(name).endswith(ours)]:
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None and inspect.isawaitable(closing := close()):
            await closing


def strict(schema: Any) -> bool:
    """Whether a provider that enforces schemas can enforce this one: each object has all its properties, and no more.

    Others can be sent, but are not held to: https://platform.openai.com/docs/guides/structured-outputs.
    """
    if isinstance(schema, list):
        return all(map(strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, Mapping):
        needed = set(properties or ()) == set(schema.get("required") or ())
        if not needed or schema.get("additionalProperties") is not False:
            return False
    return all(map(strict, schema.values()))


def _instructed(messages: Sequence[Message], words: str) -> list[Message]:
    first = messages[0] if messages and messages[0].role == "system" else None
    rest = messages[1:] if first else messages
    return [Message("system", f"{first.content}\n\n{words}" if first else words), *rest]


def _wire(message: Message) -> dict[str, Any]:
    """A message as OpenAI's API has it."""
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _text(call.arguments)}}
            for call in message.tool_calls
        ]
    return wire


def _text(arguments: Mapping[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _calls(given: Any) -> tuple[ToolCall, ...]:
    calls = []
    for place, call in enumerate(given or (), 1):
        written = call.function.arguments or "{}"
        try:
            arguments = json.loads(written) if isinstance(written, str) else written
        except (ValueError, RecursionError):
            arguments = written
        calls.append(
            ToolCall(
                call.id or f"call_{place}",
                call.function.name or "",
                arguments if isinstance(arguments, dict) else str(written),
            )
        )
    return tuple(calls)


def _rung(litellm: ModuleType, model: str, effort: str) -> str:
    """The effort, or the rung nearest to it that the model has."""
    if effort in ("low", "medium", "high"):
        return effort
    try:
        has: Mapping[str, Any] = litellm.get_model_info(model)
    except Exception:  # litellm raises a bare one for models that it has no entry for
        has = {}
    downwards = {"minimal": ("minimal",), "xhigh": ("xhigh",), "max": ("max", "xhigh")}.get(effort, ())
    found = next((rung for rung in downwards if has.get(f"supports_{rung}_reasoning_effort")), None)
    return found or ("low" if effort == "minimal" else "high")


def _thinking(given: Any) -> dict[str, Any]:
    """As Anthropic's API has it, which is how litellm takes it."""
    if isinstance(given, str):
        return {"type": given, **({"budget_tokens": 4096} if given == "enabled" else {})}
    budget = given.get("budgetTokens", given.get("budget_tokens"))
    return {"type": given.get("type", "enabled"), **({"budget_tokens": budget} if budget else {})}


def _cost(litellm: ModuleType, answer: Any, model: str) -> float | None:
    """US dollars by litellm's own list of prices; None for a model that is not on it."""
    try:
        cost = litellm.completion_cost(completion_response=answer, model=model)
    except Exception:  # litellm raises a bare one for models without a price
        return None
    return float(cost) if cost is not None else None
