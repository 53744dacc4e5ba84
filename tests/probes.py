"""Nodes of a test that do what the test says, and runs of them without a file: the scheduler by itself."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import KINDS, Node, Workflow
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.dry import Dry
from lakehouse.engine.workflows.running.kinds import EXECUTORS
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.run import execute
from lakehouse.engine.workflows.running.step import Step
from lakehouse.engine.workflows.runs import NodeRecord, RunRecord, Starter
from lakehouse.lake.steps import Steps

Work = Callable[[Step], Awaitable[Any]]


@dataclass(frozen=True)
class Probe:
    """What a node does: it puts out what `work` returns."""

    work: Work


async def run_probe(step: Step) -> Output:
    """Do it."""
    found = await step.node.body.work(step)  # type: ignore[union-attr]
    return found if isinstance(found, Output) else Output(str(found))


@pytest.fixture
def probing() -> Iterator[None]:
    """Nodes may be probes."""
    with mock.patch.dict(EXECUTORS, {Probe: run_probe}), mock.patch.dict(KINDS, {Probe: "probe"}):
        yield


def probe(id: str, work: Work | str = "", *after: str, **fields: Any) -> Node:
    """A node that does this, or puts out this text, after others."""

    async def say(step: Step) -> str:
        return str(work)

    body: Any = Probe(work if callable(work) else say)
    return Node(id, body, depends_on=after, **fields)


async def fail(step: Step) -> str:
    """Fail, as nothing that is worth another attempt does."""
    raise ValueError("it broke")


def made(
    lake: Lakehouse,
    *nodes: Node,
    run: str = "run",
    above: tuple[Live, str] | None = None,
    dry: Dry | None = None,
    at_once: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    **root: Any,
) -> Live:
    """A live run of these nodes, which has not begun; `root` are further fields of the workflow."""
    part = lake.workflows
    settings = part.settings if at_once is None else part.settings.model_copy(update={"at_once": at_once})
    record = RunRecord(run, "test", {}, inputs or {}, "", Starter(), started_at=time.time())
    workflow = Workflow("test", "A test.", nodes, **root)
    folder, door = part.folder / run, Steps(lake)
    return Live(record, workflow, part.store, door, settings, folder, shell=True, above=above, dry=dry)


async def lived(lake: Lakehouse, *nodes: Node, earlier: Mapping[str, NodeRecord] | None = None, **more: Any) -> Live:
    """A run of these nodes, when it is over."""
    live = made(lake, *nodes, **more)
    await begun(lake, live)
    live.nodes.update(earlier or {})
    await execute(live)
    return live


async def begun(lake: Lakehouse, live: Live) -> None:
    """Have the store know of a run."""
    await lake.load()
    await live.store.add_run(live.record)


def statuses(live: Live) -> dict[str, str]:
    """How each node stands, in the order of the file."""
    return {record.path: record.status for record in live.records()}


async def told(live: Live, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The events of a kind, as they were kept: path and data."""
    events = await live.store.events(live.record.id)
    return [(event.path, event.data) for _, event in events if event.kind == kind]
