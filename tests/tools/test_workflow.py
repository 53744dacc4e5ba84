"""What workflows are made of, through the door."""

import pytest

from lakehouse import Lakehouse, NotFound

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_modes_and_tools_are_steps(lake: Lakehouse) -> None:
    """S21.1: every tool is a mode, too; a mode is no tool."""
    answer = await lake.call("workflow_modes", via="mcp")
    steps = {step["mode"]: step for step in answer["modes"]}
    assert answer["count"] == len(steps) == len(lake.catalogue.steps())
    assert steps["fixture.echo"] == {
        "mode": "fixture.echo",
        "description": "Return what was given.",
        "effect": "reads",
        "tool": False,
    }
    assert "datasets.names" not in steps  # it completes what people type
    assert steps["storage.delete"]["effect"] == "destroys" and steps["storage.delete"]["tool"]


@pytest.mark.slow
async def test_what_one_of_them_takes(lake: Lakehouse) -> None:
    (step,) = (await lake.call("workflow.modes", {"name": "fixture.upper"}))["modes"]
    assert step["arguments"]["required"] == ["text"]
    assert (await lake.call("workflow.modes", {"name": "sql.query"}))["modes"][0]["tool"]
    assert step["output"]["properties"].keys() == {"text"}
    for wrong, fix in (
        ("sql.qwery", "sql.query"),
        ("guide.explore_dataset", ""),
        ("query_sqll", ""),
        ("x", "workflow_modes"),
    ):
        with pytest.raises(NotFound, match="no mode") as raised:
            await lake.call("workflow.modes", {"name": wrong})
        assert fix in raised.value.fix
