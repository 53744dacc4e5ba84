"""Recorded calls lifted into a workflow file, which gives the same again."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flows import PATIENCE, ran

import lakehouse
from lakehouse import Lakehouse
from lakehouse.engine.workflows.lifting.lifting import lifted
from lakehouse.engine.workflows.lifting.recorded import Recorded
from lakehouse.engine.workflows.ports import ModeFacts
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import Conflict, Forbidden, InvalidInput, NotFound, Unprocessable

pytestmark = pytest.mark.anyio
KEEP = {"embed.provider": "hash", "observer.keep_bytes": 100_000}
BEST = "SELECT 'order-' || arg_max(id, price) AS best FROM orders"
CHAIN = f"""
  - {{id: load, mode: ingest.file, with: {{name: orders, content: "id,price\\n1,5\\n2,7\\n"}}}}
  - {{id: sum, mode: sql.query, depends_on: [load], with: {{sql: "{BEST}"}}}}
  - id: note
    mode: playbook.record
    depends_on: [sum]
    with: {{query_text: the best order, answer_id: $sum.output.rows.0.0, answer_corpus: roles, score: 1}}
  - {{id: words, prompt: hi, depends_on: [note], when: "$sum.output.row_count == 99"}}
"""


def facts(name: str) -> ModeFacts | None:
    """Modes of a test: `put` writes, all others read; `none` is not there."""
    if name == "none":
        return None
    properties = {"size": {"enum": ["small", "large"]}}
    return ModeFacts(
        name, "", "writes" if name == "put" else "reads", {"properties": properties, "required": ["n"]}, {}
    )


def calls(*given: tuple[str, dict[str, Any], Any]) -> list[Recorded]:
    return [Recorded(str(number), *one) for number, one in enumerate(given)]


def test_values_become_references_inputs_or_stay() -> None:
    """What came out of an answer refers to it; texts and what is required can be chosen; switches stay."""
    handle = "lakehouse://results/7f3a"
    made = lifted(
        calls(
            ("put", {"name": "orders", "flag": True, "size": "small"}, {"name": "orders", "handle": handle, "n": 3}),
            ("get", {"of": "orders", "limit": 3, "n": 5}, {"rows": [{"id": 123456}]}),
            ("get", {"id": 123456, "text": f"see {handle}!", "none": None}, {"ok": True}),
            ("none", {}, {}),
        ),
        facts,
    )
    assert [node.get("with") for node in made.nodes] == [
        {"name": "$INPUTS.name", "flag": True, "size": "small"},
        {"of": "$put.output.name", "limit": 3, "n": "$INPUTS.n"},
        {"id": "$get.output.rows.0.id", "text": "see $put.output.handle!"},
    ]
    assert {name: spec["default"] for name, spec in made.inputs.items()} == {"name": "orders", "n": 5}
    assert made.inputs["n"]["type"] == "integer"
    assert made.notes == ["none (3): it is no step of workflows."]


def test_equal_inputs_are_one_and_different_ones_of_a_name_are_two() -> None:
    """Named after the argument; a short text elsewhere is a coincidence."""
    made = lifted(
        calls(
            ("a", {"name": "orders", "as": "x"}, {}),
            ("b", {"name": "orders", "other": "orders", "by": "x"}, {}),
            ("c", {"name": "clients"}, {}),
        ),
        facts,
    )
    assert [node["with"] for node in made.nodes] == [
        {"name": "$INPUTS.name", "as": "$INPUTS.as"},
        {"name": "$INPUTS.name", "other": "$INPUTS.name", "by": "$INPUTS.by"},
        {"name": "$INPUTS.c_name"},
    ]


def test_what_reads_waits_for_what_wrote_and_the_other_way_round() -> None:
    """Reads between two writes have no order among them."""
    given: list[tuple[str, dict[str, Any], Any]] = [
        (op, {"k": False}, {}) for op in ("get", "put", "get", "get", "put", "get")
    ]
    made = lifted(calls(*given), facts)
    assert {node["id"]: node.get("depends_on", []) for node in made.nodes} == {
        "get": [],
        "put": ["get"],
        "get_2": ["put"],
        "get_3": ["put"],
        "put_2": ["get_2", "get_3"],
        "get_4": ["put_2"],
    }


def test_texts_that_look_like_references_and_credentials() -> None:
    """They are inputs, whose values are not looked into; of a credential nothing is known."""
    made = lifted(
        calls(
            ("get", {"text": "$a.output is $ARGUMENTS", "list": ["$INPUTS.x"], "$odd": "value"}, {}),
            ("get", {"key": "[redacted]", "url": "https://[redacted]@x"}, {}),
        ),
        facts,
    )
    first, second = (node["with"] for node in made.nodes)
    assert first == {"text": "$INPUTS.text", "list": "$INPUTS.list", "$odd": "$INPUTS.value"}
    assert second == {"key": "$INPUTS.key", "url": "$INPUTS.url"}
    assert made.inputs["list"]["type"] == "array"
    assert made.inputs["key"] == {"required": True, "description": "key of get_2."}
    assert made.secret == ["key", "url"]


async def again(lake: Lakehouse, text: str, **inputs: Any) -> list[Any]:
    """Run a workflow's text; the outputs of its nodes."""
    record = await lake.workflows.start("x", Starter(), definition=text, inputs=inputs)
    state = await lake.workflows.wait(record.id, PATIENCE)
    assert state.status == "completed", [node.failure for node in state.nodes]
    return [yaml.safe_load(node.text) for node in state.nodes]


@pytest.mark.slow
async def test_a_run_is_lifted_and_gives_the_same(lake: Lakehouse) -> None:
    """Ingest, SQL and playbook: in the same lake, and with other inputs."""
    state = await ran(lake, CHAIN)
    assert state.status == "completed", [node.failure for node in state.nodes]
    made = await lake.call("workflow.from_ops", {"of": [state.record.id], "name": "orders-total"})
    assert (made["nodes"], made["notes"]) == (3, ["words: it is a prompt, no call."])
    found = yaml.safe_load(made["workflow"])
    assert [node["id"] for node in found["nodes"]] == ["ingest_file", "sql_query", "playbook_record"]
    assert list(found["inputs"]) == ["name", "content", "sql", "query_text", "answer_corpus", "score"]
    assert found["nodes"][2]["with"]["answer_id"].startswith("$sql_query.output.rows.0.")
    outputs = await again(lake, made["workflow"])
    assert outputs[1]["rows"] == yaml.safe_load(made["stubs"])["sql_query"]["rows"]
    outputs = await again(
        lake, made["workflow"], name="more", content="id,price\n1,40\n", sql="SELECT 'order-40' AS best"
    )
    assert outputs[0]["name"] == "more"


@pytest.mark.slow
async def test_calls_that_were_kept_are_lifted(home: Path, tmp_path: Path) -> None:
    """Of a source, or by their ids; without credentials; what failed or was too long is told."""
    async with lakehouse.open(home, overrides=KEEP) as lake:
        loaded = await lake.call("ingest.file", {"name": "orders", "content": "id,price\n1,5\n2,7\n"}, via="cli")
        asked = await lake.call("sql.query", {"sql": "SELECT count(*) AS n FROM orders"}, via="cli")
        with pytest.raises(InvalidInput):
            await lake.call("sql.query", {"sql": "SELECT 1 FROM nothing"}, via="cli")
        await lake.call("observer.stats", via="cli")
        long = {"name": "long", "content": "a\n" + "x" * 100_000}
        await lake.call("ingest.file", long, via="cli")
        made = await lake.call("workflow.from_ops", {"of": ["cli"], "name": "counted", "save": True})
        assert made["nodes"] == 2
        assert ["failed" in made["notes"][0], "keep_bytes" in made["notes"][1]] == [True, True]
        assert made["saved"] == "workflows/counted.yaml"
        assert [node.get("depends_on") for node in yaml.safe_load(made["workflow"])["nodes"]] == [None, ["ingest_file"]]
        with pytest.raises(Conflict):
            await lake.call("workflow.from_ops", {"of": ["cli"], "name": "counted", "save": True})
        with pytest.raises(Forbidden):
            await lake.call("workflow.from_ops", {"of": ["cli"], "name": "other", "save": True}, via="mcp")
        ops = [op.id for op in lake.observer.recent(50, op="sql.query") if op.success]
        assert (await lake.call("workflow.from_ops", {"of": ops}))["nodes"] == 1
        with pytest.raises(NotFound):
            await lake.call("workflow.from_ops", {"of": ["0" * 22]})
        report = await lake.call("workflow.validate", {"workflow": "counted"})
        assert report["valid"], report
        test = home / "workflows" / "_tests" / "counted.yaml"
        test.write_text(test.read_text().replace("count(*)", "max(id)"))
        (error,) = (await lake.call("workflow.validate", {"workflow": "counted"}))["files"][0]["errors"]
        assert error["where"] == "_tests.sql_query.with"
        test.write_text("expect: {status: failed}\nstubs: {nobody: 1}\n")
        assert not (await lake.call("workflow.validate", {"workflow": "counted"}))["valid"]
    async with lakehouse.open(tmp_path / "other", overrides=KEEP) as lake:
        outputs = await again(lake, made["workflow"])
        assert outputs[0]["row_count"] == loaded["row_count"]
        assert outputs[1]["rows"] == asked["rows"]


async def test_what_was_not_kept_is_refused_with_what_to_do(lake: Lakehouse) -> None:
    """By default only summaries are kept."""
    await lake.call("sql.query", {"sql": "SELECT 1"}, via="cli")
    with pytest.raises(NotFound) as error:
        await lake.call("workflow.from_ops", {"of": ["cli"]})
    assert "observer.keep_bytes" in error.value.fix
    state = await ran(lake, "  - {id: a, bash: 'true'}")
    with pytest.raises(Unprocessable):
        await lake.call("workflow.from_ops", {"of": [state.record.id]})
    assert not (lake.home / "observer" / "calls.jsonl").exists()
