"""What each kind of node is given: the arguments of modes, fan-outs, contexts, scripts."""

import re

from lakehouse.engine.chat.schemas import check as check_schema
from lakehouse.engine.workflows.checks.arguments import check_arguments
from lakehouse.engine.workflows.checks.level import Findings, Level
from lakehouse.engine.workflows.checks.quotes import strange_places
from lakehouse.engine.workflows.model import Approval, Bash, Child, Control, Loop, LoopGroup, Mode, Node, Script
from lakehouse.engine.workflows.references.fields import data_of
from lakehouse.engine.workflows.references.templates import references
from lakehouse.errors import Unprocessable

RESUME = re.compile(r"resume:\s*(.+)")


def check_body(level: Level, node: Node, findings: Findings) -> None:
    """Find what cannot be given to a node, and where it leads nowhere."""
    body = node.body
    if isinstance(body, Mode):
        check_arguments(level, node, body.name, findings)
    if isinstance(body, Child) and body.fan_out is not None and _no_items(body.fan_out.items):
        where = level.place(node.id, "fan_out.items")
        message = f"{body.fan_out.items[:80]!r} is neither a reference nor a JSON array."
        findings.error(where, message, "Write items: $node.output.field.")
    if isinstance(body, Approval) and body.on_reject is not None and body.on_reject.reworks:
        _check_asks(level, node, "approval.on_reject.reworks", body.on_reject.reworks, findings)
    _check_shell(level, node, findings)
    _check_tools(level, node, findings)
    _check_format(level, node, findings)
    resumed = RESUME.fullmatch(node.context)
    if resumed is not None:
        _check_asks(level, node, "context", resumed[1].strip(), findings)


def _no_items(items: str) -> bool:
    """Whether what is to be fanned out can never be an array: nothing is put into it, and it is none."""
    return next(references(items), None) is None and not isinstance(data_of(items), list)


def _check_asks(level: Level, node: Node, key: str, id: str, findings: Findings) -> None:
    where = level.place(node.id, key)
    said = "resume" if key == "context" else "reworks"
    producer = level.by_id.get(id)
    if producer is None:
        findings.error(where, f"{said}: there is no node {id}.", findings.meant(id, level.by_id))
    elif producer.agent is None:
        findings.error(where, f"{said}: {id} is no prompt.", "Name a prompt before this one.")
    elif id == node.id or not level.upstream(id, node.id):
        findings.error(where, f"{said}: {id} need not have run by then.", f"Add {id} to depends_on.")


def _check_tools(level: Level, node: Node, findings: Findings) -> None:
    others = []
    for name in (node.agent.allowed_tools or ()) if node.agent else ():
        ours = name.removeprefix("mcp__lakehouse__")
        found = level.modes.mode(ours)
        if found is None or not found.tool:
            fix = findings.meant(ours, [one for one in level.modes.modes() if "." in one], "")
            if fix:
                message = f"there is no tool {name[:80]} here; the prompt runs without it."
                findings.warn(level.place(node.id, "allowed_tools"), message, fix)
            else:
                others.append(name[:80])
    if others:
        what = f"tool {others[0]}" if len(others) == 1 else f"tool {', '.join(others[:-1])} or {others[-1]}"
        message = f"there is no {what} here; the prompt runs without."
        findings.warn(level.place(node.id, "allowed_tools"), message)


def _check_format(level: Level, node: Node, findings: Findings) -> None:
    if node.agent is not None and node.agent.output_format is not None:
        try:
            check_schema(node.agent.output_format)
        except Unprocessable as error:
            message = error.detail.removeprefix("output_format: ")
            findings.error(level.place(node.id, "output_format"), message, error.fix)


def _check_shell(level: Level, node: Node, findings: Findings) -> None:
    body = node.body
    control: Control | None = body.control if isinstance(body, Loop | LoopGroup) else None
    script, key = (body.script, "bash") if isinstance(body, Bash) else ("", "script")
    if control is not None and control.until_bash:
        script, key = control.until_bash, f"{node.kind}.until_bash"
    if script or isinstance(body, Script):
        where = level.place(node.id, key)
        if findings.shell is False:
            fix = "Run it with `lakehouse run` on this machine, or set workflows.allow_shell for files of this machine."
            findings.error(where, "bash and scripts are not open to whoever starts it.", fix)
        for reference, told, fix in strange_places(script):
            findings.warn(where, f"{reference} {told}", fix)
    if isinstance(body, Script) and not body.name:
        outputs = [str(one) for one in references(body.source) if one.kind in ("output", "previous")]
        if outputs:
            message = f"{outputs[0]} becomes a part of the source: whoever has a say in what it holds writes code here."
            fix = "Give it with with: {name: " + outputs[0] + "}, and read the environment variable INPUTS_NAME."
            findings.warn(level.place(node.id, "script"), message, fix)
