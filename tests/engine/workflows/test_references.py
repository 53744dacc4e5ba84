"""What references become: the table of the language, what bash receives, and that nothing is read twice."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flows import by_id, ran, scripted
from tests.scopes import cases, records

from lakehouse import Lakehouse
from lakehouse.engine.workflows.model import From, Input
from lakehouse.engine.workflows.references import MissingReference, Scope, checked_inputs
from lakehouse.engine.workflows.references.quoting import MAX_INLINE, Script, quoted
from lakehouse.errors import InvalidInput, Unprocessable

VARIABLES = {"ARGUMENTS": "say $a.output", "WORKFLOW_ID": "run-1", "ARTIFACTS_DIR": "/runs/1/artifacts"}
VARIABLES["USER_MESSAGE"] = VARIABLES["ARGUMENTS"]
HOSTILE = [
    "",
    "it's",
    "\"double\" and 'single'",
    "$(touch owned) `touch owned` ${HOME} $HOME \\$x",
    "a\nb\n\n",
    "\n",
    "-n",
    "* ? [a-z] {1,2} ~ !! #",
    "a;b|c&d>e<f(g)",
    "tab\there\r\n",
    "grüße 🌊 \u2028",
    "\\",
    "'; touch owned; '",
    "' \"$(touch owned)\" '",
    "\x01\x7f\x1b[0m",
]


def scope(case: dict[str, Any]) -> Scope:
    """The scope of a case."""
    nodes: dict[str, Any] = case.get("nodes", {})
    outer = Scope({}, {}, records(case["outer"]), nodes=set(case["outer"])) if "outer" in case else None
    schemas = {id: node["schema"] for id, node in nodes.items() if node and "schema" in node}
    previous = records(case["previous"]) if "previous" in case else None
    variables = VARIABLES | case.get("variables", {})
    inputs = case.get("inputs", {})
    return Scope(inputs, variables, records(nodes), schemas, outer, frozenset(nodes), previous)


@pytest.mark.parametrize("case", cases("references.yaml"), ids=lambda case: f"{case['is']}: {case['template']}"[:80])
def test_the_table(case: dict[str, Any]) -> None:
    """A-S20-3: a reference resolves, and one that is missing is an error that names it."""
    around, template = scope(case), case["template"]
    for way in ("text", "prompt", "shell", "source"):
        if way in case:
            made = getattr(around, way)(template)
            assert (made if isinstance(made, str) else literal(made)) == case[way], way
    if "given" in case:
        assert around.given(template) == case["given"]
    if "bound" in case:
        assert around.bound({"x": template}).inputs["x"] == case["bound"]
    if "error" in case:
        for tell in (around.text, around.shell, around.source, around.given, lambda one: around.bound({"x": one})):
            if "$INPUTS" in template and tell in (around.shell, around.source):
                continue
            if "shell" in case and tell == around.shell:
                continue
            with pytest.raises(MissingReference, match=re.escape(case["error"])) as caught:
                tell(template)
            assert case.get("fix", "") in caught.value.fix
    if "given_error" in case:
        with pytest.raises(MissingReference, match=re.escape(case["given_error"])):
            around.given(template)


def test_a_skipped_producer_of_with() -> None:
    """`if_skipped` is for what was skipped, never for what failed."""
    around = scope({"nodes": {"gone": {"status": "skipped"}, "bad": {"status": "failed"}, "a": {"value": {"f": 1}}}})
    with_default = around.bound({"x": From("$gone.output.f", [1], True), "y": From("$a.output.f", 5, True)})
    assert with_default.inputs == {"x": [1], "y": 1}
    assert around.bound({"x": From("$gone.output")}).inputs == {"x": ""}
    for wrong in (From("$gone.output.f"), From("$bad.output", 1, True), From("no reference")):
        with pytest.raises(MissingReference):
            around.bound({"x": wrong})


def test_a_loop_group_has_the_scope_of_its_graph() -> None:
    around = scope({"nodes": {"a": {"text": "x"}}, "inputs": {"n": 1}})
    body = around.inside((), previous=records({"b": {"text": "before"}}), LOOP_PREV_OUTPUT="y")
    assert body.text("$a.output $LOOP_PREV.b.output $LOOP_PREV_OUTPUT $INPUTS.n $WORKFLOW_ID") == "x before y 1 run-1"
    body.settled.update(records({"c": {"text": "z"}}))
    assert body.text("$c.output") == "z"
    with pytest.raises(MissingReference, match="no node c"):
        around.text("$c.output")


def test_an_array_for_a_fan_out() -> None:
    around = scope({"nodes": {"a": {"text": "[1, 2]"}, "b": {"value": {"l": [3]}}, "c": {"text": "so"}}})
    assert around.array("$a.output") == [1, 2]
    assert around.array("$b.output.l") == [3]
    for wrong in ("$c.output", "$b.output", "text"):
        with pytest.raises(Unprocessable, match="no JSON array"):
            around.array(wrong)


def test_inputs_as_they_are_declared() -> None:
    declared = {
        "n": Input("n", type="integer", default=3, has_default=True),
        "on": Input("on", type="boolean"),
        "word": Input("word", required=True),
    }
    assert checked_inputs(declared, {"word": "5", "on": "true"}) == {"n": 3, "on": True, "word": "5"}
    for wrong in ({"word": "x", "n": "many"}, {"word": "x", "n": True}, {"word": "x", "n": "1.5"}, {}, {"wrod": "x"}):
        with pytest.raises(InvalidInput):
            checked_inputs(declared, wrong)
    with pytest.raises(InvalidInput) as caught:
        checked_inputs({}, {"word": "x"})
    assert caught.value.fix == "It takes none."


def test_variables_of_a_shell() -> None:
    around = scope({"inputs": {"base-branch": "main", "n": 3}, "variables": {"CONTEXT": "issue 7"}})
    told = around.exported()
    assert told["ARGUMENTS"] == told["USER_MESSAGE"] == "say $a.output"
    assert (told["INPUTS_BASE_BRANCH"], told["INPUTS_N"], told["ISSUE_CONTEXT"]) == ("main", "3", "issue 7")
    assert told["DOCS_DIR"] == "docs/"
    assert told["REJECTION_REASON"] == ""
    assert "STATE_DIR" not in told


def literal(script: Script) -> str:
    """A script with what its variables hold in the place of the words that they are."""
    return re.sub(r'"\$\{(LAKEHOUSE_OUTPUT_\d+)\}"', lambda found: quoted(script.variables[found[1]]), script.text)


def received(values: list[Any], folder: Path) -> list[bytes]:
    """What one bash receives as words for outputs of these values, longer ones from files."""
    spilled: list[Path] = []

    def spill(text: str) -> str:
        spilled.append(folder / f"it's {len(spilled)}")
        spilled[-1].write_bytes(text.encode())
        return str(spilled[-1])

    texts = {f"n{i}": value for i, value in enumerate(values)}
    around = Scope({}, {}, records({id: {"text": value} for id, value in texts.items()}))
    script = "".join(
        f"printf '%s\\0' x$n{i}.output; y=$n{i}.output; printf '%s\\0' \"$y\"\n" for i in range(len(values))
    )
    run = around.shell(script, spill)
    env = os.environ | run.variables
    done = subprocess.run(["bash"], input=run.text.encode(), cwd=folder, env=env, capture_output=True, check=True)
    words = done.stdout.split(b"\0")[:-1]
    assert all(word == b"x" + once for word, once in zip(words[::2], words[1::2], strict=True))
    return words[1::2]


def test_bash_receives_hostile_outputs_as_they_are(tmp_path: Path) -> None:
    long = ["x" * MAX_INLINE + "\n\n", "it's $(touch owned) `x`\n" * 4000, "*  *\t" * 9000]
    assert received([*HOSTILE, *long], tmp_path) == [text.encode() for text in (*HOSTILE, *long)]
    assert not (tmp_path / "owned").exists()


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=20, max_size=40))
def test_bash_receives_any_output_as_it_is(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    assert received(texts, tmp_path_factory.getbasetemp()) == [text.encode() for text in texts]


def test_an_output_with_a_nul_byte_is_refused_by_name() -> None:
    around = scope({"nodes": {"a": {"text": "x\0y"}}})
    with pytest.raises(Unprocessable, match=r"\$a\.output: it holds a NUL byte"):
        around.shell("echo $a.output")


def test_half_a_character_can_be_given_to_anything() -> None:
    around = scope({"nodes": {"a": {"text": '{"f": "\\ud800x"}'}, "b": {"value": {"f": "\ud800"}}}})
    assert around.text("$a.output.f $b.output") == '?x {"f":"?"}'


PIECES = st.lists(st.sampled_from(["$a.output", "$INPUTS.x", "$", "$$", "a", ".output", "-", " ", ".", "\\1"]))


@given(PIECES.map("".join), PIECES.map("".join))
def test_what_was_put_in_is_not_read_again(template: str, text: str) -> None:
    """Each text stands where its references were, unchanged: there is no second pass."""
    around = Scope({"x": text}, {}, records({"a": {"text": text}}), nodes={"a"})
    try:
        found = around.text(template)
    except MissingReference:
        return
    assert found == text.join(re.split(r"\$a\.output|\$INPUTS\.x", template))


async def _noted(lake: Lakehouse) -> Any:
    model = scripted(lake, "fine")
    nodes = """
  - {id: facts, mode: fixture.echo, with: {value: {name: "a \\"lake\\"", depths: [1, 2.5, null, true]}}}
  - {id: ask, prompt: "$facts.output.value", depends_on: [facts]}
"""
    state = await ran(lake, nodes)
    assert by_id(state)["ask"].status == "completed"
    return json.loads(model.asked[0].messages[-1].content)


@pytest.mark.anyio
async def test_an_object_within_a_prompt_is_json(lake: Lakehouse) -> None:
    """A-S20-7: a dict output embedded in a prompt parses as JSON."""
    assert await _noted(lake) == {"name": 'a "lake"', "depths": [1, 2.5, None, True]}


@pytest.mark.anyio
async def test_a_field_that_a_mode_leaves_out_is_empty(lake: Lakehouse) -> None:
    """Absent fields of an answer are left out of it: they are declared all the same."""
    nodes = """
  - {id: none, mode: fixture.echo}
  - {id: after, mode: fixture.echo, with: {value: "[$none.output.value]"}, depends_on: [none]}
"""
    assert by_id(await ran(lake, nodes))["after"].text == '{"value":"[]"}'


HOSTILE_RUN = """
  - {id: said, bash: 'printf "%s|%s" "$ARGUMENTS" "$INPUTS_WORD"'}
  - {id: gone, bash: "echo never", when: "$INPUTS.word = 3"}
  - {id: again, depends_on: [said], bash: "printf %s $said.output"}
  - id: script
    depends_on: [said, gone]
    trigger_rule: all_done
    runtime: uv
    script: "import os; print(os.environ['INPUTS_X'] + os.environ['INPUTS_Y'], end='')"
    with: {x: $said.output, y: {from: $gone.output.f, if_skipped: none}}
"""


@pytest.mark.anyio
async def test_what_a_caller_says_is_never_run(lake: Lakehouse, tmp_path: Path) -> None:
    """Messages and inputs arrive as variables, outputs as words; a condition that cannot be read skips its node."""
    owned = tmp_path / "owned"
    message, word = f"`touch {owned}` $(touch {owned}) \"; touch {owned}; '$said.output", f"it's $(touch {owned})"
    state = await ran(lake, HOSTILE_RUN, message=message, root="inputs: {word: {}}", word=word)
    nodes, said = by_id(state), f"{message}|{word}"
    assert [nodes[id].text for id in ("said", "again", "script")] == [said, said, f"{said}none"]
    assert nodes["gone"].reason == "when_condition_parse_error"
    events = [event for _, event in await lake.workflows.store.events(state.record.id)]
    assert [
        "is no comparison" in event.data["message"] for event in events if event.kind == "warned" and event.path
    ] == [True]
    assert not owned.exists()
