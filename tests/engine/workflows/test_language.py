"""Workflow files as they are understood: what is wrong with them, what is strange, and what they become."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflow_files import Given, understood

from lakehouse.engine.workflows.language import FEATURES, Source, load
from lakehouse.engine.workflows.language.file import MAX_NODES
from lakehouse.engine.workflows.language.reading import MAX_BYTES
from lakehouse.engine.workflows.language.tiers import keys
from lakehouse.engine.workflows.model import Approval, Bash, Child, From, Loop, LoopGroup, Mode, Prompt, Retry, Script

CASES = Path(__file__).parents[2] / "cases" / "workflow_files"
TABLE = [(path.stem, case) for path in sorted(CASES.glob("*.yaml")) for case in yaml.safe_load(path.read_text("utf-8"))]


@pytest.mark.parametrize(("file", "case"), TABLE, ids=[f"{file}-{case['case']}" for file, case in TABLE])
def test_findings(file: str, case: dict[str, Any]) -> None:
    """Each file of the table has just these errors and warnings, with their lines."""
    around = {key: case[key] for key in ("workflows", "commands", "scripts") if key in case}
    loaded = understood(case["text"], **around)
    assert [_told(one) for one in loaded.errors] == case.get("errors", [])
    assert [_told(one) for one in loaded.warnings] == case.get("warnings", [])
    assert (loaded.workflow is None) is bool(loaded.errors)


def _told(problem: Any) -> str:
    return f"{problem.where} ({problem.line}): {problem.message} {problem.fix}".strip()


def test_everything_a_node_may_be() -> None:
    loaded = understood(
        """
name: whole
description: One node of each kind.
provider: ollama
model: small
effort: low
interactive: false
evidence_policy: {required: true}
max_cost_usd: 2.5
timeout: 1500
tool: true
title: Whole
inputs: {topic: {required: true, type: string, description: What.}}
nodes:
  - {id: ask, prompt: " hi ", output_format: {type: object}, denied_tools: [x], maxBudgetUsd: 0.5, thinking: enabled}
  - {id: other, prompt: hi, provider: openai, allowed_tools: [], context: {resume: ask}, systemPrompt: Be brief.}
  - {id: told, command: review, with: {a: $ask.output, b: {from: $ask.output.x, if_skipped: 1}}, persist_session: true}
  - {id: shell, bash: ls, timeout: 250, retry: {max_attempts: 1, delay_ms: 1000, on_error: all}}
  - {id: inline, script: print(1), runtime: uv, deps: [httpx]}
  - {id: named, script: clean, runtime: uv}
  - {id: again, loop: {command: review, until: DONE, max_iterations: 3}}
  - id: group
    model: large
    loop_group:
      max_iterations: 2
      until_bash: test $body.output = 1
      nodes: [{id: body, prompt: x}]
  - {id: gate, approval: {message: Ok?, on_reject: {prompt: Mend it.}}}
  - {id: route, approval: {message: Which?, decisions: [{id: approve}, {id: later, label: Not now}]}}
  - {id: stop, cancel: Enough., when: "$ask.output.x == 'stop'", trigger_rule: one_success, depends_on: [ask, told]}
  - {id: child, workflow: child, with: {q: 1}, fan_out: {items: $ask.output, as: item, join: all_success}}
  - {id: ours, mode: sql.query, with: {sql: select 1, deep: {x: [$ask.output]}}, timeout: 2000, idle_timeout: 3000}
returns: ask
""",
        commands={"review": "---\ndescription: x\nargument-hint: y\n---\nReview $INPUTS.a\n"},
        scripts={"clean": "print(2)"},
        workflows={"child": "name: child\ndescription: d\ninputs: {q: , item: }\nnodes: [{id: a, command: review}]\n"},
    )
    assert loaded.errors == ()
    assert loaded.warnings == ()
    flow = loaded.workflow
    assert flow is not None
    by = {node.id: node for node in flow.nodes}
    assert (flow.timeout, flow.max_cost_usd, flow.tool, flow.title) == (1.5, 2.5, True, "Whole")
    assert flow.interactive  # a gate of its own says so
    assert flow.output_format == {"type": "object"}
    ask, other, told = (by[id].body for id in ("ask", "other", "told"))
    assert isinstance(ask, Prompt)
    assert isinstance(other, Prompt)
    assert isinstance(told, Prompt)
    assert (ask.text, ask.agent.provider, ask.agent.model, ask.agent.effort) == ("hi", "ollama", "small", "low")
    assert (ask.agent.thinking, ask.agent.max_cost_usd) == ({"type": "enabled"}, 0.5)
    assert ask.agent.allowed_tools is None
    assert (other.agent.allowed_tools, other.agent.model) == ((), "")  # another provider's model is none of its
    assert by["other"].context == "resume:ask"
    assert by["ask"].retry == Retry(2)
    assert (told.text, told.command, by["told"].kind) == ("Review $INPUTS.a", "review", "command")
    assert by["told"].given == {"a": "$ask.output", "b": From("$ask.output.x", 1, True)}
    assert by["shell"].body == Bash("ls", 0.25)
    assert by["shell"].timeout is None
    assert by["shell"].retry == Retry(1, 1.0, "all")
    assert by["inline"].body == Script("print(1)", "uv", deps=("httpx",))
    assert by["named"].body == Script("print(2)", "uv", "clean")
    again, group, gate, route = (by[id].body for id in ("again", "group", "gate", "route"))
    assert isinstance(again, Loop)
    assert (again.prompt.command, again.control.until, by["again"].retry) == ("review", "DONE", None)
    assert isinstance(group, LoopGroup)
    assert group.nodes[0].agent is not None
    assert (group.nodes[0].agent.model, group.nodes[0].agent.provider) == ("large", "ollama")
    assert isinstance(gate, Approval)
    assert gate.on_reject is not None
    assert (gate.on_reject.max_attempts, gate.on_reject.agent.model) == (3, "small")
    assert isinstance(route, Approval)
    assert [(one.id, one.label) for one in route.decisions] == [("approve", ""), ("later", "Not now")]
    child = by["child"].body
    assert isinstance(child, Child)
    assert child.fan_out is not None
    assert (child.fan_out.name, child.fan_out.max_parallel, child.fan_out.join) == ("item", 5, "all_success")
    assert by["ours"].body == Mode("sql.query")
    assert by["ours"].given == {"sql": "select 1", "deep": {"x": ["$ask.output"]}}
    assert (by["ours"].timeout, by["ours"].idle_timeout) == (2.0, 3.0)
    assert set(loaded.used) == {
        ("command", "review"),
        ("script", "clean"),
        ("workflow", "child"),
        ("command", "child/review"),
    }
    assert ("kind.workflow", "run_second") in loaded.features


BLOCK = """
name: block
description: d
model: m1
inputs: {topic: {required: true}, mode: {default: full}, n: {default: 3}}
returns: b
nodes:
  - {id: a, prompt: "On $INPUTS.topic", systemPrompt: Be $INPUTS.mode}
  - {id: deep, prompt: $a.output, when: "$INPUTS.mode == 'deep' || $a.output != 'x'", depends_on: [a]}
  - {id: deeper, prompt: $a.output, when: "$INPUTS.mode == 'deep'", depends_on: [a]}
  - {id: b, mode: m.x, depends_on: [a], with: {n: $INPUTS.n, t: "$INPUTS.topic!", d: [{q: $INPUTS.n}], r: $a.output.f}}
  - {id: clean, bash: 'echo "$INPUTS_TOPIC" $a.output', depends_on: [b], trigger_rule: all_done}
  - id: g
    depends_on: [a]
    loop_group:
      max_iterations: 2
      until_bash: test $a.output = $in.output
      nodes:
        - {id: in, prompt: "$a.output $LOOP_PREV.in.output $INPUTS.mode"}
        - {id: deep, prompt: $in.output, depends_on: [in]}
        - {id: last, prompt: $deep.output, depends_on: [deep], context: {resume: in}}
"""


def test_a_block_becomes_nodes() -> None:
    """Ids, references, inputs and conditions of an included block; what depends on it, and its output."""
    loaded = understood(
        """
name: parent
description: d
inputs: {top: {default: 1}}
nodes:
  - {id: a, bash: echo hi}
  - id: inc
    include: block
    with: {topic: $a.output, n: [1, 2]}
    depends_on: [a]
    when: "$a.output == 'hi' || $INPUTS.top == 1"
    trigger_rule: one_success
  - {id: end, prompt: "$inc.output $inc.output.q", depends_on: [inc], context: {resume: inc}, when: "$inc.q == 'a'"}
returns: inc
""",
        workflows={"block": BLOCK},
    )
    assert loaded.errors == ()
    assert loaded.workflow is not None
    assert loaded.workflow.returns == "inc__b"
    by = {node.id: node for node in loaded.workflow.nodes}
    assert list(by) == ["a", *(f"inc__{id}" for id in ("a", "deep", "deeper", "b", "clean", "g")), "end"]
    first = by["inc__a"]
    assert (first.depends_on, first.trigger_rule) == (("a",), "one_success")
    assert first.when == "$a.output == 'hi' || $INPUTS.top == 1"
    assert isinstance(first.body, Prompt)
    assert (first.body.text, first.body.agent.system, first.body.agent.model) == ("On $a.output", "Be full", "m1")
    assert by["inc__deep"].when == "$inc__a.output != 'x'"
    assert by["inc__deeper"].when == "false"
    assert by["inc__b"].given == {"n": [1, 2], "t": "$a.output!", "d": [{"q": [1, 2]}], "r": "$inc__a.output.f"}
    clean = by["inc__clean"]
    assert clean.when == first.when  # else it would run in a block that was not entered
    assert clean.body == Bash('echo "$INPUTS_TOPIC" $inc__a.output')
    assert clean.given == {"topic": "$a.output", "mode": "full", "n": [1, 2]}
    group = by["inc__g"].body
    assert isinstance(group, LoopGroup)
    assert group.control.until_bash == "test $inc__a.output = $in.output"
    texts = [one.body.text for one in group.nodes if isinstance(one.body, Prompt)]
    assert texts == ["$inc__a.output $LOOP_PREV.in.output full", "$in.output", "$deep.output"]
    assert group.nodes[2].context == "resume:in"
    end = by["end"]
    assert end.depends_on == ("inc__deep", "inc__deeper", "inc__clean", "inc__g")
    assert (end.context, end.when) == ("resume:inc__b", "$inc__b.q == 'a'")
    assert isinstance(end.body, Prompt)
    assert end.body.text == "$inc__b.output $inc__b.output.q"
    assert loaded.nodes == 11
    assert loaded.line("nodes.inc__a.when") == 7


def test_blocks_in_blocks() -> None:
    """Inputs are handed down typed, and an inner block's output reaches the top."""
    inner = "name: i\ndescription: d\nnodes: [{id: x, mode: m.x, with: {v: $INPUTS.v, w: 'a $INPUTS.v'}}]"
    outer = "name: o\ndescription: d\nnodes: [{id: y, include: inner, with: {v: $INPUTS.u}}]\nreturns: y"
    text = """
name: t
description: d
nodes:
  - {id: g, loop_group: {max_iterations: 1, until_bash: test $z.output, nodes: [{id: z, include: outer, with: {u: 7}}]}}
  - {id: k, include: outer, with: {u: {from: $g.output, if_skipped: no}}, depends_on: [g]}
"""
    loaded = understood(text, workflows={"inner": inner, "outer": outer})
    assert loaded.errors == ()
    assert loaded.workflow is not None
    group, top = loaded.workflow.nodes
    assert isinstance(group.body, LoopGroup)
    assert group.body.nodes[0].id == "z__y__x"
    assert group.body.nodes[0].given == {"v": 7, "w": "a 7"}
    assert top.id == "k__y__x"
    assert top.given == {"v": "$g.output", "w": "a $g.output"}
    assert top.depends_on == ("g",)


def test_the_text_itself() -> None:
    """Sizes, encodings, line ends, and what stands before a text."""
    good = "name: t\ndescription: d\nnodes:\n  - {id: a, prompt: hi}\n"
    assert understood(good.replace("\n", "\r\n")).workflow is not None
    assert load(Source.of("t", b"\xef\xbb\xbf" + good.encode()), Given()).workflow is not None
    for data, message, line in (
        (good.encode("utf-16"), "it is not UTF-8.", 1),
        (b"name: t\ndescription: caf\xe9\n", "it is not UTF-8.", 2),
        (b"name: t\ndescription: a\0b\n", "it holds a NUL character.", 2),
        (b"name: " + b"x" * MAX_BYTES, f"it is over {MAX_BYTES:,} bytes.", 0),
        (b"[" * 100_000, "it is nested deeper than 64 levels.", 1),
    ):
        [error] = load(Source.of("t", data), Given()).errors
        assert (error.message, error.line) == (message, line)
    command = "name: t\ndescription: d\nnodes: [{id: a, command: c}]"
    assert "is not UTF-8" in understood(command, commands={"c": "caf\udce9"}).errors[0].message
    assert "is over" in understood(command, commands={"c": "x" * (MAX_BYTES + 1)}).errors[0].message


def test_how_many_nodes() -> None:
    """10,000 and no more, those of blocks counted as often as they are included."""
    head = "name: t\ndescription: d\nnodes:\n"
    block = head + "".join(f"  - {{id: n{at}, bash: 'true'}}\n" for at in range(1000))
    many = head + "".join(f"  - {{id: i{at}, include: block}}\n" for at in range(11))
    loaded = understood(many, workflows={"block": block})
    assert [error.message for error in loaded.errors] == [f"there are more than {MAX_NODES:,} nodes."]
    assert (
        understood(many.replace("  - {id: i10, include: block}\n", ""), workflows={"block": block}).nodes == MAX_NODES
    )


def test_the_examples_of_others(data: Callable[[str], Path]) -> None:
    """Files written for Archon are read as they are; only a provider that is not ours is worth a word."""
    for path, warnings in (("archon-test-loop-dag.yaml", []), ("archon-test-pi.yaml", ["provider"])):
        file = data(f"archon_examples/{path}")
        loaded = load(Source.of(file.stem, file.read_bytes(), str(file)), Given())
        assert loaded.errors == ()
        assert [one.where for one in loaded.warnings] == warnings
        assert loaded.nodes == 3
        report = loaded.report()
        assert (report["valid"], report["name"], report["file"]) == (True, file.stem, str(file))
        assert {one["tier"] for one in report["features"]} == {"run"}


def test_a_report() -> None:
    loaded = understood("name: t\ndescription: d\nnodes: [{id: a, command: c}, {id: b, workflow: w, tags: []}]")
    report = loaded.report()
    assert (report["valid"], report["nodes"]) == (False, 2)
    assert report["missing"] == {"commands": ["c"], "scripts": [], "workflows": ["w"]}
    assert report["errors"][0]["where"] == "nodes.a.command"
    assert report["warnings"][0]["line"] == 3


def test_tiers_are_published() -> None:
    """Every key that is understood has a tier, and none has two."""
    names = [feature.name for feature in FEATURES]
    assert len(names) == len(set(names))
    assert {"prompt", "include", "mode"} <= set(keys("kind"))
    assert {feature.tier for feature in FEATURES} == {"run", "run_second", "extension", "warn", "refuse"}


words = st.sampled_from(
    [
        *keys("root"),
        *keys("kind"),
        *keys("node"),
        *keys("loop"),
        *keys("approval"),
        "a",
        "t",
        "block",
        "$a.output",
        "<<",
    ]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
entries = st.dictionaries(st.sampled_from([*keys("kind"), *keys("node")]), values, max_size=5)


@settings(max_examples=150)
@given(st.lists(entries, max_size=4), st.dictionaries(st.sampled_from(keys("root")), values, max_size=5))
def test_loading_never_raises_for_what_a_file_holds(nodes: list[dict[str, Any]], root: dict[str, Any]) -> None:
    named = [{"id": name, **node} for name, node in zip("abcd", nodes, strict=False)]
    text = yaml.safe_dump({"name": "t", "description": "d", **root, "nodes": named})
    loaded = understood(text, workflows={"a": text, "block": BLOCK}, commands={"a": "x"})
    assert (loaded.workflow is None) is bool(loaded.errors)
    loaded.report()


@settings(max_examples=150)
@given(st.text(st.characters(), max_size=60) | st.text("-{}[]:&*a !|>'\"\n\t#?,%<", max_size=60))
def test_loading_never_raises_for_any_text(text: str) -> None:
    assert understood(text).workflow is None
    understood(f"name: t\ndescription: d\nnodes:\n  - id: a\n    prompt: {text}\n").report()
