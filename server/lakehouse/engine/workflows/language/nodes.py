"""One entry of `nodes:` as a Node."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lakehouse.engine.workflows.model import (
    Agent,
    Approval,
    Bash,
    Body,
    Cancel,
    Child,
    Control,
    Decision,
    FanOut,
    Loop,
    LoopGroup,
    Mode,
    Node,
    OnReject,
    Prompt,
)
from lakehouse.engine.workflows.problems import Problem

if TYPE_CHECKING:
    from lakehouse.engine.workflows.language import Around, Source

KIND_KEYS = (
    *("prompt", "command", "bash", "script", "loop", "loop_group", "approval", "cancel", "include", "workflow"),
    "mode",
)


def node_of(given: Any, around: "Around", used: dict[tuple[str, str], "Source"]) -> tuple[Node | None, list[Problem]]:
    """The node an entry describes, or what is wrong with it."""
    if not isinstance(given, Mapping):
        return None, [Problem("nodes", "an entry is no mapping.", "Write - id: NAME and what it does.")]
    where = f"nodes.{given.get('id', '?')}"
    kinds = [key for key in KIND_KEYS if key in given]
    if len(kinds) != 1:
        return None, [Problem(where, f"it has {len(kinds)} kinds.", f"Give it one of {', '.join(KIND_KEYS)}.")]
    body: Body | None = None
    if kinds[0] == "mode":
        body = Mode(str(given["mode"]))
    elif kinds[0] == "bash":
        body = Bash(str(given["bash"]))
    elif kinds[0] == "prompt":
        body = Prompt(str(given["prompt"]), Agent(model=str(given.get("model", ""))))
    elif kinds[0] == "loop":
        loop = given["loop"]
        body = Loop(Prompt(str(loop["prompt"]), Agent(model=str(given.get("model", "")))), _control(loop))
    elif kinds[0] == "loop_group":
        inner = [node_of(one, around, used) for one in given["loop_group"]["nodes"]]
        body = LoopGroup(tuple(node for node, _ in inner if node), _control(given["loop_group"]))
    elif kinds[0] == "approval":
        gate = given["approval"]
        reject = gate.get("on_reject")
        body = Approval(
            str(gate["message"]),
            bool(gate.get("capture_response")),
            OnReject(str(reject["prompt"]), int(reject.get("max_attempts", 3))) if reject else None,
            tuple(Decision(one["id"], one.get("label", "")) for one in gate.get("decisions", ())),
        )
    elif kinds[0] == "workflow":
        fan = given.get("fan_out")
        body = Child(
            str(given["workflow"]),
            given.get("input"),
            fan_out=FanOut(fan["items"], fan.get("as", ""), fan.get("max_parallel", 5), fan.get("join", "all_done"))
            if fan
            else None,
        )
    elif kinds[0] == "cancel":
        body = Cancel(str(given["cancel"]))
    if body is None:
        return None, [Problem(where, f"{kinds[0]} cannot run here.", "")]
    return (
        Node(
            str(given["id"]),
            body,
            depends_on=tuple(given.get("depends_on") or ()),
            when=str(given.get("when", "")),
            given=given.get("with") or {},
            trigger_rule=given.get("trigger_rule", "all_success"),
            always_run=bool(given.get("always_run")),
        ),
        [],
    )


def _control(given: Mapping[str, Any]) -> Control:
    return Control(**{key: given[key] for key in Control.__dataclass_fields__ if key in given})
