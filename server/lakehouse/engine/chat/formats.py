"""Answers that must be JSON: how they are asked for, read, held against a schema, and asked for again."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio.to_thread

from lakehouse.engine.chat.request import ChatReply, Message
from lakehouse.engine.chat.schemas import check, faults_of
from lakehouse.errors import Unprocessable

MAX_REASKS = 3
Ask = Callable[[tuple[Message, ...]], Awaitable[ChatReply]]
"""Asks, with these messages after all that was said before."""


class NotOfTheSchema(Unprocessable):
    """A model's answer is not the JSON that it was asked for."""


async def formed(ask: Ask, schema: Mapping[str, Any] | None) -> tuple[ChatReply, Any]:
    """Ask for JSON until it is of the schema, at most three times more, each time with what was wrong.

    A provider that holds answers to schemas by itself is not asked again. Raises Unprocessable for what is no schema,
    NotOfTheSchema, and as `ask` does.
    """
    await anyio.to_thread.run_sync(check, schema)
    more: tuple[Message, ...] = ()
    for _ in range(MAX_REASKS + 1):
        reply = await ask(more)
        value, faults = await anyio.to_thread.run_sync(read, reply.content, schema)
        if not faults:
            return reply, value
        if reply.enforced and reply.content.strip():
            break
        wrong = "\n".join(f"- {fault}" for fault in faults)
        advice = f"That is not what was asked for:\n{wrong}\nAnswer again, with the corrected JSON alone."
        said = (Message("assistant", reply.content),) if reply.content.strip() else ()
        more = (*said, Message("user", advice))
    raise NotOfTheSchema(
        f"{reply.model} did not answer with the JSON it was asked for: {'; '.join(faults)}",
        fix="Say in the prompt what is wanted, simplify output_format, or name a larger model.",
        data={"faults": faults},
    )


def instructions(schema: Mapping[str, Any] | None) -> str:
    """What is put to a model that does not hold to a schema by itself."""
    wanted = "Answer with JSON alone: no other words before or after it."
    return wanted if schema is None else f"{wanted} It must be valid against this JSON Schema:\n{json.dumps(schema)}"


def read(text: str, schema: Mapping[str, Any] | None) -> tuple[Any, list[str]]:
    """The JSON in an answer, and what is wrong with it: the first few faults, each with its place. It blocks."""
    try:
        value = parsed(text)
    except ValueError as error:
        return None, [str(error)]
    return value, faults_of(value, schema) if schema is not None else []


def parsed(text: str) -> Any:
    """The JSON that a text is, else that of its fenced block, else the first object in it. Raises ValueError."""
    text = text.strip()
    fenced = text.partition("```")[2].removeprefix("json").partition("```")[0]
    for candidate in (text, fenced):
        try:
            return _strict.decode(candidate.strip())
        except (ValueError, RecursionError):
            pass
    start = text.find("{")
    for _ in range(100):  # braces in prose before it
        if start < 0:
            break
        try:
            return _strict.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
    raise ValueError("the answer is not JSON." if text else "the answer is empty.")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_strict = json.JSONDecoder(parse_constant=_no_number)
