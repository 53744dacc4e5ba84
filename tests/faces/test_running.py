"""`lakehouse run` and the commands beside it."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lakehouse.faces import cli
from lakehouse.faces.drawing import advice, lines, readable, tree
from lakehouse.faces.following import EXITS

FLOW = """\
name: letter
description: A letter.
inputs:
  word: {default: x}
  count: {type: integer, default: 1}
nodes:
  - {id: write, bash: 'echo "$ARGUMENTS $INPUTS_WORD $INPUTS_COUNT"'}
  - {id: ask, depends_on: [write], approval: {message: "Send $write.output?", capture_response: true}}
  - {id: sent, depends_on: [ask], bash: "echo sent $ask.output"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "letter.yaml"
    path.write_text(FLOW, encoding="utf-8")
    return path


def run(home: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.root, ["--home", str(home), *words])


@pytest.mark.slow
def test_a_file_is_run_up_to_its_gate_and_approved(home: Path, file: Path, tmp_path: Path) -> None:
    """Words are the message, inputs are typed by their declaration or read from files; each end has its exit code."""
    (tmp_path / "word.txt").write_text("hello", encoding="utf-8")
    given = ["--input", f"word=@{tmp_path / 'word.txt'}", "--input", "count=3"]
    ran = run(home, "run", str(file), "dear", "all", *given, "--json")
    report = json.loads(ran.stdout)
    assert ran.exit_code == EXITS["paused"] == 4
    assert report["nodes"][0]["output"] == "dear all hello 3"
    assert report["waits"] == [{"node": "ask", "message": "Send dear all hello 3?", "decisions": ["approve", "reject"]}]
    assert "✓ write completed" in ran.stderr and "? ask paused" in ran.stderr
    approved = run(home, "workflow", "approve", report["run_id"], "--text", "now")
    assert approved.exit_code == 0 and approved.stdout == "sent now\n"
    assert f"letter  {report['run_id']}  ✓ completed" in run(home, "workflow", "status", report["run_id"]).stdout
    events = run(home, "workflow", "logs", report["run_id"]).stdout
    assert re.search(r"node_completed\s+sent", events)
    followed = run(home, "workflow", "logs", report["run_id"], "--follow").stdout
    assert followed == events


@pytest.mark.slow
def test_how_a_run_ends_is_its_exit_code(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for node, code in (("bash: exit 3", 1), ("cancel: enough", 3), ("bash: echo 1", 0), ("mode: none.such", 65)):
        path.write_text(f"name: x\ndescription: x\nnodes:\n  - id: a\n    {node}\n", encoding="utf-8")
        ran = run(home, "run", str(path))
        assert getattr(ran.exception, "exit", ran.exit_code) == code, (node, ran.output)
    refused = run(home, "run", str(path), "--background")
    assert "serve" in str(refused.exception)
    for words in (["--input", "x"], ["--stubs", str(path) + "z"], ["--input", "x=@none"], ["--provider-map", "x"]):
        assert getattr(run(home, "run", str(path), *words).exception, "exit", 0) == 65


@pytest.mark.slow
def test_a_dry_run_keeps_nothing(home: Path, file: Path, tmp_path: Path) -> None:
    stubs = tmp_path / "stubs.yaml"
    stubs.write_text("write: stubbed\n", encoding="utf-8")
    ran = run(home, "run", str(file), "--dry-run", "--stubs", str(stubs), "--pause-at-gates", "--json")
    assert ran.exit_code == 4 and json.loads(ran.stdout)["waits"][0]["message"] == "Send stubbed?"
    assert json.loads(run(home, "workflow", "runs", "--json").stdout)["runs"] == []


@pytest.mark.slow
def test_files_are_examined(home: Path, file: Path, tmp_path: Path) -> None:
    """One file: its report. Several, or a folder: all of them. What cannot run ends with 65."""
    good = json.loads(run(home, "workflow", "validate", str(file), "--json").stdout)
    assert good["errors"] == good["warnings"] == [] and good["valid"] and good["file"] == str(file)
    assert {"feature": "kind.bash", "tier": "run"} in good["features"]
    (tmp_path / "bad.yaml").write_text("name: b\ndescription: b\nnods: []\nnodes: [{id: a, command: none}]\n")
    found = run(home, "workflow", "validate", str(tmp_path), "--json")
    files = {one["name"]: one for one in json.loads(found.stdout)["files"]}
    assert found.exit_code == 65 and set(files) == {"letter", "b"}
    assert files["b"]["missing"]["commands"] == ["none"] and "Did you mean nodes?" in files["b"]["warnings"][0]["fix"]
    said = run(home, "workflow", "validate", str(tmp_path / "bad.yaml"))
    assert said.exit_code == 65 and "FAIL" in said.stdout and "missing commands: none" in said.stdout
    assert "fixture-chain" in run(home, "workflow", "validate").stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_on_a_terminal_the_gate_is_answered_there(home: Path, file: Path, command: list[str]) -> None:
    shown, code = on_a_terminal([*command, "--home", str(home), "run", str(file)], {"later]:": "approve", "it:": "yes"})
    assert code == 0 and "sent yes" in shown
    assert "▶ " in shown and "waits for ask" in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_an_interrupted_run_says_how_it_goes_on(home: Path, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("name: long\ndescription: x\nnodes:\n  - {id: a, bash: echo begun; sleep 600}\n")
    shown, code = on_a_terminal([*command, "--home", str(home), "run", str(path)], {"begun": "\x03"})
    found = re.search(r"workflow resume (\w+)", shown)
    assert code == EXITS["interrupted"] == 130 and found
    assert json.loads(run(home, "workflow", "status", found[1], "--json").stdout)["status"] == "interrupted"


def on_a_terminal(words: list[str], answers: dict[str, str]) -> tuple[str, int]:
    """What a command shows on a terminal, and its exit code; an answer is typed once its question is there."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(words[0], words)
    shown = ""
    while True:
        select.select([terminal], [], [], 60)
        try:
            text = os.read(terminal, 65536).decode("utf-8", "replace")
        except OSError:  # the other end is closed
            break
        shown += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
        for question in [one for one in answers if one in shown]:
            answer = answers.pop(question)
            os.write(terminal, (answer if answer == "\x03" else f"{answer}\n").encode())
    return shown, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def a_run(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    filled = [{"kind": "bash", "status": "completed", "attempts": 1, **node} for node in nodes]
    return {"run_id": "r1", "workflow": "w", "status": "running", "waits": [], "nodes": filled, "ops": [], **fields}


def test_what_the_tree_says() -> None:
    """Nodes of groups below them, what is waited for, attempts, hostile text; of many nodes those that matter."""
    report = a_run(
        {"id": "a", "attempts": 2, "duration_ms": 1500},
        {"id": "g#2/in", "status": "failed", "error": "it \x1b[31mfailed"},
        {"id": "c", "status": "pending"},
    )
    text = tree(report, {"c": ["a", "b"]}, {"a": ["line"]}, [report]).plain
    assert "✓ a  bash  1.5 s  attempt 2\n      line" in text and "    ✗ in  bash  it [31mfailed" in text
    assert "· c  bash  waits for b" in text and "↳ ▶ w  r1" in text
    many = a_run(*({"id": f"n{number}"} for number in range(50)), {"id": "now", "status": "running"})
    assert tree(many, room=5).plain.splitlines()[1:] == ["  … 50 of 51 nodes ended", "  ▶ now  bash"]


def test_what_somebody_can_do_is_said() -> None:
    """A gate's whole message; going on as it was started or with a changed file; what is strange, not without end."""
    gate = {"node": "ask", "message": "Go\non?\x1b[31m" + "x" * 500, "decisions": ["approve", "later-on"]}
    said = "\n".join(advice(a_run(status="paused", waits=[gate]), "lakehouse --home h"))
    assert f"ask asks: Go\non? [31m{'x' * 500}\n" in said and "lakehouse --home h workflow approve r1\n" in said
    assert "workflow approve r1 --decision later-on" in said
    node = {"id": "g#2/a", "status": "failed", "error": "no. See workflow_logs."}
    failed = a_run(node, status="failed", error="a: no. See workflow_logs.", warnings=[f"w{n}" for n in range(10)])
    said = "\n".join(advice(failed, "lakehouse"))
    assert "error: a: no. See `lakehouse workflow logs`." in said and "lakehouse workflow resume r1" in said
    assert "workflow rerun r1 --from-node g --current" in said
    assert said.count("warning: ") == 8 and "… and 2 warnings more" in said
    assert "error" not in "".join(advice(failed, "lakehouse", failures=False))
    assert "resume" not in "".join(advice({**failed, "dry_run": True}, "lakehouse"))


def test_lines_tell_each_change_once() -> None:
    seen: dict[str, str] = {}
    first = list(lines(a_run({"id": "a", "status": "running"}), seen))
    assert first == ["w r1", "▶ a running"]
    done = a_run({"id": "a", "duration_ms": 3.0}, status="completed")
    assert list(lines(done, seen)) == ["✓ a completed 3 ms", "w completed"] and list(lines(done, seen)) == []


@pytest.mark.parametrize(
    ("result", "shown"),
    [('{"markdown": "# a"}', "# a"), ('{"a": 1}', '{"a": 1}'), ('{"a": "x", "b": "y"}',) * 2, ("{no json",) * 2],
)
def test_a_text_that_is_only_wrapped_is_shown(result: str, shown: str) -> None:
    assert readable(result) == shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_what_another_process_runs_is_followed_too(home: Path, file: Path, command: list[str]) -> None:
    """A run in the background tells its handle at once; a gate is answered on the terminal, wherever the run is."""
    words = [*command, "--home", str(home)]
    with subprocess.Popen([*words, "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        calls = {"name": "workflow_runs", "arguments": {}}  # answered once it has the data directory
        assert owner.stdin and owner.stdout
        for number, method, given in ((1, "initialize", hello), (2, "tools/call", calls)):
            asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": given}
            owner.stdin.write(json.dumps(asked).encode() + b"\n")
            owner.stdin.flush()
            assert json.loads(owner.stdout.readline())["id"] == number
        background = [*words, "run", "fixture-chain", "--background"]
        left = subprocess.run(background, capture_output=True, text=True, timeout=60)
        assert left.returncode == 0 and re.match(r"fixture-chain  \w{22}  ", left.stdout), left
        shown, code = on_a_terminal([*words, "run", str(file)], {"later]:": "approve", "it:": "yes"})
        assert code == 0 and "sent yes" in shown, shown
        owner.stdin.close()
