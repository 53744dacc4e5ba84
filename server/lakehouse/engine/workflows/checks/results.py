"""What a workflow says of its result: which node returns it, and which field is its verdict."""

from lakehouse.engine.workflows.checks.level import Findings
from lakehouse.engine.workflows.model import Workflow


def check_results(workflow: Workflow, findings: Findings) -> None:
    """Find a `returns` that names no node, and an `outcome_field` that is no required boolean of its output."""
    ids = [node.id for node in workflow.nodes]
    if workflow.returns and workflow.returns not in ids:
        findings.error("returns", f"there is no node {workflow.returns}.", findings.meant(workflow.returns, ids))
    elif workflow.outcome_field:
        node = workflow.node(workflow.returns)
        agent = node.agent if node is not None else None
        schema = (agent.output_format if agent is not None else None) or {}
        declared = (schema.get("properties") or {}).get(workflow.outcome_field) or {}
        if declared.get("type") != "boolean" or workflow.outcome_field not in (schema.get("required") or ()):
            message = f"{workflow.outcome_field} is no required boolean of what `returns` puts out."
            fix = "Declare it so in that node's output_format." if workflow.returns else "Name a node in returns:."
            findings.error("outcome_field", message, fix)
