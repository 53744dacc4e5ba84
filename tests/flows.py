"""Workflows of a test: a text, run by an open lake, and the chat model that answers its prompts."""

from typing import Any

from lakehouse import Lakehouse
from lakehouse.engine.chat import Chat
from lakehouse.engine.chat.scripted import Scripted
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.runs import Starter

PATIENCE = 60.0  # seconds; a run that takes longer hangs


async def ran(lake: Lakehouse, nodes: str, *, message: str = "", root: str = "", **inputs: Any) -> RunState:
    """Run a workflow of these nodes, a YAML list, started from this machine; `root` are further keys of the file."""
    record = await started(lake, nodes, message=message, root=root, **inputs)
    return await lake.workflows.wait(record, PATIENCE)


async def started(lake: Lakehouse, nodes: str, *, message: str = "", root: str = "", **inputs: Any) -> str:
    """As `ran`, without waiting; returns the run's id."""
    text = workflow(nodes, root)
    record = await lake.workflows.start("test", Starter(), definition=text, inputs=inputs, message=message)
    return record.id


def workflow(nodes: str, root: str = "") -> str:
    """The text of a workflow of these nodes."""
    return f"name: test\ndescription: A test.\n{root}\nnodes:\n{nodes}"


def scripted(lake: Lakehouse, *replies: Any) -> Scripted:
    """Have prompts answered by these, in order; the provider, which keeps what it was asked."""
    provider = Scripted(replies)
    vars(lake)["chat"] = Chat(lake.config.chat, provider)
    return provider


def by_id(state: RunState) -> dict[str, Any]:
    """The node records of a run by path."""
    return {node.path: node for node in state.nodes}
