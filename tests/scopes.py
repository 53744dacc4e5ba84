"""What tests of references have around them: cases from files, and the records of nodes as cases write them."""

from pathlib import Path
from typing import Any

import yaml

from lakehouse.engine.workflows.references import Output
from lakehouse.engine.workflows.runs import NodeRecord

CASES = Path(__file__).parent / "cases" / "workflows"


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of a file."""
    found: list[dict[str, Any]] = yaml.safe_load((CASES / name).read_text("utf-8"))
    return found


def records(nodes: dict[str, Any]) -> dict[str, NodeRecord]:
    """The records of nodes as the cases write them."""
    found = {}
    for id, node in nodes.items():
        if node is not None:
            output = Output.of(node["value"]) if "value" in node else Output(node.get("text", ""))
            status = node.get("status", "completed")
            found[id] = NodeRecord(id, "prompt", status, text=output.text, typed=output.typed)
    return found
