"""A prompt put to a model on a node's behalf: tools it may call, JSON it must answer with, what it may cost."""

from dataclasses import dataclass, replace
from typing import Any

from lakehouse.engine.chat import Blank, ChatReply, ChatRequest, Message
from lakehouse.engine.chat.formats import formed
from lakehouse.engine.workflows.model import Agent
from lakehouse.engine.workflows.running.kinds.sessions import Session, continued, restored
from lakehouse.engine.workflows.running.kinds.toolbox import RULE, Toolbox
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Unprocessable


@dataclass(frozen=True)
class Answer:
    """What a model answered. `value` is the JSON it was asked for; None without an output_format.

    `session` is the conversation as plain data: to be given to the next `ask`, and to be kept with `step.keep`.
    """

    text: str
    value: Any
    session: Session


async def ask(step: Step, text: str, agent: Agent, session: Session | None = None) -> Answer:
    """Put a text, its references replaced already, to the node's model; its tokens and costs are added to the step.

    Raises Blank for a blank answer, Upstream and TimedOut as the provider fails, Unprocessable for an answer that is
    not of output_format after every re-ask and for tools called without end, TooLarge for what costs too much.
    """
    tools = await Toolbox.of(step, agent)
    system = [step.scope.text(agent.system)] if agent.system else []
    system += [RULE] if tools.offers else []
    before = [Message("system", "\n\n".join(system))] if system else []
    provider, model = step.live.asked(agent.provider, agent.model)
    request = ChatRequest(
        (*before, *restored(session or []), Message("user", text)),
        model=model,
        provider=provider,
        tools=tools.offers,
        schema=agent.output_format,
        effort=agent.effort,
        thinking=agent.thinking,
        node=step.path,
    )
    told: set[str] = set()
    rounds = 0

    async def answered(more: tuple[Message, ...]) -> ChatReply:
        nonlocal request, rounds
        request = replace(request, messages=(*request.messages, *more))
        while True:
            reply = await _reply(step, request, agent, told)
            if not reply.tool_calls:
                return reply
            rounds += 1
            if rounds > step.live.settings.max_tool_rounds:
                raise Unprocessable(
                    f"{reply.model} had tools called {rounds - 1} times over and did not answer.",
                    fix="Say in the prompt when to stop, or raise workflows.max_tool_rounds.",
                )
            said = Message("assistant", reply.content, reply.tool_calls)
            results = [await tools.result(call) for call in reply.tool_calls]
            request = replace(request, messages=(*request.messages, said, *results))

    value = None
    if agent.output_format is None:
        reply = await answered(())
        if not reply.content.strip():
            raise Blank(f"{reply.model} answered nothing.", fix="Try again, or another model.")
    else:
        reply, value = await formed(answered, agent.output_format)
    kept = continued(session or [], text, reply.content, step.live.settings.max_session_bytes)
    return Answer(reply.content, value, kept)


async def _reply(step: Step, request: ChatRequest, agent: Agent, told: set[str]) -> ChatReply:
    """One answer, and what it took."""
    step.afford()
    reply, _ = await step.live.door.dispatch(step.asked, request)
    step.beat()
    step.model = reply.model if request.asked in ("", reply.model) else f"{request.asked} -> {reply.model}"
    step.partial += reply.content if reply.tool_calls else ""
    notes = list(reply.notes)
    if agent.max_cost_usd is not None and not reply.priced:
        notes.append(f"what {reply.model} costs is not known: maxBudgetUsd does not bind it")
    if reply.finish_reason == "length":
        notes.append(f"{reply.model} was cut off: its answer is longer than it may be")
    for note in notes:
        if note not in told:
            told.add(note)
            step.warn(note)
    step.spend(reply.cost_usd, reply.input_tokens + reply.output_tokens)
    return reply
