"""What is done again when somebody rejected what a run has done, so that the gate asks about what is there now."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from lakehouse.engine.workflows.model import (
    Agent,
    Approval,
    Bash,
    Loop,
    LoopGroup,
    Mode,
    Node,
    OnReject,
    Prompt,
    Script,
)
from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.running.gates import kept
from lakehouse.engine.workflows.running.kinds.asking import ask
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import Unprocessable, by_code

ASKS = (Prompt, Loop, LoopGroup)
CHECKS = (Bash, Script, Mode)


class Rework:
    """The `on_reject` of a gate.

    A prompt is answered first. With `reworks: draft` its answer becomes the output of that node, and everything
    between it and the gate runs again. Without, as in files of others, the prompt works by what it does: its answer is
    told to whoever is asked again, and what checks the work runs again. See `between`.
    """

    def __init__(self, step: Step, on_reject: OnReject) -> None:
        """Raises Unprocessable where `reworks` names no prompt upstream of the gate."""
        self._step = step
        self._on_reject = on_reject
        self._prefix = step.path.removesuffix(step.node.id)
        self.most = on_reject.max_attempts
        if on_reject.reworks and self._agent is None:
            raise Unprocessable(
                f"on_reject.reworks: {on_reject.reworks[:80]} is no prompt that the gate depends on.",
                fix="Name a prompt, command or loop upstream of the gate.",
            )

    @property
    def told(self) -> str:
        """What the last rework answered, where the gate's message cannot refer to it."""
        return "" if self._on_reject.reworks else str(kept(self._step).get("rework", ""))

    async def do(self, number: int, reason: str) -> None:
        """Do it, for the rejection of this number. Killed, it goes on where it was. Raises what a node fails with."""
        step = self._step
        if kept(step).get("reworked", 0) <= number:
            scope = step.scope.along(REJECTION_REASON=reason)
            async with step.live.places:
                answer = await ask(step, scope.prompt(self._on_reject.prompt), self._agent or self._on_reject.agent)
            step.tell("rework", n=number + 1)
            output = Output(answer.text) if answer.value is None else Output.of(answer.value)
            await step.keep(reworked=number + 1, rework=output.text, rework_typed=output.typed)
        if kept(step).get("cleared", 0) <= number:
            await self._clear()
            await step.keep(cleared=number + 1)
        await self._run()

    @cached_property
    def _again(self) -> list[Node]:
        return between(self._nodes, self._step.node.id, self._on_reject.reworks)

    @cached_property
    def _nodes(self) -> Sequence[Node]:
        """The graph the gate is in: the workflow's, or that of the groups around it."""
        nodes: Sequence[Node] = self._step.live.workflow.nodes
        for part in self._step.path.split("/")[:-1]:
            around = next(node for node in nodes if node.id == part.rpartition("#")[0])
            assert isinstance(around.body, LoopGroup)
            nodes = around.body.nodes
        return nodes

    @cached_property
    def _agent(self) -> Agent | None:
        upstream = _upstream({node.id: node for node in self._nodes}, self._step.node.id)
        reworked = self._on_reject.reworks
        return next((node.agent for node in self._nodes if node.id == reworked and node.id in upstream), None)

    async def _clear(self) -> None:
        """Put the answer in its place, and forget what the nodes that run again put out."""
        live, state = self._step.live, kept(self._step)
        records = []
        if self._on_reject.reworks:
            record = live.nodes[self._prefix + self._on_reject.reworks]
            record = record.changed(status="completed", text=state["rework"], typed=state["rework_typed"], failure=None)
            self._step.scope.settled[self._on_reject.reworks] = record
            records.append(record)
        for node in self._again:
            record = live.nodes[self._prefix + node.id]
            records.append(record.changed(status="pending", reason="", text="", typed=False, failure=None, extra={}))
        await live.keep(*records)

    async def _run(self) -> None:
        from lakehouse.engine.workflows.running.graph import Graph  # which knows the kinds, and so this one

        records = await Graph(self._step.live, self._again, self._step.scope, self._prefix).run()
        failed = next((record for record in records if record.status == "failed"), None)
        if failed is not None and failed.failure is not None:
            why = failed.failure
            raise by_code(why.code, f"after the rework, {failed.path} failed: {why.detail}", fix=why.fix)


def between(nodes: Iterable[Node], gate: str, reworked: str = "") -> list[Node]:
    """The nodes upstream of a gate that run again after a rework.

    Of one that `reworked` a node: all that depend on it. Else those that check what a model made, which are scripts
    and modes downstream of a prompt, and all that depend on them. Other gates are not asked again.
    """
    by_id = {node.id: node for node in nodes}
    upstream = _upstream(by_id, gate)
    above = {id: _upstream(by_id, id) for id in upstream}
    if reworked:
        again = {id for id in upstream if reworked in above[id]}
    else:
        made = {id for id in upstream if isinstance(by_id[id].body, ASKS)}
        checks = {id for id in upstream if isinstance(by_id[id].body, CHECKS) and made & above[id]}
        again = checks | {id for id in upstream if checks & above[id]}
    return [node for id, node in by_id.items() if id in again and not isinstance(node.body, Approval)]


def _upstream(nodes: Mapping[str, Node], id: str) -> set[str]:
    found: set[str] = set()
    waiting = list(nodes[id].depends_on)
    while waiting:
        one = waiting.pop()
        if one in nodes and one not in found:
            found.add(one)
            waiting += nodes[one].depends_on
    return found
