"""Answers that must be JSON: how they are asked for, read, held against a schema, and asked for again."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio.to_thread

from lakehouse.engine.chat.request import ChatReply, Message
from lakehouse.errors import Unprocessable

MAX_REASKS = 3
MAX_FAULTS = 8
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
    for again in range(MAX_REASKS + 1):
        reply = await ask(more)
        value, faults = await anyio.to_thread.run_sync(read, reply.content, schema)
        if not faults:
            return reply, value
        if reply.enforced:
            break
        wrong = "\n".join(f"- {fault}" for fault in faults)
        advice = f"That is not what was asked for:\n{wrong}\nAnswer again, with the corrected JSON alone."
        said = (Message("assistant", reply.content),) if reply.content.strip() else ()
        more = (*said, Message("user", advice))
    tried = f" in {again + 1} answers" if again else ""
    raise NotOfTheSchema(
        f"{reply.model} did not answer with the JSON it was asked for{tried}: {'; '.join(faults)}",
        fix="Say in the prompt what is wanted, simplify output_format, or name a larger model.",
        data={"faults": faults},
    )


def instructions(schema: Mapping[str, Any] | None) -> str:
    """What is put to a model that does not hold to a schema by itself."""
    wanted = "Answer with JSON alone: no other words before or after it."
    return wanted if schema is None else f"{wanted} It must be valid against this JSON Schema:\n{json.dumps(schema)}"


def check(schema: Mapping[str, Any] | None) -> None:
    """Raises Unprocessable for what is no JSON Schema. It blocks."""
    if schema is None:
        return
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator

    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        said = getattr(error, "message", "it is too deep")
        raise Unprocessable(f"output_format: it is no JSON Schema: {said[:300]}.", fix="Mend it.") from None


def read(text: str, schema: Mapping[str, Any] | None) -> tuple[Any, list[str]]:
    """The JSON in an answer, and what is wrong with it: the first few faults, each with its place. It blocks."""
    try:
        value = parsed(text)
    except ValueError as error:
        return None, [str(error)]
    return value, _faults(value, schema) if schema is not None else []


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


def _faults(value: Any, schema: Mapping[str, Any]) -> list[str]:
    from itertools import islice

    from jsonschema.validators import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: otherwise a `$ref` with an address would be fetched.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        found = list(islice(validator.iter_errors(value), MAX_FAULTS))
    except Unresolvable as error:
        raise Unprocessable(
            f"output_format: $ref {str(error.ref)[:200]!r} leads nowhere.", fix="Put what it means under $defs."
        ) from None
    return [f"{one.json_path}: {one.message[:300]}" for one in found]


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_strict = json.JSONDecoder(parse_constant=_no_number)
