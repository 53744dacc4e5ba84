"""What the guide shows works."""

import re

import pytest

from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio


async def test_the_workflow_of_the_guide_runs(lake: Lakehouse) -> None:
    """It is examined, pauses, and goes on once it is approved; over MCP, as a text."""
    guide = await lake.call("guide.read", via="mcp")
    found = re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert found
    validated = await lake.call("workflow.validate", {"definition": found[1]}, via="mcp")
    assert validated["valid"] and validated["files"][0]["warnings"] == []
    run = await lake.call("workflow.run", {"definition": found[1]}, via="mcp")
    assert run["waits"][0]["message"] == "Is 1 row right?" and run.get("warnings") is None
    done = await lake.call("workflow.approve", {"run": run["run_id"]}, via="mcp")
    assert done["status"] == "completed" and "There are 5." in done["result"]
