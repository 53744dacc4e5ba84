"""A node that runs another workflow, once or for each item of an array."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import anyio

from lakehouse.engine.workflows.model import Child, FanOut
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.step import Pause, Step
from lakehouse.engine.workflows.runs import RunRecord
from lakehouse.errors import InvalidInput, LakehouseError, Unprocessable


async def run_child(step: Step) -> Output:
    """Run it as a run of its own, below this one; its result is the output.

    With `fan_out` one for each item; the output is the array of their results in the order of the items, each that is
    the JSON of an object or an array as that value. Raises Unprocessable naming the run that failed, and Pause while
    somebody has to answer in one.
    """
    body = step.node.body
    assert isinstance(body, Child)
    _check_cycle(step.live, body.workflow)
    given = step.scope.passed(step.node.given)
    if body.fan_out is not None:
        return await _each(step, body, body.fan_out, given)
    message = step.scope.text(body.input) if body.input is not None else ""
    record = await _run(step, body.workflow, None, given, message)
    if record.status == "paused":
        raise Pause("", {"below": [record.id]})
    if record.status != "completed":
        raise Unprocessable(_why(record), fix="workflow_status of that run tells more.")
    nodes = await step.live.store.nodes(record.id)
    return Output(record.result, any(node.typed and node.text == record.result for node in nodes.values()))


async def _each(step: Step, body: Child, fan_out: FanOut, given: Mapping[str, Any]) -> Output:
    items = step.scope.array(fan_out.items)
    slots: list[Any] = [None] * len(items)
    failed: dict[int, str] = {}
    paused: dict[int, str] = {}
    refused: list[LakehouseError] = []
    turn: Iterator[tuple[int, Any]] = iter(enumerate(items))

    async def work() -> None:
        nonlocal turn
        while (following := next(turn, None)) is not None:
            index, item = following
            named = {fan_out.name: item} if fan_out.name else {}
            message = item if isinstance(item, str) else Output.of(item).text
            try:
                record = await _run(step, body.workflow, index, {**given, **named}, message)
            except InvalidInput as error:  # the item's fault: the others have their own
                status, failed[index] = "failed", error.detail
            except LakehouseError as error:  # nobody's fault among the items: no more of them begins
                refused.append(error)
                turn = iter(())
                return
            else:
                status = record.status
                if status == "completed":
                    slots[index] = _slot(record.result)
                elif status == "paused":
                    paused[index] = record.id
                else:
                    failed[index] = _why(record)
            if index in failed:
                slots[index] = {"archon_failed": True, "error": failed[index], "status": status}
            step.beat()

    async with anyio.create_task_group() as group:
        for _ in range(min(fan_out.max_parallel, len(items))):
            group.start_soon(work)
    if refused:
        raise refused[0]
    if paused:
        raise Pause("", {"below": [paused[index] for index in sorted(paused)]})
    if failed and fan_out.join == "all_success":
        first = min(failed)
        raise Unprocessable(
            f"{len(failed)} of {len(items)} failed; item {first}: {failed[first]}",
            fix="Resume the run to try those again.",
        )
    return Output.of(slots)


async def _run(step: Step, workflow: str, index: int | None, given: Mapping[str, Any], message: str) -> RunRecord:
    children = step.live.children
    assert children is not None
    return await children(step.path, workflow, index=index, inputs=given, message=message)


def _check_cycle(live: Live, workflow: str) -> None:
    """Refuse a workflow that this run, or one above it, is itself."""
    chain = [live.record.workflow]
    names = {live.record.workflow, live.record.bundle.get("name")}
    while live.above is not None:
        live = live.above[0]
        chain.append(live.record.workflow)
        names |= {live.record.workflow, live.record.bundle.get("name")}
    if workflow in names:
        way = " -> ".join((*reversed(chain), workflow))
        raise Unprocessable(f"workflow: {way} would start itself.", fix="Use loop_group: to repeat nodes.")


def _why(record: RunRecord) -> str:
    why = f": {record.error.detail}" if record.error else "."
    ended = "was cancelled" if record.status == "cancelled" else record.status
    return f"run {record.id} of {record.workflow} {ended}{why}"


def _slot(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
