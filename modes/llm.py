"""Questions to the configured chat model, as a step."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lakehouse import InvalidInput, Lakehouse, mode
from lakehouse.engine.chat import ChatRequest, Message


class Said(BaseModel):
    """One message."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it.")
    content: str = Field(description="What is said.")


class Reply(BaseModel):
    """What the model answered."""

    content: str = Field(description="Its text.")
    model: str = Field(description="Which model it was.")
    provider: str = Field(description="Whose it is.")
    finish_reason: str = Field(description="Why it ended: stop, or length where max_tokens cut it.")
    input_tokens: int = Field(description="Tokens of the question, over all answers that were asked for.")
    output_tokens: int = Field(description="Tokens of the answer, likewise.")
    cost_usd: float = Field(description="US dollars by the price that is known; 0 where none is.")
    latency_ms: float = Field(description="How long it took.")
    value: Any = Field(None, description="The JSON it is, with format or output_format.")
    notes: list[str] = Field([], description="What of the request was not followed.")


@mode(long=True)
async def chat(
    lake: Lakehouse,
    prompt: Annotated[str | None, "What to ask; or messages."] = None,
    messages: Annotated[list[Said] | None, "A conversation so far; the last message is what is asked."] = None,
    system: Annotated[str | None, "What the model is told first."] = None,
    model: Annotated[str, "small, medium, large, an alias or a model's name; empty: the configured one."] = "",
    output_format: Annotated[dict[str, Any] | None, "A JSON Schema that the answer must be of."] = None,
    format: Annotated[Literal["text", "json"], "json: the answer must be JSON."] = "text",
    temperature: Annotated[float | None, "Sent only where given."] = None,
    max_tokens: Annotated[int | None, Field(gt=0), "Tokens the answer may have."] = None,
    effort: Annotated[str, "How hard it thinks, where it can be told: low, medium, high."] = "",
) -> Reply:
    """Ask the chat model once; an answer that is not of output_format is asked for again, at most three times.

    Example: {"prompt": "Name a colour.", "model": "small"}.
    """
    if (prompt is None) == (not messages):
        raise InvalidInput("prompt, messages: one of them is needed.", fix="Give a prompt, or messages.")
    said = [Message(one.role, one.content) for one in messages or ()] or [Message("user", prompt or "")]
    request = ChatRequest(
        (*([Message("system", system)] if system else []), *said),
        model=model,
        schema=output_format,
        json=format == "json",
        effort=effort,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    value = None
    if output_format is not None or format == "json":
        reply, value = await lake.chat.formed(request)
    else:
        reply = await lake.chat.ask(request)
    return Reply(
        content=reply.content,
        model=reply.model,
        provider=reply.provider,
        finish_reason=reply.finish_reason,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost_usd=reply.cost_usd,
        latency_ms=reply.latency_ms,
        value=value,
        notes=list(reply.notes),
    )
