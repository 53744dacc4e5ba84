"""Dry runs: what would run, with stubs in place of models, capabilities and shells."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.flows import PATIENCE, by_id, workflow
from tests.probes import lived, statuses

from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import (
    Agent,
    Approval,
    Bash,
    Child,
    Control,
    Decision,
    FanOut,
    Loop,
    LoopGroup,
    Mode,
    Node,
    Prompt,
)
from lakehouse.engine.workflows.running.dry import Dry
from lakehouse.engine.workflows.running.live import Live
from lakehouse.engine.workflows.running.placeholder import placeholder
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import Conflict, InvalidInput

pytestmark = pytest.mark.anyio
ANSWER = {"type": "object", "properties": {"passed": {"type": "boolean"}, "why": {"type": "string"}}}


async def dried(lake: Lakehouse, *nodes: Node, **dry: Any) -> Live:
    await lake.load()
    live = await lived(lake, *nodes, dry=Dry(**dry))
    assert live.record.dry is None
    return live


async def test_a_stub_is_held_against_a_schema_as_answers_are(lake: Lakehouse) -> None:
    """Both may come over the network: a pattern that backtracks would hold the event loop for ever."""
    hostile = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    astray = {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/x.json"}}}
    nodes = [Node("a", Prompt("x", Agent(output_format=hostile))), Node("b", Prompt("x", Agent(output_format=astray)))]
    live = await dried(lake, *nodes, stubs={"a": {"x": "a" * 60 + "!"}, "b": {"x": 1}})
    first, second = (record.failure.detail for record in live.records() if record.failure)
    assert "does not match" in first
    assert "leads nowhere" in second


async def test_nothing_is_called_and_nothing_kept(lake: Lakehouse) -> None:
    before = lake.observer.stats().total
    text = workflow(
        "  - {id: echo, mode: fixture.echo, with: {value: $INPUTS.word}}\n"
        "  - {id: ask, prompt: 'About $echo.output', depends_on: [echo]}\n"
        "  - {id: sh, bash: 'touch /nowhere/at/all', depends_on: [ask]}",
        "inputs: {word: {required: true}}",
    )
    remote = Starter(via="http", remote=True)
    record = await lake.workflows.start(
        "x", remote, definition=text, inputs={"word": "hello"}, dry=Dry({"ask": "a stub"})
    )
    state = await lake.workflows.wait(record.id, PATIENCE)
    assert (state.record.status, state.live, state.record.dry is not None) == ("completed", False, True)
    assert {path: node.text for path, node in by_id(state).items()} == {
        "echo": '{"value":"[echo]"}',
        "ask": "a stub",
        "sh": "[sh]",
    }
    assert lake.observer.stats().total == before
    assert await lake.workflows.store.runs() == []
    with pytest.raises(Conflict, match="was a dry run"):
        await lake.workflows.resume(record.id)
    with pytest.raises(InvalidInput, match="there is no node 'asks'") as unknown:
        await lake.workflows.start("x", remote, definition=text, inputs={"word": "x"}, dry=Dry({"asks": ""}))
    assert unknown.value.fix == "Did you mean ask?"


async def test_stubs_fail_and_fit(lake: Lakehouse) -> None:
    agent = Agent(output_format=ANSWER)
    nodes = [Node(id, Prompt("x", agent)) for id in ("fits", "text", "wrong", "none", "fails", "free")]
    stubs = {"fits": {"passed": False}, "text": '{"passed": true}', "wrong": {"passed": "no"}, "none": "no JSON"}
    live = await dried(lake, *nodes, stubs={**stubs, "fails": {"fail": "the model is gone"}})
    assert list(statuses(live).values()) == ["completed", "completed", "failed", "failed", "failed", "completed"]
    texts = [live.nodes[id].text for id in ("fits", "text", "free")]
    assert texts == ['{"passed":false}', '{"passed":true}', '{"passed":true,"why":"[free]"}']
    failures = [record.failure.detail for record in live.records() if record.failure]
    assert failures[0].startswith("its stub does not fit its output_format: $.passed: 'no' is not of type 'boolean'")
    assert failures[2] == "the model is gone"


async def test_a_missing_reference_fails_as_it_would(lake: Lakehouse) -> None:
    live = await dried(lake, Node("a", Prompt("$INPUTS.nothing")), Node("b", Mode("fixture.echo"), ("a",)))
    assert statuses(live) == {"a": "failed", "b": "skipped"}
    after = Node("b", Mode("fixture.echo"), ("a",), when="$a.output.ok == true")
    live = await dried(lake, Node("a", Bash("echo '{}'")), after)
    assert live.nodes["b"].failure is not None and "stub" in live.nodes["b"].failure.fix
    live = await dried(lake, Node("a", Bash("echo '{}'")), Node("b", Prompt("$a.output.ok"), ("a",)))
    assert live.nodes["b"].failure is not None and "stub" in live.nodes["b"].failure.fix


async def test_gates_approve_or_pause(lake: Lakehouse) -> None:
    gate = Node("gate", Approval("Go on?", capture_response=True))
    choice = Node("choice", Approval("Which?", decisions=(Decision("approve"), Decision("later"))))
    live = await dried(lake, gate, choice, stubs={"gate": "yes", "choice": {"decision": "later"}})
    assert [record.text for record in live.records()] == ["yes", '{"decision":"later","text":""}']
    assert (await dried(lake, choice)).nodes["choice"].text == '{"decision":"approve","text":""}'
    assert (await dried(lake, gate, stubs={"gate": {"decision": "reject"}})).record.status == "cancelled"
    assert (await dried(lake, gate, pause_at_gates=True)).record.status == "paused"


async def test_scripts_run_only_when_asked(lake: Lakehouse) -> None:
    node = Node("a", Bash("echo ran"))
    assert (await dried(lake, node)).nodes["a"].text == "[a]"
    assert (await dried(lake, node, exec_code=True)).nodes["a"].text == "ran"
    assert (await dried(lake, node, exec_code=True, stubs={"a": "a stub"})).nodes["a"].text == "a stub"


async def test_loops_run_once_and_children_are_stood_in_for(lake: Lakehouse) -> None:
    control = Control(max_iterations=5, until="DONE")
    body = (Node("one", Prompt("x")), Node("two", Prompt("$one.output"), ("one",)))
    live = await dried(
        lake,
        Node("loop", Loop(Prompt("x"), control)),
        Node("group", LoopGroup(body, control)),
        Node("child", Child("other", fan_out=FanOut("$loop.output"))),
        stubs={"two": "the end"},
    )
    assert {path: record.text for path, record in live.nodes.items()} == {
        "loop": "[loop]",
        "group": "the end",
        "child": '["[child]"]',
        "group#1/one": "[one]",
        "group#1/two": "the end",
    }


SCALARS = st.sampled_from(
    [
        {"type": "string", "minLength": 9},
        {"type": "string", "maxLength": 2},
        {"type": "integer", "minimum": 3, "multipleOf": 2},
        {"type": "integer", "exclusiveMaximum": -4},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        {"type": ["null", "boolean"]},
        {"enum": ["red", "green"]},
        {"const": 7},
        {"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 2}, {"type": "null"}]},
        {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"type": "object"}]},
        {"$ref": "#/$defs/tree"},
        {},
        True,
    ]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one, "minItems": 1}, inner),
        st.builds(lambda one, other: {"type": "object", "properties": {"a": one, "b": other}}, inner, inner),
    ),
    max_leaves=6,
)
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["name"],
}


@given(SCHEMAS)
def test_a_placeholder_fits(schema: Any) -> None:
    whole = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": {"tree": TREE}}
    jsonschema.validate(placeholder(whole, "[a]"), whole)
