"""What is wrong with a workflow that could be read: found before anything of it runs."""

from lakehouse.engine.workflows.checks.bodies import check_body
from lakehouse.engine.workflows.checks.graph import check_graph
from lakehouse.engine.workflows.checks.level import Findings, Level, Modes
from lakehouse.engine.workflows.checks.mentions import check_mentions
from lakehouse.engine.workflows.model import LoopGroup, Workflow
from lakehouse.engine.workflows.problems import Problem


def check(workflow: Workflow, modes: Modes, *, shell: bool | None = None) -> tuple[list[Problem], list[Problem]]:
    """The errors and the warnings of a workflow: of its graph, then node by node, then of loop groups.

    `modes` says what modes there are and what they take; a door is one. `shell` says whether bash and scripts are open
    to whoever starts it; None where nobody does. Where a finding is, is written as Loaded.line takes it.
    """
    findings = Findings(shell)
    levels = [Level(workflow.nodes, workflow, modes)]
    while levels:
        level = levels.pop()
        check_graph(level, findings)
        for node in level.nodes:
            check_body(level, node, findings)
            check_mentions(level, node, findings)
            if isinstance(node.body, LoopGroup):
                levels.append(level.within(node, node.body.nodes))
    return findings.errors, findings.warnings


__all__ = ["Modes", "check"]
