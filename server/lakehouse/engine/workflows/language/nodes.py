"""One entry of `nodes:` as a Node."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lakehouse.engine.workflows.model import Agent, Bash, Body, Mode, Node, Prompt
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
    if body is None:
        return None, [Problem(where, f"{kinds[0]} cannot run here.", "")]
    return (
        Node(
            str(given["id"]),
            body,
            depends_on=tuple(given.get("depends_on") or ()),
            when=str(given.get("when", "")),
            given=given.get("with") or {},
        ),
        [],
    )
