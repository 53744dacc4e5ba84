"""Plugins that do their worst, beside one that is good, in real processes."""

import json
import os
import subprocess
import textwrap
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.serving import free_port, serving
from tests.e2e.test_wire import ended, wire

GOOD = """
from lakehouse import Lakehouse, tool
@tool()
async def {name}(lake: Lakehouse) -> dict[str, int]:
    "Say one."
    print("printed in a call", flush=True)
    return {{"one": 1}}
"""
WORST = {
    "hangs": "import threading; threading.Event().wait()",
    "prints": "import os; print('noise'); os.write(1, b'noise'); os.system('echo noise')"
    + GOOD.format(name="printing"),
    "reads": "import sys; sys.stdin.read(); import os; os.read(0, 100)" + GOOD.format(name="reading"),
    "leaves": "raise SystemExit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "clashes": GOOD.format(name="run").replace("tool()", "tool(name='query_sql')"),
    "serve": GOOD.format(name="run"),
    "mocks": "import builtins, json; builtins.open = None; builtins.print = None" + GOOD.format(name="mocking"),
    "moves": "import os; os.chdir('/')" + GOOD.format(name="moving"),
    "broken": "def (",
}
LEFT_OUT = ("hangs", "leaves", "interrupts", "clashes", "serve", "broken")


@pytest.fixture
def worst(tmp_path: Path) -> Path:
    (tmp_path / "project" / "tools").mkdir(parents=True)
    for name, source in {**WORST, "good": GOOD.format(name="one")}.items():
        (tmp_path / "project" / "tools" / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    return tmp_path / "project"


def test_over_pipes(command: list[str], home: Path, worst: Path) -> None:
    """Nothing but the protocol on stdout, nothing eaten of stdin, each one told on stderr."""
    with wire(command, home, LAKEHOUSE_PLUGINS__FOLDERS=str(worst)) as server:
        server.shake_hands()
        tools = {tool["name"] for tool in server.ask("tools/list")["result"]["tools"]}
        assert {"good_one", "prints_printing", "reads_reading", "query_sql"} <= tools
        assert not any(name.startswith(f"{left}_") for name in tools for left in LEFT_OUT)
        assert server.call("good_one", {})["structuredContent"] == {"one": 1}
        assert server.call("query_sql", {"sql": "SELECT 1"})["structuredContent"]["rows"] == [[1]]
        checks = server.call("doctor", {})["structuredContent"]["checks"]
        told = {c["name"]: c["detail"] for c in checks if c["name"].startswith("plugin ")}
        assert {Path(name.removeprefix("plugin ")).stem for name in told} == set(LEFT_OUT)
        assert server.child.stdin is not None and server.child.stderr is not None
        server.child.stdin.close()
        assert ended(server.child) == 0
        stderr = server.child.stderr.read().decode()
    for left in LEFT_OUT:
        assert f"plugin.skipped {worst / 'tools' / left}.py" in stderr
    assert "over 5 s" in stderr and "noise" in stderr and "printed in a call" in stderr


def test_over_http_and_in_the_shell(command: list[str], home: Path, worst: Path) -> None:
    port, environment = free_port(), {"LAKEHOUSE_PLUGINS__FOLDERS": str(worst)}
    with serving(command, home, port, **environment):
        url = f"http://127.0.0.1:{port}/v1/good/one"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
            assert json.load(answer) == {"one": 1}
    line = [*command, "--home", str(home), "--json", "good", "one"]
    ran = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | environment)
    assert json.loads(ran.stdout) == {"one": 1}
    assert all(f"plugin.skipped {worst / 'tools' / left}.py" in ran.stderr for left in LEFT_OUT)
    assert "printed in a call" in ran.stderr
