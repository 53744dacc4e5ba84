"""Nodes that run programs: what they are given, where they stand, and what becomes of what they say."""

import sys
from pathlib import Path

import anyio
import pytest
from tests.flows import PATIENCE, by_id, ran, started, workflow

import lakehouse
from lakehouse import Forbidden, Lakehouse
from lakehouse.engine.workflows.model import Bash, Control, Loop, LoopGroup, Mode, Node, Prompt, Script, Workflow
from lakehouse.engine.workflows.running.branch import base_branch
from lakehouse.engine.workflows.running.files import log_of
from lakehouse.engine.workflows.runs import NodeRecord, Starter
from lakehouse.engine.workflows.shells import missing, needs_shell

pytestmark = pytest.mark.anyio
HOSTILE = "'; touch pwned; $(touch pwned) `touch pwned` \" && touch pwned\n*\\"


async def said(lake: Lakehouse, script: str, *, message: str = "", starter: Starter | None = None) -> NodeRecord:
    """The record of one bash node, run by somebody."""
    text = workflow(f"  - id: it\n    bash: |\n{''.join(f'      {line}' for line in script.splitlines(True))}\n")
    given = starter or Starter()
    record = await lake.workflows.start("test", given, definition=text, message=message)
    (node,) = (await lake.workflows.wait(record.id, PATIENCE)).nodes
    return node


async def test_one_newline_is_taken_off(lake: Lakehouse) -> None:
    assert (await said(lake, "printf 'a\\n\\n'; echo problem >&2")).text == "a\n"


async def test_a_failing_program_fails_its_node(lake: Lakehouse) -> None:
    node = await said(lake, "echo so far; echo the reason >&2; exit 7")
    assert node.status == "failed" and node.failure is not None
    assert node.failure.code == "unprocessable"
    assert all(part in node.failure.detail for part in ("exited with code 7", "the reason", "so far"))


async def test_hostile_text_never_runs(lake: Lakehouse, tmp_path: Path) -> None:
    """Whatever `$ARGUMENTS`, an input or an output holds is bytes to bash, in every way a script can hold it."""
    nodes = """
  - id: first
    bash: printf %s "$ARGUMENTS"
  - id: second
    depends_on: [first]
    bash: |
      printf '%s|' $first.output "$INPUTS_WORD" "$INPUTS.word" "$ARGUMENTS"
      ls
"""
    record = await lake.workflows.start(
        "test",
        Starter(folder=str(tmp_path)),
        definition=workflow(nodes, "inputs: {word: {}}"),
        inputs={"word": HOSTILE},
        message=HOSTILE,
    )
    nodes_of = by_id(await lake.workflows.wait(record.id, PATIENCE))
    assert nodes_of["first"].text == HOSTILE
    words = nodes_of["second"].text.split("|")
    assert words[0] == words[1] == words[3] == HOSTILE
    assert not await anyio.Path(tmp_path / "pwned").exists()


async def test_what_a_program_of_the_own_shell_is_given(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own environment, but no credential of our settings; and a folder that outlives the run."""
    monkeypatch.setenv("MINE_KEY", "my own")
    monkeypatch.setenv("LAKEHOUSE_AUTH__TOKEN", "secret-token")
    shown = 'echo "$MINE_KEY,$LAKEHOUSE_AUTH__TOKEN,$LAKEHOUSE_IDEMPOTENCY_KEY"'
    script = f'{shown}; cat "$STATE_DIR/x"; echo y > "$STATE_DIR/x"'
    first = await said(lake, script.replace("cat", "true"))
    assert first.text.startswith("my own,,") and first.text.endswith(":it")
    assert (await said(lake, script)).text.endswith("\ny")
    assert (await said(lake, 'touch here; ls "$ARTIFACTS_DIR"')).text == "here"


def test_the_branch_that_work_starts_from(tmp_path: Path) -> None:
    """As the checkout says: its remote's, else main or master; a worktree has that of the checkout it is of."""
    git, tree, within = tmp_path / "work" / ".git", tmp_path / "tree", tmp_path / "work" / "src"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "refs" / "heads" / "master").write_text("0" * 40)
    within.mkdir()
    assert base_branch(within) == "master"
    (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{'0' * 40} refs/remotes/origin/main\n")
    assert base_branch(within) == "main"
    (git / "worktrees" / "tree").mkdir(parents=True)
    (git / "worktrees" / "tree" / "commondir").write_text("../..\n")
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {git / 'worktrees' / 'tree'}\n")
    assert base_branch(tree) == "main"
    remote = git / "refs" / "remotes" / "origin"
    remote.mkdir(parents=True)
    (remote / "HEAD").write_text("ref: refs/remotes/origin/release/2.x\n")
    assert (base_branch(within), base_branch(tree)) == ("release/2.x", "release/2.x")
    (remote / "HEAD").write_text("ref: refs/remotes/origin/$(touch pwned)\n")
    assert base_branch(within) == "main"


async def test_a_script_is_told_that_branch(lake: Lakehouse, tmp_path: Path) -> None:
    heads = anyio.Path(tmp_path / ".git" / "refs" / "heads")
    await heads.mkdir(parents=True)
    await (heads / "main").write_text("0" * 40)
    assert (await said(lake, "echo $BASE_BRANCH", starter=Starter(folder=str(tmp_path)))).text == "main"
    node = await said(lake, "echo $BASE_BRANCH", starter=Starter(folder="/"))
    assert node.failure is not None and "$BASE_BRANCH: there is none" in node.failure.detail


async def test_where_a_program_stands(lake: Lakehouse, tmp_path: Path) -> None:
    assert (await said(lake, "pwd -P", starter=Starter(folder=str(tmp_path)))).text == str(tmp_path.resolve())
    node = await said(lake, "pwd", starter=Starter("cli", folder=str(tmp_path / "gone")))
    assert node.failure is not None and node.failure.code == "not_found" and "gone" in node.failure.detail


async def test_a_long_message_lies_in_a_file(lake: Lakehouse) -> None:
    """A megabyte of `$ARGUMENTS` is more than a variable can hold: who names it is told of the file that has it."""
    long = "wörter " * 150_000
    assert (await said(lake, 'wc -m < "$ARGUMENTS_FILE"', message=long)).text.strip() == str(len(long))
    node = await said(lake, 'echo "$ARGUMENTS"', message=long)
    assert node.failure is not None and "$ARGUMENTS_FILE" in node.failure.fix


@pytest.mark.skipif(sys.platform != "linux", reason="others have other limits")
async def test_more_variables_than_a_program_can_be_given(lake: Lakehouse) -> None:
    names = [f"long_{number}" for number in range(60)]
    root = f"inputs: {{{', '.join(f'{name}: {{}}' for name in names)}}}"
    state = await ran(lake, "  - {id: it, bash: 'true'}", root=root, **dict.fromkeys(names, "x" * 120_000))
    failure = by_id(state)["it"].failure
    assert failure is not None and failure.code == "unprocessable" and "INPUTS_LONG_" in failure.detail


async def test_long_outputs_and_long_scripts(lake: Lakehouse) -> None:
    """What no argument of a program can hold reaches it all the same, quoted."""
    nodes = f"""
  - {{id: long, bash: "head -c 300000 /dev/zero | tr '\\\\0' q; echo \\"'end'\\""}}
  - {{id: read, depends_on: [long], bash: "printf %s $long.output | tail -c 10"}}
  - {{id: script, bash: "#{"x" * 200_000}\\necho ran"}}
"""
    found = by_id(await ran(lake, nodes))
    assert found["read"].text == "qqqqq'end'"
    assert found["script"].text == "ran"


async def test_credentials_are_cut_out(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing node's error and its log hold none; the log is there while it runs."""
    token = "sekrit-hunter2"
    monkeypatch.setattr(lake.redactor, "_known", [token])
    node = await said(lake, f"echo {token}; echo {token} >&2; exit 1")
    assert node.failure is not None
    assert token not in node.failure.detail and "[redacted]" in node.failure.detail
    run = (await lake.workflows.store.runs(1))[0].id
    log = await anyio.Path(log_of(lake.home / "runs" / run, "it")).read_text()
    assert token not in log and log.count("[redacted]") == 2 and " err " in log
    node = await said(lake, f"printf %s {token} >&2; head -c 690 /dev/zero | tr '\\0' x >&2; exit 1")
    assert node.failure is not None and "hunter2" not in node.failure.detail  # the message begins within it


async def begun(lake: Lakehouse, run: str) -> int:
    """Wait for the process id that the program of node `it` prints; from its log, while it runs."""
    log = anyio.Path(log_of(lake.home / "runs" / run, "it"))
    with anyio.fail_after(PATIENCE):
        while not (await log.exists() and (text := await log.read_text()).endswith("\n")):
            await anyio.sleep(0.01)
    return int(text.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt what leaves its group")
@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_programs_end_with_their_run(home: Path, how: str) -> None:
    """Nothing is left of a program, its session included, when its run is cancelled or the lake closed."""
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as lake:
        run = await started(lake, "  - {id: it, bash: 'setsid sleep 1000 & echo $!; wait'}")
        pid = await begun(lake, run)
        if how == "cancelled":
            await lake.workflows.cancel(run)
            assert (await lake.workflows.wait(run, PATIENCE)).status == "cancelled"
    assert not await anyio.Path(f"/proc/{pid}").exists()


async def test_a_silent_program_ends_at_its_idle_time(lake: Lakehouse) -> None:
    (node,) = (await ran(lake, "  - {id: it, idle_timeout: 200, bash: sleep 1000}")).nodes
    assert node.failure is not None and node.failure.code == "timeout" and "idle_timeout" in node.failure.fix


async def test_too_much_output(home: Path) -> None:
    overrides = {"embed.provider": "hash", "workflows.max_output_bytes": 4096}
    async with lakehouse.open(home, overrides=overrides) as lake:
        node = await said(lake, "yes")
        assert node.failure is not None and node.failure.code == "too_large"
        assert "workflows.max_output_bytes" in node.failure.fix


async def test_what_is_noted(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that is not UTF-8, and processes that were left, are told among the run's events."""
    monkeypatch.setattr("lakehouse.engine.workflows.processes.running.LINGER", 0.1)
    node = await said(lake, "printf 'a\\xff'; sleep 1000 & true")
    assert node.text == "a\ufffd"
    run = (await lake.workflows.store.runs(1))[0].id
    told = [event.data["message"] for _, event in await lake.workflows.store.events(run) if event.kind == "warned"]
    assert len(told) == 2 and "UTF-8" in str(told) and "outlived" in str(told)


NODES = (
    Node("plain", Mode("fixture.echo")),
    Node("sh", Bash("true")),
    Node("loop", Loop(Prompt("x"), Control(3, until_bash="true"))),
    Node("talk", Loop(Prompt("x"), Control(3, until="DONE"))),
    Node("group", LoopGroup((Node("inner", Script("1", "uv")), Node("other", Prompt("x"))), Control(3, until="DONE"))),
)


def test_a_log_lies_within_its_run(tmp_path: Path) -> None:
    paths = ["a", "a/b", "a.b", "..", "../..", ".", "x" * 500, "x" * 501, "group#2/inner"]
    logs = [log_of(tmp_path, path) for path in paths]
    assert len(set(logs)) == len(logs)
    assert all(log.resolve().is_relative_to(tmp_path / "logs") and len(log.name) < 200 for log in logs)


def test_which_nodes_run_programs() -> None:
    assert needs_shell(Workflow("w", "", NODES)) == ["sh", "loop", "group/inner"]
    assert needs_shell(Workflow("w", "", (NODES[0], NODES[3]))) == []


def test_what_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    deps = (
        *("pydantic>=2", "Pytest", "no-such-package", "anyio<1", "httpx[http2] ; python_version < '3'"),
        "what even is this",
    )
    nodes = (Node("py", Script("1", "uv", deps=deps)), Node("js", Script("1", "bun")), NODES[1])
    monkeypatch.setenv("PATH", "/nowhere")
    told = [str(problem) for problem in missing(Workflow("w", "", nodes))]
    assert [line.split(":")[0] for line in told] == ["nodes.py.deps"] * 3 + ["nodes.js.runtime", "nodes.sh"]
    assert "no-such-package is not installed" in told[0] and "pip install 'no-such-package'" in told[0]
    assert "anyio" in told[1] and "is not <1" in told[1]
    assert "what even is this" in told[2]
    assert "no bun" in told[3] and "no bash" in told[4]


@pytest.mark.parametrize("via", ["mcp", "http"])
async def test_shells_are_closed_to_texts_from_outside(home: Path, via: str) -> None:
    """A text that came over the network runs no program, whatever the settings; no node of it runs."""
    overrides = {"embed.provider": "hash", "workflows.allow_shell": True}
    text = workflow("  - {id: ok, mode: fixture.echo, with: {value: 1}}\n  - {id: sh, bash: 'touch pwned'}")
    async with lakehouse.open(home, overrides=overrides) as lake:
        with pytest.raises(Forbidden, match=r"\(sh\)"):
            await lake.workflows.start("test", Starter(via, remote=True), definition=text)
        assert await lake.workflows.store.runs() == []
        with pytest.raises(Forbidden):
            await lake.workflows.start("test", Starter("cli", remote=True), definition=text)
