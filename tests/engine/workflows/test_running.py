"""Runs as a whole: references, order, and what is kept of them."""

import json
import socket

import pytest
from tests.flows import by_id, ran, scripted

from lakehouse import Lakehouse
from lakehouse.engine.workflows.runs.report import report_of

pytestmark = pytest.mark.anyio

CHAIN = """
  - id: echo
    mode: fixture.echo
    with: {value: $INPUTS.word}
  - id: upper
    mode: fixture.upper
    depends_on: [echo]
    with: {text: $echo.output.value}
"""


async def test_a_chain_of_modes(lake: Lakehouse) -> None:
    """The fixture chain of A-S20-5: the second node reads a field of the first's output."""
    state = await ran(lake, CHAIN, root="inputs: {word: {required: true}}", word="hello")
    assert state.record.status == "completed"
    assert by_id(state)["upper"].text == '{"text":"HELLO"}'


async def test_a_prompt_is_answered(lake: Lakehouse) -> None:
    model = scripted(lake, "a pond")
    state = await ran(lake, "  - {id: shape, prompt: 'Describe $ARGUMENTS.'}", message="a lake")
    assert by_id(state)["shape"].text == "a pond"
    assert model.asked[0].messages[-1].content == "Describe a lake."


REVIEW = """
  - id: shape
    prompt: "Describe the structure of: $ARGUMENTS"
    allowed_tools: []
  - id: weakness
    prompt: "Name the weakest point of: $shape.output"
    depends_on: [shape]
  - id: improvement
    prompt: "Propose one fix for: $weakness.output"
    depends_on: [weakness]
"""


async def test_an_architect_s_review_runs_in_order_and_each_node_is_an_op(lake: Lakehouse) -> None:
    """A-S20-1, A-S20-2: three prompts, each of which reads what the one before answered."""
    model = scripted(lake, "a shape", "a weakness", "a fix")
    state = await ran(lake, REVIEW, message="the plan")
    assert (state.record.status, state.record.result) == ("completed", "a fix")
    assert [asked.messages[-1].content for asked in model.asked] == [
        "Describe the structure of: the plan",
        "Name the weakest point of: a shape",
        "Propose one fix for: a weakness",
    ]
    ops = [op for op in lake.observer.recent(50, source="workflow") if op.parent == state.record.id]
    assert [(op.op, op.workflow, op.node_id, op.success) for op in reversed(ops)] == [
        ("llm.chat", "test", id, True) for id in ("shape", "weakness", "improvement")
    ]
    assert [id for node in state.nodes for id in node.ops] == [op.id for op in reversed(ops)]
    assert lake.observer.stats().by_source["workflow"] == 3


async def test_a_reference_that_leads_nowhere_fails_its_node_by_name(lake: Lakehouse) -> None:
    """A-S20-3, of a field that only the run can tell of."""
    nodes = "  - {id: a, mode: fixture.echo, with: {value: {x: 1}}}\n"
    nodes += "  - {id: b, mode: fixture.echo, with: {value: $a.output.value.y}, depends_on: [a]}\n"
    nodes += "  - {id: c, mode: fixture.echo, with: {value: $a.output.value.x}, depends_on: [a]}"
    state = await ran(lake, nodes)
    assert (state.record.status, by_id(state)["c"].text) == ("failed", '{"value":1}')
    failure = by_id(state)["b"].failure
    assert failure is not None
    assert "$a.output.value.y" in failure.detail
    assert state.record.error is not None and state.record.error.detail.startswith("b: ")


async def test_a_search_is_made_in_this_process(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A-S20-4: no socket is connected."""
    texts = "SELECT * FROM (VALUES ('a', 'a welder joins metal'), ('b', 'a baker makes bread')) t(id, body)"
    await lake.call("corpora.build", {"name": "trades", "sql": texts, "text": ["body"], "id": "id"})

    def refused(*given: object) -> None:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refused)
    nodes = "  - {id: find, mode: matrix.search, with: {query_text: who joins metal, corpora: [trades], k: 1}}\n"
    nodes += "  - {id: first, mode: fixture.echo, with: {value: $find.output.results.0.id}, depends_on: [find]}"
    state = await ran(lake, nodes)
    assert (state.record.status, by_id(state)["first"].text) == ("completed", '{"value":"a"}')


async def test_two_real_modes_in_a_chain(lake: Lakehouse) -> None:
    """A-S20-5: a prompt for a strong model loses its context, and a first attempt is accepted; two ops."""
    nodes = """
  - id: downgrade
    mode: matrix.downgrade
    with: {mode: codereview_lakehouse, model: grok-4.1-fast}
  - id: score
    mode: distillation.score
    depends_on: [downgrade]
    with: {record: {source: scrum_review, markers: [attempt_1]}}
"""
    state = await ran(lake, nodes)
    assert (state.record.status, len([op for node in state.nodes for op in node.ops])) == ("completed", 2)
    assert json.loads(by_id(state)["downgrade"].text)["mode"] == "codereview_isolation"
    assert json.loads(by_id(state)["score"].text)["category"] == "accepted"


async def test_an_object_in_a_prompt_is_json(lake: Lakehouse) -> None:
    """A-S20-7."""
    model = scripted(lake, "fine")
    nodes = "  - {id: a, mode: fixture.echo, with: {value: {it's: [1, null, true, 'é\"']}}}\n"
    nodes += "  - {id: b, prompt: '$a.output', depends_on: [a]}"
    await ran(lake, nodes)
    assert json.loads(model.asked[0].messages[-1].content) == {"value": {"it's": [1, None, True, 'é"']}}


async def test_what_a_group_costs_is_told_once(lake: Lakehouse) -> None:
    scripted(lake, *({"content": said, "cost_usd": 0.25} for said in ("more", "DONE")))
    nodes = "  - id: group\n    loop_group:\n      max_iterations: 3\n      until: DONE\n"
    nodes += "      nodes: [{id: ask, prompt: go on}]"
    state = await ran(lake, nodes)
    told = report_of(state.record, state.status, state.nodes, (), None)
    assert (state.record.status, told.cost_usd, told.dry_run) == ("completed", 0.5, None)
