"""A node that runs a graph of its own again and again, until it is done."""

import re
from collections.abc import Sequence

from lakehouse.engine.workflows.model import LoopGroup, Node
from lakehouse.engine.workflows.references import Output, Scope
from lakehouse.engine.workflows.running.gates import kept
from lakehouse.engine.workflows.running.kinds.until import succeeds
from lakehouse.engine.workflows.running.rounds import Round, repeat
from lakehouse.engine.workflows.running.step import Pause, Step
from lakehouse.engine.workflows.runs import NodeRecord
from lakehouse.engine.workflows.signals import signalled, without_promise
from lakehouse.errors import by_code


async def run_group(step: Step) -> Output:
    """Run the graph until a channel says that it is done; what the last iteration's last node put out.

    Each iteration's nodes are kept as `group#2/node`, so that a run goes on in the middle of one. Raises what a node
    of it fails with, Pause where one waits for somebody, and as rounds.repeat does.
    """
    body = step.node.body
    assert isinstance(body, LoopGroup)

    async def once(number: int, scope: Scope) -> Round:
        before = _of(step, body.nodes, number - 1) if number - 1 > kept(step)["begun"] else {}
        inner = scope.inside(body.nodes, step.live.door.mode, previous=before)
        records = await _iteration(step, body.nodes, inner, f"{step.path}#{number}/")
        last = _last(body.nodes, records)
        output = Output(without_promise(last.text), last.typed)
        control = body.control
        done = bool(
            (control.until and signalled(last.text, control.until))
            or (control.until_bash and await _succeeds(step, control.until_bash, inner, output))
        )
        return Round(output, done)

    return await repeat(step, body.control, once, _highest(step))


async def _iteration(step: Step, nodes: Sequence[Node], scope: Scope, prefix: str) -> list[NodeRecord]:
    from lakehouse.engine.workflows.running.graph import Graph  # which knows the kinds, and so this one

    records = await Graph(step.live, nodes, scope, prefix).run()
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None and failed.failure is not None:
        raise by_code(failed.failure.code, f"{failed.path}: {failed.failure.detail}", fix=failed.failure.fix)
    if any(record.status not in ("completed", "skipped") for record in records):
        raise Pause("", {})
    return records


async def _succeeds(step: Step, script: str, scope: Scope, output: Output) -> bool:
    async with step.live.places:
        return await succeeds(step, script, scope, output)


def _last(nodes: Sequence[Node], records: Sequence[NodeRecord]) -> NodeRecord:
    """The first node nothing depends on that put out something, else the first that nothing depends on."""
    needed = {id for node in nodes for id in node.depends_on}
    sinks = [record for node, record in zip(nodes, records, strict=True) if node.id not in needed]
    return next((record for record in sinks if record.text.strip()), sinks[0])


def _of(step: Step, nodes: Sequence[Node], number: int) -> dict[str, NodeRecord]:
    records = step.live.nodes
    paths = {node.id: f"{step.path}#{number}/{node.id}" for node in nodes}
    return {id: records[path] for id, path in paths.items() if path in records}


def _highest(step: Step) -> int:
    """The greatest number among iterations of this group that ran already: a group that is run anew goes on after."""
    numbered = re.compile(re.escape(step.path) + r"#(\d+)/")
    found = (numbered.match(path) for path in step.live.nodes)
    return max((int(match[1]) for match in found if match), default=0)
