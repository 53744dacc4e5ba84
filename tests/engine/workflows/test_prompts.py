"""Prompt nodes: what a model is asked for them, what it may call, and what of it is kept."""

import json
from typing import Any

import anyio.lowlevel
import pytest
from tests.flows import PATIENCE, by_id, ran, scripted, started, workflow

from lakehouse import Lakehouse
from lakehouse.engine.workflows.problems import CannotRun
from lakehouse.engine.workflows.runs import Starter

pytestmark = pytest.mark.anyio

COLOUR = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
REVIEW = """
name: lakehouse-architect-review
description: shape -> weakness -> improvement
provider: ollama
model: small
nodes:
  - id: shape
    prompt: "Describe the structure of: $ARGUMENTS"
    allowed_tools: []
    effort: low
    idle_timeout: 60000
  - id: weakness
    prompt: "Name the weakest point of:\\n$shape.output"
    depends_on: [shape]
  - id: improvement
    prompt: "Propose one fix for:\\n$weakness.output"
    depends_on: [weakness]
"""


async def warnings(lake: Lakehouse, run: str) -> list[str]:
    return [event.data["message"] for _, event in await lake.workflows.store.events(run) if event.kind == "warned"]


async def review(lake: Lakehouse) -> Any:
    from lakehouse.engine.workflows.runs import Starter

    record = await lake.workflows.start("x", Starter(), definition=REVIEW, message="a lake")
    return await lake.workflows.wait(record.id, 60)


async def test_the_architect_review_runs_in_order(lake: Lakehouse) -> None:
    """A-S20-1: three prompts, each with the answer of the one before; A-S20-2: each is one op of the run."""
    model = scripted(lake, "round", "a hole", "a lid")
    state = await review(lake)
    assert state.record.status == "completed" and state.record.result == "a lid"
    assert [request.messages[-1].content for request in model.asked] == [
        "Describe the structure of: a lake",
        "Name the weakest point of:\nround",
        "Propose one fix for:\na hole",
    ]
    assert [len(node.ops) for node in state.nodes] == [1, 1, 1]
    stats = await lake.call("observer.stats", {})
    assert stats["by_source"]["workflow"] == 3


async def test_a_foreign_provider_is_told_and_the_default_answers(lake: Lakehouse) -> None:
    scripted(lake, {"content": "x", "model": "tiny"}, "y", "z")
    state = await review(lake)
    node = by_id(state)["shape"]
    assert node.model == "ollama:small -> tiny"
    assert await warnings(lake, state.record.id) == ["provider ollama is not set up here"] * 3


async def test_what_a_prompt_says_about_its_model_is_asked_for(lake: Lakehouse) -> None:
    model = scripted(lake, {"content": "x", "input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5})
    nodes = """
  - {id: a, prompt: hi, systemPrompt: 'Be $ARGUMENTS.', effort: high, thinking: {type: enabled, budgetTokens: 2000}}
"""
    node = by_id(await ran(lake, nodes, message="brief"))["a"]
    request = model.asked[0]
    assert [(said.role, said.content) for said in request.messages] == [("system", "Be brief."), ("user", "hi")]
    assert (request.effort, request.tools, request.node) == ("high", (), "a")
    assert request.thinking == {"type": "enabled", "budgetTokens": 2000}
    assert (node.tokens, node.cost_usd) == (7, 0.5)


async def test_a_blank_answer_fails(lake: Lakehouse) -> None:
    scripted(lake, *[" \n"] * 5)
    node = by_id(await ran(lake, "  - {id: a, prompt: hi, retry: {max_attempts: 1, delay_ms: 1000}}"))["a"]
    assert node.status == "failed" and node.failure.code == "upstream"
    assert "answered nothing" in node.failure.detail


async def test_an_output_format_is_asked_for_until_it_is_met(lake: Lakehouse) -> None:
    answers = [
        {"content": text, "cost_usd": 1} for text in ("blue", '{"color": "blue"}', '```\n{"colour": "blue" }```')
    ]
    model = scripted(lake, *answers)
    state = await ran(lake, f"  - {{id: a, prompt: hi, output_format: {json.dumps(COLOUR)}}}")
    node = by_id(state)["a"]
    assert (node.text, node.typed, node.cost_usd) == ('{"colour":"blue"}', True, 3)
    assert len(node.ops) == 3
    assert model.asked[0].schema == COLOUR
    assert "'colour' is a required property" in model.asked[2].messages[-1].content


async def test_an_output_format_that_is_never_met_fails(lake: Lakehouse) -> None:
    model = scripted(lake, *["blue"] * 9)
    node = by_id(await ran(lake, f"  - {{id: a, prompt: hi, output_format: {json.dumps(COLOUR)}}}"))["a"]
    assert node.failure.code == "unprocessable" and len(model.asked) == 4 == len(node.ops)


async def test_a_schema_that_is_none_is_refused_before_the_run(lake: Lakehouse) -> None:
    with pytest.raises(CannotRun, match=r"output_format.*no JSON Schema"):
        await ran(lake, "  - {id: a, prompt: hi, output_format: {type: objekt}}")


async def test_a_budget_ends_it(lake: Lakehouse) -> None:
    model = scripted(lake, *[{"content": "blue", "cost_usd": 0.4}] * 9)
    nodes = f"  - {{id: a, prompt: hi, maxBudgetUsd: 0.5, output_format: {json.dumps(COLOUR)}}}"
    node = by_id(await ran(lake, nodes))["a"]
    assert "maxBudgetUsd" in node.failure.detail and len(model.asked) == 2
    assert node.cost_usd == pytest.approx(0.8)


async def test_a_budget_that_cannot_bind_is_told(lake: Lakehouse) -> None:
    scripted(lake, {"content": "blue", "priced": False})
    state = await ran(lake, "  - {id: a, prompt: hi, maxBudgetUsd: 0.5}")
    assert state.record.status == "completed"
    assert "maxBudgetUsd" in (await warnings(lake, state.record.id))[0]


def called(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


async def test_a_model_calls_our_tools(lake: Lakehouse) -> None:
    """Each call is an op of the run, an event, and data to the model."""
    model = scripted(lake, called("query_sql", sql="select '</data>' as x"), "There is one.")
    nodes = "  - {id: a, prompt: hi, allowed_tools: [sql.query, Read, mcp__lakehouse__list_datasets, workflow_run]}"
    state = await ran(lake, nodes)
    assert by_id(state)["a"].text == "There is one."
    assert [offer.name for offer in model.asked[0].tools] == ["query_sql", "list_datasets"]
    assert model.asked[0].tools[0].parameters["properties"]["sql"]
    said, result = model.asked[1].messages[-2:]
    assert said.tool_calls[0].name == "query_sql" and result.tool_call_id == said.tool_calls[0].id
    fenced = result.content.removeprefix("<data>\n").removesuffix("\n</data>")
    assert json.loads(fenced)["rows"] == [["</data>"]] and "</data>" not in fenced
    assert "no instructions" in model.asked[0].messages[0].content
    events = await lake.workflows.store.events(state.record.id)
    told = next(event.data for _, event in events if event.kind == "tool_called")
    assert (told["tool"], told["ok"]) == ("query_sql", True) and told["op"] in by_id(state)["a"].ops
    assert len(by_id(state)["a"].ops) == 3
    assert "Read" in (await warnings(lake, state.record.id))[0]


async def test_tools_that_are_none_of_ours_are_told_before_the_run(lake: Lakehouse) -> None:
    await lake.load()
    nodes = (
        "  - {id: a, prompt: hi, allowed_tools: [Read, Glob, Bash, sql.qury, query_sql, mcp__lakehouse__list_datasets]}"
    )
    report = await lake.workflows.validate("test", workflow(nodes))
    assert report["errors"] == []
    told = [str(one) for one in report["warnings"]]
    assert len(told) == 2 and "sql.query" in told[0] and "no tool Read, Glob or Bash here" in told[1]


async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(lake: Lakehouse) -> None:
    wrong = {"tool_calls": [{"name": "query_sql", "arguments": "{not json"}]}
    model = scripted(lake, called("query_sql", sql="selec"), called("rm", path="/"), wrong, "I give up.")
    state = await ran(lake, "  - {id: a, prompt: hi, allowed_tools: [query_sql], denied_tools: [list_datasets]}")
    assert by_id(state)["a"].text == "I give up."
    told = [request.messages[-1].content for request in model.asked[1:]]
    assert "invalid_request" in told[0] and "there is no tool 'rm'" in told[1] and "no JSON object" in told[2]


@pytest.mark.parametrize(
    "allowed", ["", "allowed_tools: [],", "allowed_tools: [sql.query], denied_tools: [query_sql],"]
)
async def test_no_tools_are_offered_unless_they_are_named(lake: Lakehouse, allowed: str) -> None:
    model = scripted(lake, "x")
    await ran(lake, f"  - {{id: a, {allowed} prompt: hi}}")
    assert model.asked[0].tools == () and [said.role for said in model.asked[0].messages] == ["user"]


async def test_tools_that_write_are_not_offered_to_who_may_only_read(lake: Lakehouse) -> None:
    from lakehouse.engine.workflows.runs import Starter

    model = scripted(lake, "x")
    text = workflow("  - {id: a, prompt: hi, allowed_tools: [sql.query, datasets.drop]}")
    record = await lake.workflows.start("x", Starter(read_only=True), definition=text)
    await lake.workflows.wait(record.id, 60)
    assert [offer.name for offer in model.asked[0].tools] == ["query_sql"]
    assert "read-only" in (await warnings(lake, record.id))[0]


async def test_tools_are_not_called_for_ever(lake: Lakehouse) -> None:
    again = {**called("query_sql", sql="select repeat('x', 100000) as x"), "repeat": True}
    model = scripted(lake, again)
    node = by_id(await ran(lake, "  - {id: a, prompt: hi, allowed_tools: [sql.query]}"))["a"]
    assert "workflows.max_tool_rounds" in node.failure.fix
    rounds = lake.config.workflows.max_tool_rounds
    assert len(model.asked) == rounds + 1
    shown = model.asked[1].messages[-1].content
    assert "cut: " in shown and len(shown) < lake.config.workflows.max_tool_result_bytes + 200


async def heard(lake: Lakehouse, nodes: str, *replies: Any) -> dict[str, list[str]]:
    """What each node's model was put, oldest first."""
    model = scripted(lake, *(replies or [{"content": "ok", "repeat": True}]))
    state = await ran(lake, nodes)
    assert state.record.status == "completed", state.record.error
    return {request.node: [said.content for said in request.messages] for request in model.asked}


async def test_conversations_go_on_along_a_chain(lake: Lakehouse) -> None:
    nodes = """
  - {id: a, prompt: one}
  - {id: b, mode: fixture.echo, depends_on: [a]}
  - {id: c, prompt: two, depends_on: [b]}
  - {id: d, prompt: three, depends_on: [c], context: fresh}
  - {id: e, prompt: four, depends_on: [d], context: {resume: a}}
"""
    assert await heard(lake, nodes) == {
        "a": ["one"],
        "c": ["one", "ok", "two"],
        "d": ["three"],
        "e": ["one", "ok", "four"],
    }


async def test_a_resumed_run_goes_on_with_its_conversation(lake: Lakehouse) -> None:
    """The first answer is not asked for again: what was said then is restored."""
    model = scripted(lake, "first", {"error": "it failed with 400"}, "second")
    nodes = "  - {id: a, prompt: one}\n  - {id: b, prompt: two, depends_on: [a]}"
    failed = await ran(lake, nodes)
    assert failed.record.status == "failed"
    await lake.workflows.resume(failed.record.id)
    state = await lake.workflows.wait(failed.record.id, 60)
    assert (state.record.status, state.record.result) == ("completed", "second")
    assert [said.content for said in model.asked[2].messages] == ["one", "first", "two"]


async def test_nodes_beside_each_other_begin_anew(lake: Lakehouse) -> None:
    nodes = """
  - {id: a, prompt: one}
  - {id: b, prompt: two, depends_on: [a]}
  - {id: c, prompt: three, depends_on: [a], context: shared}
  - {id: d, prompt: four, depends_on: [b, c]}
"""
    assert await heard(lake, nodes) == {
        "a": ["one"],
        "b": ["two"],
        "c": ["one", "ok", "three"],
        "d": ["one", "ok", "four"],
    }


async def test_a_conversation_within_a_loop_group_is_that_of_its_iteration(lake: Lakehouse) -> None:
    nodes = """
  - {id: first, prompt: one}
  - id: group
    depends_on: [first]
    loop_group:
      max_iterations: 2
      until: DONE
      nodes:
        - {id: a, prompt: two}
        - {id: b, prompt: three, depends_on: [a]}
"""
    replies = [{"node": "b", "content": "again"}, {"node": "b", "content": "DONE"}, {"content": "ok", "repeat": True}]
    assert await heard(lake, nodes, *replies) == {
        "first": ["one"],
        "group#1/a": ["two"],
        "group#1/b": ["two", "ok", "three"],
        "group#2/a": ["two"],
        "group#2/b": ["two", "ok", "three"],
    }


async def test_a_conversation_is_kept_only_where_somebody_goes_on_with_it(lake: Lakehouse) -> None:
    scripted(lake, "x", "y")
    state = await ran(lake, "  - {id: a, prompt: one}\n  - {id: b, prompt: two, depends_on: [a]}")
    assert ["session" in node.extra for node in state.nodes] == [True, False]


async def test_a_conversation_goes_on_in_the_next_run(lake: Lakehouse) -> None:
    """`persist_session`, or `persist_sessions` for all of a file: of the same starter, unless a node begins afresh."""
    model = scripted(lake, "1", "2", "3", "4", "5")
    one = "  - {id: a, prompt: $ARGUMENTS, persist_session: true}"
    for message in ("first", "second"):
        await ran(lake, one, message=message)
    text = workflow(one, "persist_sessions: true")
    other = await lake.workflows.start("test", Starter(name="ann"), definition=text, message="third")
    await lake.workflows.wait(other.id, PATIENCE)
    await ran(lake, "  - {id: a, prompt: $ARGUMENTS}", root="persist_sessions: true", message="fourth")
    await ran(lake, "  - {id: a, prompt: fifth, context: fresh}", root="persist_sessions: true")
    assert [[said.content for said in request.messages] for request in model.asked] == [
        ["first"],
        ["first", "1", "second"],
        ["third"],
        ["first", "1", "second", "2", "fourth"],
        ["fifth"],
    ]


async def test_the_oldest_of_a_long_conversation_is_left_out(lake: Lakehouse) -> None:
    from lakehouse.engine.workflows.running.kinds.sessions import continued

    session: list[dict[str, Any]] = []
    for number in range(20):
        session = continued(session, f"question {number}", "x" * 100, 1000)
    assert len(json.dumps(session)) < 1100 and session[-2]["content"] == "question 19"
    assert session[0]["role"] == "user" and len(session) % 2 == 0
    assert continued([], "x" * 2000, "y", 1000) == []


async def test_a_run_that_is_cancelled_ends_its_question(lake: Lakehouse) -> None:
    model = scripted(lake, {"content": "late", "delay": 600})
    run = await started(lake, "  - {id: a, prompt: hi}")
    while not model.asked:
        await anyio.lowlevel.checkpoint()
    await lake.workflows.cancel(run, "enough")
    assert (await lake.workflows.wait(run, 60)).record.status == "cancelled"
