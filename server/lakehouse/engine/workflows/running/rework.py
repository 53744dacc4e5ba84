"""What is done again when somebody rejected what a run has done, so that the gate asks about what is there now."""

from collections.abc import Iterable, Mapping, Sequence

from lakehouse.engine.workflows.model import Approval, Bash, Loop, LoopGroup, Mode, Node, Prompt, Script
from lakehouse.engine.workflows.running.gates import kept
from lakehouse.engine.workflows.running.step import Step
from lakehouse.errors import by_code

ASKS = (Prompt, Loop, LoopGroup)
CHECKS = (Bash, Script, Mode)


def siblings(step: Step) -> Sequence[Node]:
    """The nodes of the graph a node is in: the workflow's, or those of the groups around it."""
    nodes: Sequence[Node] = step.live.workflow.nodes
    for part in step.path.split("/")[:-1]:
        around = next(node for node in nodes if node.id == part.rpartition("#")[0])
        assert isinstance(around.body, LoopGroup)
        nodes = around.body.nodes
    return nodes


def between(nodes: Iterable[Node], gate: str) -> list[Node]:
    """The nodes that are to run again after a rework: those that check what a model made, and what follows them.

    They lie upstream of the gate. A script or a mode downstream of a prompt checks; so does everything between such a
    node and the gate. What only prompts made is not made again: the rework has just mended it. Other gates are
    not asked again.
    """
    by_id = {node.id: node for node in nodes}
    upstream = _upstream(by_id, gate)
    made = {id for id in upstream if isinstance(by_id[id].body, ASKS)}
    checks = {id for id in upstream if isinstance(by_id[id].body, CHECKS) and made & _upstream(by_id, id)}
    again = {id for id in upstream if id in checks or checks & _upstream(by_id, id)}
    return [node for id, node in by_id.items() if id in again and not isinstance(node.body, Approval)]


async def verified(step: Step, nodes: Sequence[Node], number: int) -> None:
    """Run the nodes between again, each once for this rework. Raises what one of them fails with."""
    from lakehouse.engine.workflows.running.graph import Graph  # which knows the kinds, and so this one

    again = between(nodes, step.node.id)
    prefix = step.path.removesuffix(step.node.id)
    live = step.live
    if kept(step).get("cleared", 0) <= number:
        for node in again:
            record = live.nodes[prefix + node.id]
            await live.keep(record.changed(status="pending", text="", typed=False, reason="", failure=None, extra={}))
        await step.keep(cleared=number + 1)
    records = await Graph(live, again, step.scope, prefix).run()
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None and failed.failure is not None:
        raise by_code(
            failed.failure.code,
            f"after the rework, {failed.path} failed: {failed.failure.detail}",
            fix=failed.failure.fix,
        )


def _upstream(nodes: Mapping[str, Node], id: str) -> set[str]:
    found: set[str] = set()
    waiting = list(nodes[id].depends_on)
    while waiting:
        one = waiting.pop()
        if one in nodes and one not in found:
            found.add(one)
            waiting += nodes[one].depends_on
    return found
