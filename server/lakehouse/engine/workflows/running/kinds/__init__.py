"""What each kind of node does: a function of its Step that returns its Output."""

from lakehouse.engine.workflows.model import Approval, Bash, Cancel, Child, Loop, LoopGroup, Mode, Prompt, Script
from lakehouse.engine.workflows.running.kinds.approval import run_approval
from lakehouse.engine.workflows.running.kinds.bash import run_bash
from lakehouse.engine.workflows.running.kinds.cancel import run_cancel
from lakehouse.engine.workflows.running.kinds.child import run_child
from lakehouse.engine.workflows.running.kinds.group import run_group
from lakehouse.engine.workflows.running.kinds.loop import run_loop
from lakehouse.engine.workflows.running.kinds.mode import run_mode
from lakehouse.engine.workflows.running.kinds.prompt import run_prompt
from lakehouse.engine.workflows.running.kinds.script import run_script
from lakehouse.engine.workflows.running.step import Executor

EXECUTORS: dict[type, Executor] = {
    Mode: run_mode,
    Bash: run_bash,
    Script: run_script,
    Prompt: run_prompt,
    Loop: run_loop,
    LoopGroup: run_group,
    Approval: run_approval,
    Cancel: run_cancel,
    Child: run_child,
}
# These wait for nodes of their own, or for somebody: they take no place among the nodes that run at once.
CONTAINERS: frozenset[type] = frozenset({LoopGroup, Approval, Child})
# These are calls through the door, which are observed there.
OBSERVED: frozenset[type] = frozenset({Mode, Prompt})
