"""Workflows as callers reach them: run by name or as a text, listed, examined, read, cancelled."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.flows import scripted

import lakehouse
from lakehouse import Conflict, Forbidden, InvalidInput, Lakehouse, NotFound, Unprocessable
from lakehouse.engine.workflows.problems import CannotRun

pytestmark = pytest.mark.anyio

ECHO = "name: e\ndescription: An echo.\nnodes: [{id: a, mode: fixture.echo, with: {value: $ARGUMENTS}}]"
SHELL = "name: s\ndescription: A shell.\nnodes: [{id: a, bash: echo hi}]"
WAIT = "name: w\ndescription: A wait.\nnodes: [{id: a, mode: fixture.wait, with: {seconds: 600}}]"


async def test_the_result_of_a_run(lake: Lakehouse) -> None:
    """S20.5 whole, of a file by name and of a text that came with the call."""
    told = await lake.call("workflow.run", {"workflow": "fixture-chain", "input": {"word": "hi"}}, via="mcp")
    assert told["status"] == "completed" and told["workflow"] == "fixture-chain"
    assert [node["mode"] for node in told["nodes"]] == ["fixture.echo", "fixture.upper"]
    assert {"id", "mode", "status", "output", "started_at", "duration_ms"} <= told["nodes"][0].keys()
    assert len(told["ops"]) == 2 and told["nodes"][1]["output"] == {"text": "HI"}
    told = await lake.call("workflow_run", {"definition": ECHO, "message": "said"}, via="http")
    assert told["nodes"][0]["output"] == {"value": "said"}


async def test_every_node_that_ended_has_every_key(lake: Lakehouse) -> None:
    """S20.5, S20.6: also one that was skipped or failed; each is an op that names its workflow and node."""
    text = (
        "name: e\ndescription: e\nnodes:\n  - {id: a, mode: fixture.fail}\n"
        "  - {id: b, mode: fixture.echo, depends_on: [a]}\n  - {id: c, prompt: hi, depends_on: [a]}\n"
    )
    told = await lake.call("workflow.run", {"definition": text})
    for node in told["nodes"]:
        assert {"id", "mode", "status", "output", "started_at", "duration_ms"} <= node.keys(), node
    assert [(one["mode"], one["status"], one["output"]) for one in told["nodes"]] == [
        ("fixture.fail", "failed", ""),
        ("fixture.echo", "skipped", ""),
        ("prompt", "skipped", ""),
    ]
    assert "error" in told["nodes"][0]
    ops = {one["id"]: one for one in (await lake.call("observer.recent", {"source": "workflow"}))["ops"]}
    assert [(ops[id]["workflow"], ops[id]["node_id"], ops[id]["success"], ops[id]["parent"]) for id in told["ops"]] == [
        ("e", id, False, told["run_id"]) for id in "abc"
    ]
    assert [ops[id]["error"] for id in told["ops"]][1:] == ["skipped", "skipped"]


async def test_gates_of_runs_below_are_told_apart(lake: Lakehouse, home: Path) -> None:
    """Two of one name: each tells the run it is in, where it is answered, and the run at the root goes on."""
    (home / "workflows").mkdir(exist_ok=True)
    gate = "nodes: [{id: g, approval: {message: $INPUTS.x, capture_response: true}}]"
    below = f"name: below\ndescription: b\ninputs: {{x: }}\n{gate}"
    (home / "workflows" / "below.yaml").write_text(below, encoding="utf-8")
    text = 'name: top\ndescription: t\nnodes: [{id: k, workflow: below, fan_out: {items: \'["a", "b"]\', as: x}}]'
    told = await lake.call("workflow.run", {"definition": text})
    waits = {gate["message"]: gate for gate in told["waits"]}
    assert told["status"] == "paused" and sorted(waits) == ["a", "b"]
    for message, asked in waits.items():
        given = {"run": asked["run"], "node": asked["node"], "text": f"yes {message}"}
        told = await lake.call("workflow.approve", given)
    assert (told["workflow"], told["status"], told["result"]) == ("top", "completed", '["yes a","yes b"]')


async def test_texts_from_outside_run_no_programs(lake: Lakehouse) -> None:
    for via in ("mcp", "http"):
        with pytest.raises(Forbidden):
            await lake.call("workflow.run", {"definition": SHELL}, via=via)
    assert (await lake.call("workflow.run", {"definition": SHELL}, via="cli"))["result"] == "hi"


async def test_an_unknown_mode_is_a_bad_request(lake: Lakehouse) -> None:
    """A-S20-5: 400 over REST; whatever else is wrong with a workflow is 422."""
    with pytest.raises(CannotRun, match=r"no mode fixture\.ecko.*fixture\.echo") as caught:
        await lake.call("workflow.run", {"definition": ECHO.replace("echo,", "ecko,")}, via="http")
    assert (caught.value.http, caught.value.code) == (400, "invalid_request")
    with pytest.raises(Unprocessable) as other:
        await lake.call("workflow.run", {"definition": ECHO.replace("value", "valu")}, via="http")
    assert other.value.http == 422


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"workflow": "fixture-chain", "definition": ECHO},
        {"definition": ECHO, "stubs": {"a": 1}},
        {"definition": ECHO, "exec_code": True},
        {"definition": ECHO, "dry_run": True, "stubs": {"b": 1}},
        {"definition": ECHO, "wait": -1},
    ],
)
async def test_what_does_not_fit_together_is_refused(lake: Lakehouse, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await lake.call("workflow.run", given)


async def test_a_path_is_for_those_who_are_here(lake: Lakehouse, tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(ECHO, encoding="utf-8")
    assert (await lake.call("workflow.run", {"workflow": str(path), "message": "x"}))["status"] == "completed"
    for name in ("workflow.run", "workflow.validate"):
        with pytest.raises(NotFound):
            await lake.call(name, {"workflow": str(path)}, via="mcp")


async def test_a_dry_run_answers_with_its_stubs(lake: Lakehouse) -> None:
    given = {"workflow": "fixture-chain", "dry_run": True, "stubs": {"upper": {"text": "STUB"}}}
    told = await lake.call("workflow.run", given, via="mcp")
    assert told["result"] == '{"text":"STUB"}' and told["ops"] == []
    assert (await lake.call("workflow.runs"))["runs"] == []


async def test_names_of_providers_are_mapped_for_one_run(lake: Lakehouse) -> None:
    """By provider, by model, or by both; what is not named stays as it is."""
    model = scripted(lake, "1", "2", "3", "4")
    text = (
        "name: p\ndescription: p\nprovider: pi\nnodes:\n  - {id: a, prompt: x}\n"
        "  - {id: b, prompt: x, model: haiku, depends_on: [a]}\n"
        "  - {id: c, prompt: x, provider: codex, model: big, depends_on: [b]}\n"
    )
    mapped = {"pi": "ollama/pi", "haiku": "ollama/h", "codex:big": "ollama/c"}
    told = await lake.call("workflow.run", {"definition": text, "provider_map": mapped})
    assert told["status"] == "completed"
    assert [request.model for request in model.asked] == ["ollama/pi", "ollama/h", "ollama/c"]


async def test_a_long_run_answers_with_its_handle(lake: Lakehouse) -> None:
    """It goes on by itself; who starts one and cancels the call cancels it, who only waits for it does not."""
    told = await lake.call("workflow.run", {"definition": WAIT, "wait": 0})
    run = told["run_id"]
    assert told["status"] == "running"
    again: dict[str, Any] = await lake.call("workflow.run", {"definition": WAIT, "background": True})
    assert again["status"] == "running" and again["run_id"] != run
    async with anyio.create_task_group() as group:
        begun = anyio.Event()

        async def heard(done: float, total: float | None, message: str) -> None:
            begun.set()

        async def start() -> None:
            await lake.call("workflow.run", {"definition": WAIT}, progress=heard)

        group.start_soon(start)
        await begun.wait()
        group.cancel_scope.cancel()
    newest, *others = (await lake.call("workflow.runs"))["runs"]
    assert newest["status"] == "cancelled" and {one["status"] for one in others} == {"running"}
    for one in others:
        await lake.call("workflow.cancel", {"run": one["run_id"]})


async def test_the_handle_comes_before_the_calls_time_is_over(home: Path) -> None:
    async with lakehouse.open(home, overrides={"server.long_timeout_secs": 2.2}) as lake:
        told = await lake.call("workflow.run", {"definition": WAIT, "wait": 1000}, via="mcp")
        assert told["status"] == "running"
        await lake.call("workflow.cancel", {"run": told["run_id"]})


async def test_each_event_is_reported_and_each_report_is_further(lake: Lakehouse) -> None:
    reported: list[tuple[float, float | None, str]] = []

    async def heard(done: float, total: float | None, message: str) -> None:
        reported.append((done, total, message))

    await lake.call("workflow.run", {"workflow": "fixture-chain"}, progress=heard)
    done = [one[0] for one in reported]
    assert done == sorted(set(done)) and all(one[0] < 3 == one[1] for one in reported)
    assert [one[2] for one in reported][:3] == ["run started", "echo started", "echo completed"]


async def test_a_node_starts_no_run_by_a_call(lake: Lakehouse) -> None:
    """It could start itself, over and over: `workflow:` nodes count how deep they lie."""
    text = "name: r\ndescription: r\nnodes: [{id: a, mode: workflow.run, with: {workflow: fixture-chain}}]"
    told = await lake.call("workflow.run", {"definition": text})
    assert told["status"] == "failed" and "`workflow: NAME`" in told["error"]


async def test_workflows_are_listed(lake: Lakehouse, home: Path) -> None:
    """S20.7: name, description, how many nodes, whether valid; a broken file hides no other."""
    folder = home / "workflows"
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(ECHO, encoding="utf-8")
    (folder / "broken.yaml").write_text("name: broken\nnodes: 3", encoding="utf-8")
    told = await lake.call("workflow.list", via="mcp")
    found = {one["name"]: one for one in told["workflows"]}
    assert told["count"] == len(found) == 7
    mine = {"name": "e", "description": "An echo.", "inputs": {}, "nodes": 1, "valid": True, "tool": False}
    assert found["e"] == mine | {"file": str(folder / "mine.yaml")}
    assert not found["broken"]["valid"]
    assert found["staffing-match"]["inputs"]["need"]["required"]
    far = lakehouse.observe.Caller(via="http", remote=True)
    assert {one["file"] for one in (await lake.call("workflow.list", caller=far))["workflows"]} >= {"mine.yaml"}
    checked = await lake.call("workflow.validate")
    assert checked["count"] == 7 and not checked["valid"]
    assert [one["name"] for one in checked["files"] if one["errors"]] == ["broken"]


async def test_a_run_and_its_file_are_resources(lake: Lakehouse) -> None:
    """The nodes of loop groups have paths with # and /."""
    text = (
        "name: g\ndescription: g\nnodes:\n  - id: g\n    loop_group:\n      max_iterations: 2\n"
        "      until: stop\n      nodes: [{id: in, mode: fixture.echo, with: {value: stop}}]\n"
    )
    run = (await lake.call("workflow.run", {"definition": text}))["run_id"]
    assert (await lake.call("workflow.report", {"id": run}, via="mcp"))["run_id"] == run
    assert (await lake.call("workflow.timeline", {"id": run}))["nodes"][0]["id"] == "g"
    assert await lake.call("workflow.output", {"id": run, "node": "g#1/in"}) == '{"value":"stop"}'
    with pytest.raises(NotFound, match="g#1/in"):
        await lake.call("workflow.output", {"id": run, "node": "g#1/on"})
    assert (await lake.call("workflow.file", {"name": "fixture-chain"})).startswith("name: fixture-chain")
    assert (await lake.call("workflow.ids", {"prefix": run[:4]}))["values"] == [run]
    assert (await lake.call("workflow.names", {"prefix": "know"}))["values"] == ["knowledge-refine"]


async def test_nobody_waits_for_what_asks_somebody(lake: Lakehouse) -> None:
    with pytest.raises(Conflict):
        await lake.call("workflow.run", {"definition": f"interactive: true\n{ECHO}", "background": True})


async def test_readers_bound_to_a_profile_see_their_own_runs(lake: Lakehouse) -> None:
    """As resources and for completion, too; the files are everybody's."""
    await lake.call("storage.put", {"bucket": "primary", "key": "in/x.txt", "text": "x"})
    await lake.call("profiles.set", {"name": "eu", "bucket": "primary"})
    bound = lakehouse.observe.Caller(via="mcp", profile="eu")
    run = (await lake.call("workflow.run", {"workflow": "fixture-chain"}))["run_id"]
    theirs = (await lake.call("workflow.run", {"workflow": "fixture-chain"}, caller=bound))["run_id"]
    assert (await lake.call("workflow.ids", caller=bound))["values"] == [theirs]
    for name, given in (("report", {}), ("timeline", {}), ("output", {"node": "echo"}), ("status", {}), ("logs", {})):
        id = "run" if name in ("status", "logs") else "id"
        with pytest.raises(NotFound):
            await lake.call(f"workflow.{name}", {id: run, **given}, caller=bound)
        await lake.call(f"workflow.{name}", {id: theirs, **given}, caller=bound)
    assert "fixture-chain" in (await lake.call("workflow.names", caller=bound))["values"]


async def test_what_is_strange_is_told_with_the_run(lake: Lakehouse) -> None:
    """The file's own warnings with their lines, and those of nodes: of a live run, one that is over, a dry one."""
    text = """\
name: odd
description: x
nodes:
  - {id: a, mode: fixture.echo, with: {value: 3}}
  - {id: b, depend_on: [a], mode: fixture.echo, with: {value: 1}}
  - {id: c, depends_on: [a], when: "$a.output = 3", mode: fixture.echo, with: {value: 1}}
"""
    for dry in (False, True):
        report = await lake.call("workflow.run", {"definition": text, "dry_run": dry})
        assert report["status"] == "completed"
        assert (
            report["warnings"][0]
            == "nodes.b.depend_on (line 5): 'depend_on' is not a key here. Did you mean depends_on?"
        )
        assert any(one.startswith("nodes.c.when (line 6): ") for one in report["warnings"])
        assert any(one.startswith("c: ") for one in report["warnings"])
        if not dry:
            assert (await lake.call("workflow.status", {"run": report["run_id"]}))["warnings"] == report["warnings"]
    plain = await lake.call("workflow.run", {"workflow": "fixture-chain"})
    assert "warnings" not in plain
    with pytest.raises(Unprocessable, match=r"cannot run:\n  nodes\.a.*\n  nodes\.a"):
        wrong = {"definition": "name: x\ndescription: x\nnodes: [{id: a, mode: sql.query, with: {query: x}}]\n"}
        await lake.call("workflow.run", wrong)
