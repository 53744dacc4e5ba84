"""Graphs that run again until they are done."""

from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, ran, scripted, started, workflow

import lakehouse
from lakehouse import Lakehouse

pytestmark = pytest.mark.anyio

COUNT = """
  - id: outer
    bash: echo from outside
  - id: count
    depends_on: [outer]
    loop_group:
      max_iterations: 5
      until_bash: '[ $add.output -ge 3 ]'
      nodes:
        - id: add
          bash: echo $(( ${LOOP_PREV_OUTPUT:-0} + 1 ))
        - id: tell
          depends_on: [add]
          bash: echo $add.output
"""


async def test_a_group_repeats_until_its_script_succeeds(lake: Lakehouse) -> None:
    """Each iteration's nodes have records of their own; the script reads their outputs."""
    nodes = by_id(await ran(lake, COUNT))
    assert nodes["count"].text == "3"
    inner = {path: node.text for path, node in nodes.items() if "/" in path}
    assert inner == {f"count#{n}/{id}": str(n) for n in (1, 2, 3) for id in ("add", "tell")}


async def test_a_group_reads_what_is_around_it_and_its_last_iteration(lake: Lakehouse) -> None:
    model = scripted(lake, "first", "second <promise>DONE</promise>")
    group = """
  - id: seed
    bash: echo a seed
  - id: grow
    depends_on: [seed]
    loop_group:
      max_iterations: 3
      until: DONE
      nodes:
        - {id: say, prompt: "$seed.output, before: [$LOOP_PREV.say.output]"}
"""
    assert by_id(await ran(lake, group))["grow"].text == "second"
    assert [one.messages[-1].content for one in model.asked] == ["a seed, before: []", "a seed, before: [first]"]


async def test_a_failing_node_fails_its_group(lake: Lakehouse) -> None:
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until: DONE
      nodes:
        - {id: bad, bash: "echo oh no >&2; exit 3"}
        - {id: after, bash: echo DONE, depends_on: [bad], trigger_rule: all_done}
"""
    node = by_id(await ran(lake, group))["grow"]
    assert node.status == "failed"
    assert "grow#1/bad: it exited with code 3" in node.failure.detail


async def test_a_gate_within_a_group_pauses_its_iteration(lake: Lakehouse) -> None:
    """Answered, the run goes on in the middle of the iteration: what had run in it does not run again."""
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until_bash: '[ $go.output = enough ]'
      nodes:
        - {id: before, mode: fixture.echo, with: {value: x}}
        - {id: go, approval: {message: "Enough?", capture_response: true}, depends_on: [before]}
"""
    state = await ran(lake, group)
    for n, said in ((1, "more"), (2, "enough")):
        assert state.record.status == "paused"
        assert by_id(state)[f"grow#{n}/go"].extra["message"] == "Enough?"
        run = await lake.workflows.answer(state.record.id, None, "approve", said, "me")
        state = await lake.workflows.wait(run.id, PATIENCE)
    nodes = by_id(state)
    assert (state.record.status, nodes["grow"].text) == ("completed", "enough")
    assert [nodes[f"grow#{n}/before"].attempts for n in (1, 2)] == [1, 1]


NESTED = """
  - id: outer
    loop_group:
      max_iterations: 2
      until_bash: '[ $LOOP_PREV_OUTPUT = 4 ]'
      nodes:
        - id: inner
          loop_group:
            max_iterations: 2
            until_bash: '[ $add.output = 2 ] || [ $add.output = 4 ]'
            nodes:
              - {id: add, bash: 'echo $(( $(cat $ARGUMENTS/n) + 1 )) | tee $ARGUMENTS/m; mv $ARGUMENTS/m $ARGUMENTS/n'}
        - {id: tell, depends_on: [inner], bash: "echo $inner.output"}
"""


async def test_groups_nest_with_one_place_for_all(home: Path, tmp_path: Path) -> None:
    """A group takes no place among the nodes at once, so that those in it can run."""
    (tmp_path / "n").write_text("0")
    async with lakehouse.open(home, overrides={"workflows.at_once": 1}) as lake:
        state = await ran(lake, NESTED, message=str(tmp_path))
    nodes = by_id(state)
    assert (state.record.status, nodes["outer"].text) == ("completed", "4"), state.record.error
    added = {path: node.text for path, node in nodes.items() if node.path.endswith("/add")}
    assert added == {f"outer#{n}/inner#{m}/add": str(2 * n + m - 2) for n in (1, 2) for m in (1, 2)}


async def test_a_group_that_is_never_done_fails_and_may_go_on(lake: Lakehouse) -> None:
    """Its iterations are counted on, each with records of its own."""
    state = await ran(lake, COUNT.replace("max_iterations: 5", "max_iterations: 2"))
    assert "max_iterations = 2" in by_id(state)["count"].failure.detail
    await lake.workflows.resume(state.record.id)
    nodes = by_id(await lake.workflows.wait(state.record.id, PATIENCE))
    assert nodes["count"].text == "3"
    assert [nodes[f"count#{n}/add"].attempts for n in (1, 2, 3)] == [1, 1, 1]


async def test_a_group_that_runs_anew_repeats_nothing_of_before(lake: Lakehouse, tmp_path: Path) -> None:
    """With always_run its iterations are new ones, numbered on, and read nothing of the earlier ones."""
    always = COUNT.replace("loop_group:", "always_run: true\n    loop_group:", 1)
    late = f"\n  - {{id: late, depends_on: [count], bash: '[ -e {tmp_path}/go ]'}}"
    state = await ran(lake, always + late)
    (tmp_path / "go").touch()
    await lake.workflows.resume(state.record.id)
    nodes = by_id(await lake.workflows.wait(state.record.id, PATIENCE))
    assert {path: node.text for path, node in nodes.items() if path.endswith("/add")} == {
        f"count#{n}/add": str((n - 1) % 3 + 1) for n in range(1, 7)
    }


async def test_a_cancelled_group_leaves_nothing_running(lake: Lakehouse, tmp_path: Path) -> None:
    group = f"""
  - id: grow
    loop_group:
      max_iterations: 3
      until: DONE
      nodes: [{{id: wait, bash: "echo $$ > {tmp_path}/pid; touch {tmp_path}/up; sleep 600"}}]
"""
    run = await started(lake, group)
    with anyio.fail_after(PATIENCE):
        while not await anyio.Path(tmp_path / "up").exists():
            await anyio.sleep(0.01)
    await lake.workflows.cancel(run, "enough")
    state = await lake.workflows.wait(run, PATIENCE)
    assert (state.record.status, by_id(state)["grow"].status) == ("cancelled", "failed")
    pid = int((tmp_path / "pid").read_text())
    with anyio.fail_after(PATIENCE):
        while Path(f"/proc/{pid}").exists():
            await anyio.sleep(0.01)


async def test_a_cancel_node_in_a_group_ends_the_run(lake: Lakehouse) -> None:
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until: DONE
      nodes: [{id: stop, cancel: "no $ARGUMENTS left"}]
  - {id: then, depends_on: [grow], bash: echo}
"""
    state = await ran(lake, group, message="food")
    assert state.record.status == "cancelled"
    events = [event for _, event in await lake.workflows.store.events(state.record.id)]
    assert next(event for event in events if event.kind == "run_cancelled").data["reason"] == "no food left"
    assert by_id(state)["then"].status == "skipped"


async def test_a_gate_in_an_included_block_in_nested_groups(lake: Lakehouse, home: Path) -> None:
    """Blocks stand in a group's body as nodes of it; a gate however deep pauses the run and goes on in its place."""
    (home / "workflows").mkdir(parents=True)
    block = """
  - {id: say, mode: fixture.echo, with: {value: $INPUTS.word}}
  - {id: ask, depends_on: [say], approval: {message: "Go on with $say.output.value", capture_response: true}}
"""
    text = workflow(block, "inputs: {word: {required: true}}").replace("name: test", "name: block")
    (home / "workflows" / "block.yaml").write_text(text)
    nodes = """
  - id: outer
    loop_group:
      max_iterations: 2
      until_bash: '[ "$LOOP_PREV_OUTPUT" = stop ]'
      nodes:
        - id: inner
          loop_group:
            max_iterations: 2
            until_bash: '[ -n "$LOOP_PREV_OUTPUT" ]'
            nodes: [{id: part, include: block, with: {word: "[$LOOP_USER_INPUT]"}}]
        - {id: tell, depends_on: [inner], mode: fixture.echo, with: {value: x}}
        - {id: put, depends_on: [inner, tell], bash: echo $inner.output}
"""
    state = await ran(lake, nodes)
    assert by_id(state)["outer#1/inner#1/part__ask"].extra["message"] == "Go on with []"
    for answer in ("more", "stop"):
        assert state.record.status == "paused", state.record.error
        await lake.workflows.answer(state.record.id, None, "approve", answer)
        state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert (state.record.status, by_id(state)["outer"].text) == ("completed", "stop")
    assert by_id(state)["outer#1/inner#1/part__say"].attempts == 1


async def test_an_interactive_group_asks_between_iterations(lake: Lakehouse) -> None:
    group = """
  - id: grow
    loop_group:
      max_iterations: 3
      until: DONE
      interactive: true
      gate_message: "After $LOOP_PREV_OUTPUT?"
      nodes: [{id: say, bash: "echo [$LOOP_USER_INPUT] [$LOOP_PREV_OUTPUT] DONE"}]
"""
    state = await ran(lake, group)
    assert by_id(state)["grow"].extra["message"] == "After [] [] DONE?"
    await lake.workflows.answer(state.record.id, "grow", "approve", "yes; $(touch no)")
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    await lake.workflows.answer(state.record.id, "grow", "approve")
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert by_id(state)["grow"].text == "[yes; $(touch no)] [[] [] DONE] DONE"


async def test_a_resumed_group_reads_its_last_iteration(lake: Lakehouse) -> None:
    group = """
  - id: grow
    loop_group:
      max_iterations: 1
      until: never
      nodes: [{id: say, bash: "printf '<%s>' $LOOP_PREV.say.output"}]
"""
    state = await ran(lake, group)
    await lake.workflows.resume(state.record.id)
    state = await lake.workflows.wait(state.record.id, PATIENCE)
    assert by_id(state)["grow#2/say"].text == "<<>>"


async def test_a_skipped_body_is_an_empty_iteration(lake: Lakehouse) -> None:
    """A condition in the body may read the iteration before."""
    group = """
  - id: grow
    loop_group:
      max_iterations: 2
      until_bash: '[ "$LOOP_PREV_OUTPUT" = ran ]'
      nodes:
        - {id: first, bash: "echo x$LOOP_PREV_OUTPUT"}
        - {id: say, depends_on: [first], when: "$LOOP_PREV.first.output == 'x'", bash: echo ran}
"""
    nodes = by_id(await ran(lake, group))
    assert (nodes["grow#1/say"].status, nodes["grow#1/say"].reason) == ("skipped", "when_condition")
    assert nodes["grow"].text == "ran"


async def test_a_group_ends_when_its_time_is_up(lake: Lakehouse) -> None:
    group = """
  - id: grow
    timeout: 200
    loop_group: {max_iterations: 3, until: DONE, nodes: [{id: wait, bash: sleep 600}]}
"""
    state = await ran(lake, group)
    assert by_id(state)["grow"].failure.code == "timeout"
