"""Files written for Archon run unchanged; a script answers their prompts."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, scripted

from lakehouse import Lakehouse
from lakehouse.engine.workflows.part import RunState
from lakehouse.engine.workflows.runs import Starter

pytestmark = pytest.mark.anyio


async def ran(lake: Lakehouse, file: Path, folder: Path, message: str = "") -> RunState:
    text = await anyio.Path(file).read_text()
    record = await lake.workflows.start(file.stem, Starter(folder=str(folder)), definition=text, message=message)
    return await lake.workflows.wait(record.id, PATIENCE)


async def test_the_loop_in_a_graph(lake: Lakehouse, data: Callable[[str], Path], tmp_path: Path) -> None:
    """A shell, a loop that ends with its promise in the third iteration, and a prompt that reads its output."""
    (tmp_path / ".archon").mkdir()
    counted = ["Counter: 1", "Counter: 2", "Counter: 3 <promise>COMPLETE</promise>"]
    model = scripted(lake, *[{"node": "loop-counter", "content": text} for text in counted], "Final counter: 3")
    state = await ran(lake, data("archon_examples/archon-test-loop-dag.yaml"), tmp_path, "count to three")
    assert state.record.status == "completed", state.record.error
    nodes = by_id(state)
    assert (tmp_path / ".archon" / "test-loop-dag-counter.txt").read_text() == "0\n"
    assert nodes["setup"].text == "Counter initialized to 0"
    assert nodes["loop-counter"].text.strip() == "Counter: 3"
    assert "The loop node output was:\n\nCounter: 3" in model.asked[3].messages[-1].content
    assert "count to three" in model.asked[0].messages[0].content
    assert [len(request.messages) for request in model.asked] == [1, 3, 5, 7]  # one conversation
    assert state.record.result == "Final counter: 3"


async def test_prompts_of_a_foreign_provider(lake: Lakehouse, data: Callable[[str], Path], tmp_path: Path) -> None:
    """`provider: pi` is none of ours: that is told, and the configured model answers, two prompts beside each other."""
    hello = {"match": "Who won", "content": "The Detroit Tigers.", "repeat": True}
    model = scripted(lake, hello, {"node": "verify", "content": "verified"})
    state = await ran(lake, data("archon_examples/archon-test-pi.yaml"), tmp_path)
    assert state.record.status == "completed", state.record.error
    assert by_id(state)["hello"].model == "pi:kiro/minimax-m2-5 -> scripted"
    assert by_id(state)["hello-ollama"].model == "pi:ollama/qwen3.5 -> scripted"
    assert model.asked[-1].messages[-1].content.count("The Detroit Tigers.") == 2
    events = await lake.workflows.store.events(state.record.id)
    told = [event.data["message"] for _, event in events if event.kind == "warned" and event.path]
    assert told == ["provider pi is not set up here: the configured model answers"] * 3
    told = (await lake.call("workflow.status", {"run": state.record.id}))["warnings"]
    assert told[1:] == ["hello, hello-ollama, verify: provider pi is not set up here: the configured model answers"]
