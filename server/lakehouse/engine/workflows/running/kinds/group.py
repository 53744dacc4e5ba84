"""A node that runs a graph of its own again and again, until it is done."""

from collections.abc import Mapping, Sequence

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

    def ran(number: int) -> dict[str, NodeRecord]:
        """The nodes of an iteration that have records, by id."""
        paths = {node.id: f"{step.path}#{number}/{node.id}" for node in body.nodes}
        return {id: step.live.nodes[path] for id, path in paths.items() if path in step.live.nodes}

    def put(number: int) -> Output:
        last = _last(body.nodes, ran(number))
        return Output(last.text if last.typed else without_promise(last.text), last.typed)

    async def once(number: int, scope: Scope) -> Round:
        before = ran(number - 1) if number - 1 > kept(step)["first"] else {}
        inner = scope.inside(body.nodes, step.live.door.mode, previous=before)
        await _iterate(step, body.nodes, inner, f"{step.path}#{number}/")
        control = body.control
        done = bool(
            (control.until and signalled(_last(body.nodes, ran(number)).text, control.until))
            or (control.until_bash and await _succeeds(step, control.until_bash, inner, put(number)))
        )
        return Round(done)

    return await repeat(step, body.control, once, put, _highest(step))


async def _iterate(step: Step, nodes: Sequence[Node], scope: Scope, prefix: str) -> None:
    from lakehouse.engine.workflows.running.graph import Graph  # which knows the kinds, and so this one

    records = await Graph(step.live, nodes, scope, prefix).run()
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None and failed.failure is not None:
        raise by_code(failed.failure.code, f"{failed.path}: {failed.failure.detail}", fix=failed.failure.fix)
    if step.live.refusal is not None:
        raise step.live.refusal
    if any(record.status not in ("completed", "skipped") for record in records):
        raise Pause("", {})


async def _succeeds(step: Step, script: str, scope: Scope, output: Output) -> bool:
    async with step.live.places:
        return await succeeds(step, script, scope, output)


def _last(nodes: Sequence[Node], records: Mapping[str, NodeRecord]) -> NodeRecord:
    """The first node nothing depends on that put out something, else the first that nothing depends on."""
    needed = {id for node in nodes for id in node.depends_on}
    sinks = [records[node.id] for node in nodes if node.id not in needed]
    return next((record for record in sinks if record.text.strip()), sinks[0])


def _highest(step: Step) -> int:
    """The greatest number among iterations of this group that ran already: a group that is run anew goes on after."""
    mark = f"{step.path}#"
    numbers = {path.removeprefix(mark).partition("/")[0] for path in step.live.nodes if path.startswith(mark)}
    return max(map(int, numbers), default=0)
