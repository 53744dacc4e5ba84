"""Workflow files through the door: found, understood, checked, and run."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.flows import PATIENCE, by_id, ran, scripted

from lakehouse import Lakehouse
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.problems import CannotRun
from lakehouse.engine.workflows.runs import Starter
from lakehouse.errors import NotFound

pytestmark = pytest.mark.anyio

BLOCK = """
name: block
description: d
inputs: {word: {required: true}, mode: {default: quick}}
nodes:
  - {id: echo, mode: fixture.echo, with: {value: $INPUTS.word}}
  - {id: deep, mode: fixture.echo, with: {value: 1}, when: "$INPUTS.mode == 'deep'", depends_on: [echo]}
  - {id: shell, bash: 'printf %s "$INPUTS_WORD-$INPUTS_MODE"', depends_on: [echo]}
  - {id: ask, command: review, with: {what: $shell.output}, depends_on: [shell]}
returns: ask
"""
PARENT = """
name: parent
description: d
nodes:
  - {id: first, mode: fixture.upper, with: {text: hi}}
  - {id: inc, include: block, depends_on: [first], with: {word: $first.output.text}}
  - {id: off, include: block, depends_on: [first], with: {word: x}, when: "$first.output.text == 'no'"}
  - {id: last, bash: 'echo $inc.output', depends_on: [inc], trigger_rule: all_done}
returns: last
"""


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


async def started(lake: Lakehouse, name: str, starter: Starter | None = None) -> RunState:
    record = await lake.workflows.start(name, starter or Starter())
    return await lake.workflows.wait(record.id, PATIENCE)


async def test_an_included_block_runs(lake: Lakehouse) -> None:
    """Inputs reach references, conditions, environments and commands; a block that is not entered is skipped whole."""
    put(lake.home / "workflows" / "block.yaml", BLOCK)
    put(lake.home / "workflows" / "any-name.yaml", PARENT)
    put(lake.home / "commands" / "review.md", "---\ndescription: x\n---\nReview $INPUTS.what of $INPUTS.word.")
    model = scripted(lake, "fine")
    state = await started(lake, "parent")
    nodes = by_id(state)
    assert nodes["inc__echo"].text == '{"value":"HI"}'
    assert (nodes["inc__deep"].status, nodes["inc__deep"].reason) == ("skipped", "when_condition")
    assert nodes["inc__shell"].text == "HI-quick"
    assert model.asked[0].messages[-1].content == "Review HI-quick of HI."
    assert {nodes[f"off__{id}"].status for id in ("echo", "deep", "shell", "ask")} == {"skipped"}
    assert (state.record.status, state.record.result) == ("completed", "fine")


async def test_a_value_for_a_skipped_producer(lake: Lakehouse) -> None:
    """`if_skipped` stands in for what a skipped node would have put out."""
    state = await ran(
        lake,
        """
  - {id: a, bash: echo 1}
  - {id: b, bash: echo 2, depends_on: [a], when: "$a.output == '9'"}
  - id: c
    script: |
      import os
      print(os.environ["INPUTS_X"])
    runtime: uv
    depends_on: [b]
    trigger_rule: all_done
    with: {x: {from: $b.output, if_skipped: 7}}
""",
    )
    assert by_id(state)["c"].text == "7"


async def test_files_beside_a_caller_on_this_machine(lake: Lakehouse, tmp_path: Path) -> None:
    """Its `.archon/workflows`, and files by their path; nobody else's."""
    here = tmp_path / "project"
    put(here / ".archon" / "workflows" / "x.yaml", "name: mine\ndescription: d\nnodes: [{id: a, bash: pwd}]")
    cli = Starter("cli", folder=str(here))
    state = await started(lake, "mine", cli)
    assert by_id(state)["a"].text == str(here)
    assert (await started(lake, ".archon/workflows/x.yaml", cli)).record.workflow == "mine"
    assert {"fixture-chain", "mine"} <= {one.source.name for one in await lake.workflows.listing(cli)}
    python = replace(cli, via="python")
    assert (await started(lake, ".archon/workflows/x.yaml", python)).record.workflow == "mine"
    for other in (python, Starter("cli"), replace(cli, via="mcp"), replace(cli, remote=True)):
        with pytest.raises(NotFound):
            await lake.workflows.start("mine", other)
        assert "mine" not in [one.source.name for one in await lake.workflows.listing(other)]
    with pytest.raises(NotFound):
        await lake.workflows.start(str(here / ".archon/workflows/x.yaml"), replace(cli, via="http"))


async def test_all_that_is_wrong_is_told(lake: Lakehouse) -> None:
    """Findings in the text and in the graph, with their lines."""
    put(
        lake.home / "workflows" / "w.yaml",
        "name: w\ndescription: d\nnodes:\n  - id: a\n    mode: fixture.echo\n    wth: {}\n    depends_on: [b]\n",
    )
    report = await lake.workflows.validate("w")
    assert not report["valid"]
    found = {(one["where"], one["line"]) for one in report["errors"]}
    assert ("nodes.a.depends_on", 7) in found
    assert [(one["where"], one["line"]) for one in report["warnings"]] == [("nodes.a.wth", 6)]
    with pytest.raises(CannotRun):
        await lake.workflows.start("w", Starter())
    text = "name: w\ndescription: d\nnodes: [{id: a, command: gone}]"
    report = await lake.workflows.validate("given", text)
    assert (report["valid"], report["file"], report["missing"]["commands"]) == (False, "", ["gone"])
    assert (await lake.workflows.validate("fixture-chain"))["valid"]
