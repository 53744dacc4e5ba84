"""What is wrong with a workflow that could be read: found before anything of it runs."""

from collections.abc import Callable
from dataclasses import replace

from lakehouse.engine.workflows.checks.bodies import check_body
from lakehouse.engine.workflows.checks.graph import check_graph
from lakehouse.engine.workflows.checks.level import Findings, Level, Modes
from lakehouse.engine.workflows.checks.mentions import check_mentions
from lakehouse.engine.workflows.model import LoopGroup, Workflow
from lakehouse.engine.workflows.problems import Problem


def check(
    workflow: Workflow,
    modes: Modes,
    *,
    shell: bool | None = None,
    line: Callable[[str], int] | None = None,
) -> tuple[list[Problem], list[Problem]]:
    """The errors and the warnings of a workflow, in the order of its file.

    `modes` says what modes there are and what they take; a door is one. `shell` says whether bash and scripts are open
    to whoever starts it; None where nobody does. `line` gives the line of a place such as `nodes.review.when`.
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
    return _placed(findings.errors, line), _placed(findings.warnings, line)


def _placed(found: list[Problem], line: Callable[[str], int] | None) -> list[Problem]:
    return [replace(one, line=line(one.where)) for one in found] if line is not None else found


__all__ = ["Modes", "check"]
