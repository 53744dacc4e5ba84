"""What is found in a workflow before anything of it runs."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.flows import started
from tests.scopes import cases

from lakehouse import Lakehouse
from lakehouse.engine.workflows.checks import check
from lakehouse.engine.workflows.language import Loaded, Source, load
from lakehouse.engine.workflows.library import Library, Surroundings
from lakehouse.engine.workflows.model import (
    Bash,
    Child,
    Control,
    FanOut,
    Input,
    LoopGroup,
    Node,
    Prompt,
    Workflow,
)
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.problems import CannotRun, Problem
from lakehouse.engine.workflows.references import Scope
from lakehouse.engine.workflows.runs import NodeRecord


class Modes:
    """A few modes, as the catalogue describes them."""

    def __init__(self) -> None:
        text = {"type": "string"}
        self._modes = {
            "fixture.echo": ({"value": {}}, [], {"value": {}}),
            "fixture.upper": ({"text": text}, ["text"], {"text": text}),
            "sql.query": ({"sql": text, "limit": {"type": "integer", "minimum": 1}}, ["sql"], {"rows": {}}),
        }

    def mode(self, name: str) -> ModeFacts | None:
        if name not in self._modes:
            return None
        takes, required, gives = self._modes[name]
        given = {"type": "object", "properties": takes, "required": required, "additionalProperties": False}
        return ModeFacts(name, "", "reads", given, {"type": "object", "properties": gives})

    def modes(self) -> list[str]:
        return list(self._modes)


def loaded(case: dict[str, Any]) -> Loaded:
    """A case's workflow, read."""
    text = yaml.safe_dump({"name": "t", "description": "A test.", **case.get("root", {}), "nodes": case["nodes"]})
    return load(Source("t", text), Surroundings(Library(list), ""))


def agree(found: list[Problem], wanted: list[list[str]]) -> None:
    """Whether these are the findings, in this order."""
    assert len(found) == len(wanted), [str(one) for one in found]
    for one, (where, message, *fix) in zip(found, wanted, strict=True):
        assert one.where == where
        assert message in one.message
        assert not fix or fix[0] in one.fix


@pytest.mark.parametrize("case", cases("checks.yaml"), ids=lambda case: case["is"])
def test_what_is_found(case: dict[str, Any]) -> None:
    """A-S20-6: a cycle, a node that depends on itself, an id twice, an unknown dependency; and all else."""
    read = loaded(case)
    assert read.workflow is not None, [str(one) for one in read.errors]
    errors, warnings = check(read.workflow, Modes())
    agree(errors, case.get("errors", []))
    agree(warnings, case.get("warnings", []))


def test_a_fan_out_is_over_what_a_reference_yields() -> None:
    a = Node("a", Bash("echo [1]"))
    good = Node("b", Child("w", fan_out=FanOut("$a.output")), depends_on=("a",))
    written = Node("w", Child("w", fan_out=FanOut('["one", "two"]')))
    bad = Node("c", Child("w", fan_out=FanOut("one, two")), depends_on=("a",))
    errors, _ = check(Workflow("t", "", (a, good, written, bad)), Modes())
    agree(errors, [["nodes.c.fan_out.items", "neither a reference nor a JSON array"]])


def test_two_nodes_of_one_id() -> None:
    errors, _ = check(Workflow("t", "", (Node("a", Bash("echo")), Node("a", Prompt("so")))), Modes())
    agree(errors, [["nodes.a.id", "two nodes of this id"]])


@st.composite
def graphs(draw: st.DrawFn, around: tuple[str, ...] = ()) -> tuple[Node, ...]:
    """Up to four nodes, most of which refer to nodes before them, or to those around their group."""
    nodes: list[Node] = []
    for place in range(draw(st.integers(1, 4))):
        before = [node.id for node in nodes]
        known = [*before, *around, "missing" if draw(st.integers(0, 9)) == 0 else "x0"]
        pieces = [f"${id}.output{field}" for id in known for field in ("", ".f")] + ["$INPUTS.x", " $$ "]
        text = "".join(draw(st.lists(st.sampled_from(pieces), max_size=3)))
        when = draw(st.sampled_from(["", f"${known[0]}.output != ''", "$INPUTS.x == 1", "$x"]))
        body = Bash(text) if draw(st.booleans()) else Prompt(text)
        needed = tuple(draw(st.lists(st.sampled_from(before), unique=True))) if before else ()
        nodes.append(Node(f"{'y' if around else 'x'}{place}", body, needed, when))
    return tuple(nodes)


@given(graphs(), graphs(("x0",)))
def test_what_passes_refers_to_nothing_that_is_not_there(nodes: tuple[Node, ...], inner: tuple[Node, ...]) -> None:
    """Where the check finds no error, no reference of any node leads nowhere when it runs."""
    group = Node("g", LoopGroup(inner, Control(2, until="DONE")), tuple(node.id for node in nodes))
    errors, _ = check(Workflow("t", "", (*nodes, group), inputs={"x": Input("x")}), Modes())
    if errors:
        return
    outer = Scope.of((*nodes, group), {"x": 1}, {})
    body = outer.inside(inner)
    for scope, some in ((outer, nodes), (body, inner)):
        for node in some:
            if node.when:
                assert scope.when(node.when).held in (True, False)
            assert "$missing" not in scope.text(getattr(node.body, "text", "") or getattr(node.body, "script", ""))
            scope.settled[node.id] = NodeRecord(node.id, node.kind, "completed", text='{"f": 1}')


def test_a_shell_that_is_closed() -> None:
    workflow = Workflow("t", "", (Node("a", Bash("echo")),))
    assert check(workflow, Modes()) == check(workflow, Modes(), shell=True) == ([], [])
    agree(check(workflow, Modes(), shell=False)[0], [["nodes.a.bash", "not open"]])


def test_ten_thousand_nodes_that_are_all_wrong() -> None:
    """The findings are bounded, and no name is compared with all others more than a few times."""
    nodes = [
        Node(f"n{i}", Prompt(f"$m{i}.output $n{i - 1}.output"), depends_on=(f"k{i}",), when=f"$n{i}.output > 1")
        for i in range(10_000)
    ]
    errors, warnings = check(Workflow("t", "", tuple(nodes)), Modes())
    assert len(errors) == len(warnings) == 200


def test_a_chain_of_ten_thousand_nodes() -> None:
    """Each waits, by way of the others, for the first: that is known without a walk for each."""
    nodes = [Node("n0", Bash("echo"))]
    nodes += [
        Node(f"n{i}", Prompt(f"$n0.output $n{i - 1}.output"), depends_on=(f"n{i - 1}",)) for i in range(1, 10_000)
    ]
    assert check(Workflow("t", "", tuple(nodes)), Modes()) == ([], [])


@pytest.mark.anyio
async def test_nothing_of_it_runs(lake: Lakehouse) -> None:
    nodes = """
  - {id: first, mode: fixture.echo}
  - {id: second, mode: fixture.ecko, depends_on: [first]}
"""
    with pytest.raises(CannotRun, match=r"nodes\.second\.mode") as caught:
        await started(lake, nodes)
    found = caught.value.data["errors"][0]
    assert (found["where"], found["line"]) == ("nodes.second.mode", 7)
    assert not await lake.workflows.store.runs()
