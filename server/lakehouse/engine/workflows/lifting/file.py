"""A lifted workflow as texts: the file itself, its stubs, and a test of what it did when it was recorded."""

from collections.abc import Mapping
from typing import Any

import yaml

from lakehouse.engine.workflows.lifting.lifting import Lifted

TESTS = "_tests"  # the folder beside a workflow's file that its test lies in; such folders hold no workflows


def workflow_text(name: str, made: Lifted) -> str:
    """The workflow's file."""
    steps = ", ".join(dict.fromkeys(node["mode"] for node in made.nodes))
    found: dict[str, Any] = {"name": name, "description": f"Does again what was recorded: {steps}."}
    if made.inputs:
        found["inputs"] = made.inputs
    found["nodes"] = made.nodes
    if made.nodes:
        found["returns"] = made.nodes[-1]["id"]
    return _yaml(found)


def stubs_text(made: Lifted) -> str:
    """What each node put out, for dry runs."""
    return _yaml(made.answers)


def test_text(name: str, made: Lifted) -> str:
    """What is to come out of a dry run with the stubs: the arguments of each call, and the result."""
    known = {id: given for id, given in made.arguments.items() if not _hidden(made, id)}
    found: dict[str, Any] = {"workflow": name}
    if made.secret:
        found["input"] = dict.fromkeys(made.secret, "secret")
    found["stubs"] = made.answers
    expect: dict[str, Any] = {"status": "completed", "arguments": known}
    if made.nodes:
        expect["result"] = made.answers[made.nodes[-1]["id"]]
    return _yaml({**found, "expect": expect})


def _hidden(made: Lifted, id: str) -> bool:
    node = next(node for node in made.nodes if node["id"] == id)
    return any(f"$INPUTS.{name}" in node.get("with", {}).values() for name in made.secret)


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.dump(dict(value), Dumper=_Whole, sort_keys=False, allow_unicode=True, width=110)


class _Whole(yaml.SafeDumper):
    """Without anchors: a file that holds the same value twice says it twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True
