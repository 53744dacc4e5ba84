"""Answers about workflows as people read them."""

from typing import Any

import click

from lakehouse.faces.workflows import compared, listed, modes

NARROW, PIPE = 44, 10_000


def shown(lines: Any) -> str:
    return click.unstyle("\n".join(lines))


def test_a_mode_says_what_it_takes_and_puts_out() -> None:
    """Types, what is required, defaults, and the lines that a file has; of all modes a line each, steps first."""
    text = {"type": "string", "description": "What is said."}
    many = {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}], "default": None}
    takes = {"properties": {"text": text, "many": many, "how": {"enum": ["a", "b"]}}, "required": ["text"]}
    one = {"mode": "x.say", "description": "Say it.", "effect": "reads", "tool": False}
    told = shown(modes({"modes": [{**one, "arguments": takes, "output": {"type": "string"}}], "count": 1}, PIPE))
    assert "x.say  reads\n    Say it.\nIt takes:\n    text (string, required): What is said.\n" in told
    assert "many (array of integer, else null)\n    how (a | b)\nIt puts out string.\n" in told
    assert told.endswith("- id: step\n  mode: x.say\n  with: {text: …}")
    other = {"mode": "a.tool", "description": "A tool. " * 20, "effect": "reads", "tool": True}
    table = shown(modes({"modes": [other, one], "count": 2}, NARROW)).splitlines()
    assert table[1] == "  x.say   Say it." and table[3].startswith("  a.tool  A tool.") and table[3].endswith("…")


def test_a_workflow_says_what_it_is_for_and_takes() -> None:
    """One that cannot run says why."""
    inputs = {"a": {"type": "string", "required": True, "description": "An a."}, "b": {"type": "integer", "default": 2}}
    good = {"name": "w", "description": "For w.\nMore.", "inputs": inputs, "nodes": 2, "valid": True, "tool": True}
    bad = {"name": "v", "description": "nodes: none.", "inputs": {}, "nodes": 0, "valid": False, "file": "v.yaml"}
    told = shown(listed({"workflows": [good, bad], "count": 2}, PIPE))
    assert told.startswith("w  2 nodes  a tool\n    For w.\n    --input a=… (string, required): An a.\n")
    assert "--input b=… (integer, else 2)\n" in told and "v  cannot run  v.yaml\n    nodes: none.\n" in told


def test_two_runs_side_by_side() -> None:
    fared = {"status": "completed", "duration_ms": 3.0}
    node = {"id": "a", "same": False, "a": fared, "b": None, "changes": [], "text": "--- a\n+++ b\n@@\n-x\x1b\n+y"}
    typed = {
        "id": "b",
        "same": False,
        "a": fared,
        "b": fared,
        "changes": [{"path": "$.k", "a": 1, "b": 2}],
        "text": None,
    }
    answer = {"a": fared, "b": fared, "same_workflow": False, "inputs": [{"path": "$.message", "a": "m"}], "nodes": []}
    told = shown(compared({**answer, "nodes": [node, typed]}, PIPE))
    assert told.startswith("They ran different texts.\n") and '≠ message: "m" → null' in told
    assert "≠ a  ✓ completed, 3 ms → not there\n    @@\n    -x \n    +y\n" in told and "    $.k: 1 → 2" in told
