"""Loops, groups, gates and children whose process is killed: each goes on where it was."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, workflow

import lakehouse

pytestmark = pytest.mark.anyio

RUN = """
import sys, anyio, lakehouse
from lakehouse.engine.workflows.runs import Starter

async def main():
    async with lakehouse.open(sys.argv[1], overrides={"chat.provider": "scripted", "chat.script": sys.argv[2]}) as lake:
        run = await lake.workflows.start("test", Starter(), definition=open(sys.argv[3]).read(), message=sys.argv[4])
        print(run.id, flush=True)
        await lake.workflows.wait(run.id, 60)

anyio.run(main)
"""
# Each branch comes to a place where it waits to be killed, in its second iteration or item.
WAIT = "echo >> $ARGUMENTS/{0}; [ $(wc -l < $ARGUMENTS/{0}) != 2 ] || until [ -e $ARGUMENTS/go ]; do sleep 0.05; done"
BRANCHES = f"""
  - id: loop
    loop:
      prompt: After <$LOOP_PREV_OUTPUT>
      until: DONE
      max_iterations: 9
      until_bash: "{WAIT.format("loop")}; false"
  - id: group
    loop_group:
      max_iterations: 9
      until_bash: '[ $LOOP_PREV_OUTPUT = 3 ]'
      nodes:
        - {{id: add, bash: "echo >> $ARGUMENTS/add; echo $(( ${{LOOP_PREV_OUTPUT:-0}} + 1 ))"}}
        - {{id: stop, depends_on: [add], bash: "{WAIT.format("group")}"}}
        - {{id: tell, depends_on: [stop], bash: echo $add.output}}
  - {{id: places, bash: 'printf "[\\"%s\\", \\"%s\\", \\"%s\\"]" $ARGUMENTS $ARGUMENTS $ARGUMENTS'}}
  - id: each
    depends_on: [places]
    workflow: child
    fan_out: {{items: $places.output, max_parallel: 1}}
"""
CHILD = f"""
  - {{id: count, bash: "echo >> $ARGUMENTS/count; wc -l < $ARGUMENTS/count"}}
  - {{id: stop, depends_on: [count], bash: "{WAIT.format("child")}"}}
  - {{id: tell, depends_on: [stop], bash: echo item $count.output}}
"""
PLACES = ("loop", "group", "child")


@pytest.mark.slow
async def test_what_was_killed_goes_on_in_its_iteration(home: Path, tmp_path: Path) -> None:
    """No iteration, item or node that ended before kill -9 runs again."""
    (home / "workflows").mkdir(parents=True)
    (home / "workflows" / "child.yaml").write_text(workflow(CHILD).replace("name: test", "name: child"))
    script, flow = tmp_path / "script.yaml", tmp_path / "flow.yaml"
    script.write_text('[{match: "<>", content: one}, {match: "<one>", content: two}, {match: "<two>", content: DONE}]')
    flow.write_text(workflow(BRANCHES))
    command = [sys.executable, "-c", RUN, str(home), str(script), str(flow), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = (await anyio.to_thread.run_sync(process.stdout.readline)).strip()
        with anyio.fail_after(PATIENCE):
            while {name: _lines(tmp_path / name) for name in PLACES} != dict.fromkeys(PLACES, 2):
                await anyio.sleep(0.02)
        process.kill()
    (tmp_path / "go").touch()
    async with lakehouse.open(home, overrides={"chat.provider": "scripted", "chat.script": str(script)}) as lake:
        assert (await lake.workflows.state(run)).status == "interrupted"
        await lake.workflows.resume(run)
        state = await lake.workflows.wait(run, PATIENCE)
    nodes = by_id(state)
    assert state.record.status == "completed", state.record.error
    assert nodes["loop"].text == "DONE"
    assert nodes["group"].text == "3"
    assert json.loads(nodes["each"].text) == ["item 1", "item 2", "item 3"]
    ran = {name: _lines(tmp_path / name) for name in (*PLACES, "add", "count")}
    # What was under way ran twice, so that it is 4 for 3; what had ended did not.
    assert Counter(ran) == Counter({"loop": 3, "group": 4, "child": 4, "add": 3, "count": 3})


def _lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0
