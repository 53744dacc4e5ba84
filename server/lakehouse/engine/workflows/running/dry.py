"""Dry runs: a workflow's control flow, without models, capabilities or shells."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio.lowlevel
import anyio.to_thread

from lakehouse.engine.chat.schemas import faults_of
from lakehouse.engine.workflows.model import (
    Approval,
    Bash,
    Cancel,
    Child,
    Loop,
    LoopGroup,
    Mode,
    Node,
    Prompt,
    Script,
)
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.references.fields import MissingField
from lakehouse.engine.workflows.running.placeholder import placeholder
from lakehouse.engine.workflows.running.step import Executor, Pause, Step, Stop
from lakehouse.engine.workflows.runs import Event, NodeRecord, RunRecord, Store
from lakehouse.errors import InvalidInput, LakehouseError, Unprocessable, by_code, did_you_mean

FAIL = "fail"


@dataclass(frozen=True)
class Dry:
    """What is answered in place of models and modes, by node.

    A stub is a text, a value, or `{"fail": why}`; it goes by a node's id, or by its path in the run (`group#1/check`)
    where that has one of its own. A node without one answers a placeholder that fits what it declares; scripts run in
    its place with `exec_code`. Gates approve, unless the run is to `pause_at_gates`.
    """

    stubs: Mapping[str, Any] = field(default_factory=dict)
    exec_code: bool = False
    pause_at_gates: bool = False
    called: dict[str, Any] = field(default_factory=dict)  # what modes would have been called with, by path

    def check(self, nodes: Sequence[Node]) -> None:
        """Raises InvalidInput for a stub of a node that is not there."""
        known = set(_ids(nodes))
        for name in self.stubs:
            if name.rpartition("/")[2].partition("#")[0] not in known:
                raise InvalidInput(f"stubs: there is no node {name[:80]!r}.", fix=did_you_mean(name, known))

    def advice(self, error: LakehouseError) -> str:
        """What to do about an error: a stub may hold what a placeholder does not."""
        return "Give that node a stub which has it." if isinstance(error, MissingField) else error.fix

    def executor(self, kind: type) -> Executor:
        """What stands in for the nodes of a kind."""
        from lakehouse.engine.workflows.running.kinds import EXECUTORS  # the tools import this module

        if kind is Approval and self.pause_at_gates:
            return EXECUTORS[kind]
        return self._answer

    async def _answer(self, step: Step) -> Output:
        await anyio.lowlevel.checkpoint()
        body, node = step.node.body, step.node
        stub = self.stubs.get(step.path, self.stubs.get(node.id))
        if isinstance(stub, Mapping) and set(stub) == {FAIL}:
            raise Unprocessable(str(stub[FAIL]), fix="Its stub has it fail.")
        _resolve(step)
        if isinstance(body, Cancel):
            raise Stop(step.scope.text(body.reason))
        if stub is not None:
            return await _fitting(step, stub)
        if isinstance(body, Bash | Script) and self.exec_code:
            from lakehouse.engine.workflows.running.kinds import EXECUTORS

            return await EXECUTORS[type(body)](step)
        if isinstance(body, LoopGroup):
            return await _once(step, body)
        return _placeholder(step)


def dry_of(
    wanted: bool, stubs: Mapping[str, Any] | None = None, exec_code: bool = False, pause_at_gates: bool = False
) -> Dry | None:
    """What a dry run is given; None for a run. Raises InvalidInput for what only a dry run takes."""
    given = {"stubs": stubs, "exec_code": exec_code, "pause_at_gates": pause_at_gates}
    if not wanted and (named := [name for name, value in given.items() if value]):
        raise InvalidInput(f"{named[0]} is for dry runs.", fix="Give dry_run, too, or leave it out.")
    return Dry(stubs or {}, exec_code, pause_at_gates) if wanted else None


class Unkept(Store):
    """A store for a dry run: it keeps the events of one run in memory, and nothing else."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._told: list[Event] = []

    async def put_run(self, record: RunRecord) -> None:
        """Nothing is kept of a run: its Live has it."""

    async def put_nodes(self, run: str, paths: Sequence[str], nodes: Mapping[str, NodeRecord]) -> None:
        """Nothing is kept of nodes: their Live has them."""
        await anyio.lowlevel.checkpoint()

    def tell(self, run: str, event: Event) -> None:
        """Keep an event."""
        self._told.append(event)

    async def events(
        self, run: str, after: int = 0, limit: int = 1000, path: str | None = None
    ) -> list[tuple[int, Event]]:
        """What happened, as Store has it."""
        found = [(seq, event) for seq, event in enumerate(self._told, 1) if path in (None, event.path)]
        return [(seq, event) for seq, event in found if seq > after][:limit]


def _resolve(step: Step) -> None:
    """Look up everything a node refers to, so that what is missing fails it here as it would."""
    body, scope = step.node.body, step.scope
    if isinstance(body, Mode):
        given = scope.given(step.node.given)
        if step.live.dry is not None:
            step.live.dry.called[step.path] = given
    else:
        scope = scope.bound(step.node.given)
    if isinstance(body, Prompt):
        scope.prompt(body.text)
    elif isinstance(body, Loop):
        scope.prompt(body.prompt.text)
    elif isinstance(body, Bash):
        scope.shell(body.script)
    elif isinstance(body, Script) and not body.name:
        scope.source(body.source)
    elif isinstance(body, Approval):
        scope.text(body.message)
    elif isinstance(body, Child) and body.input is not None:
        scope.text(body.input)


async def _fitting(step: Step, stub: Any) -> Output:
    """A stub as the node's output. Raises Unprocessable where it does not fit the node's output_format."""
    schema = step.node.agent.output_format if step.node.agent else None
    if schema is None:
        if isinstance(step.node.body, Approval):
            return _gate(step.node.body, stub)
        return Output(stub) if isinstance(stub, str) else Output.of(stub)
    if isinstance(stub, str):
        try:
            stub = json.loads(stub)
        except (ValueError, RecursionError):
            raise Unprocessable("its stub is no JSON, as its output_format asks for.", fix="Mend the stub.") from None
    faults = await anyio.to_thread.run_sync(faults_of, stub, schema)
    if faults:
        raise Unprocessable(f"its stub does not fit its output_format: {'; '.join(faults)}.", fix="Mend the stub.")
    return Output.of(stub)


def _gate(body: Approval, stub: Any) -> Output:
    """What a gate puts out that was answered with the stub: a text, or `{"decision", "text"}`."""
    given = dict(stub) if isinstance(stub, Mapping) else {"text": str(stub)}
    decision, text = str(given.get("decision", "approve")), str(given.get("text", ""))
    if body.decisions:
        if decision not in {one.id for one in body.decisions}:
            raise Unprocessable(f"its stub decides {decision!r}, which the gate does not offer.", fix="Mend the stub.")
        return Output.of({"decision": decision, "text": text})
    if decision == "reject" and body.on_reject is None:
        raise Stop(f"rejected by its stub{f': {text}' if text else '.'}")
    return Output(text if body.capture_response else "")


def _placeholder(step: Step) -> Output:
    body, node = step.node.body, step.node
    told = f"[{node.id}]"
    if isinstance(body, Approval):
        return _gate(body, {})
    if isinstance(body, Mode):
        facts = step.live.door.mode(body.name)
        return Output.of(placeholder(facts.output_schema, told) if facts is not None else told)
    if isinstance(body, Child) and body.fan_out is not None:
        return Output.of([told])
    schema = node.agent.output_format if node.agent else None
    return Output(told) if schema is None else Output.of(placeholder(schema, told))


async def _once(step: Step, body: LoopGroup) -> Output:
    """One iteration of a loop group."""
    from lakehouse.engine.workflows.running.graph import Graph  # which knows the kinds, and so what stands in for them

    scope = replace(step.scope, settled={}, outer=step.scope)
    records = await Graph(step.live, body.nodes, scope, f"{step.path}#1/").run()
    failed = next((record for record in records if record.failure is not None), None)
    if failed is not None and failed.failure is not None:
        raise by_code(failed.failure.code, f"{failed.path}: {failed.failure.detail}", fix=failed.failure.fix)
    if any(record.status == "paused" for record in records):
        raise Pause("", {})
    needed = {id for node in body.nodes for id in node.depends_on}
    last = [record for node, record in zip(body.nodes, records, strict=True) if node.id not in needed]
    found = next((record for record in last if record.text.strip()), last[0])
    return Output(found.text, found.typed)


def _ids(nodes: Sequence[Node]) -> list[str]:
    found: list[str] = []
    for node in nodes:
        found.append(node.id)
        if isinstance(node.body, LoopGroup):
            found += _ids(node.body.nodes)
    return found
