"""A node that asks a chat model."""

from lakehouse.engine.chat import ChatRequest, Message
from lakehouse.engine.workflows.model import Agent, Prompt
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Upstream


async def run_prompt(step: Step) -> Output:
    """Ask, and put out what was answered. Raises Upstream for a blank answer."""
    body = step.node.body
    assert isinstance(body, Prompt)
    return await ask(step, step.scope.text(body.text), body.agent)


async def ask(step: Step, text: str, agent: Agent) -> Output:
    """Ask, and return what was answered. Raises Upstream for a blank answer."""
    request = ChatRequest((Message("user", text),), model=agent.model)
    reply, op = await step.live.door.dispatch(step.asked, request)
    step.ops.append(op)
    step.model = reply.model
    step.cost_usd += reply.cost_usd
    step.tokens += reply.input_tokens + reply.output_tokens
    if not reply.content.strip():
        raise Upstream(f"{reply.model} answered nothing.", fix="Try again, or another model.")
    return Output(reply.content)
