"""Workflows with programs through the door: who may run them, and with what."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.faces.http.answering import client_of, problem
from tests.flows import PATIENCE, workflow

import lakehouse
from lakehouse import Forbidden, Lakehouse
from lakehouse.engine.workflows.problems import CannotRun
from lakehouse.engine.workflows.running.dry import Dry
from lakehouse.engine.workflows.runs import Starter

pytestmark = pytest.mark.anyio
SHOWN = """
  - {id: ok, mode: fixture.echo, with: {value: 1}}
  - id: sh
    depends_on: [ok]
    bash: 'printf %s "$ARGUMENTS|$OPENAI_API_KEY|$SOMETHING|$(basename "$PWD")"'
"""


@asynccontextmanager
async def opened(home: Path, nodes: str = SHOWN, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Lakehouse]:
    """A lake with one workflow file of the user's own, `mine`."""
    folder = anyio.Path(home / "workflows")
    await folder.mkdir(parents=True)
    await (folder / "mine.yaml").write_text(workflow(nodes).replace("name: test", "name: mine"))
    async with lakehouse.open(home, overrides={"embed.provider": "hash", **(settings or {})}) as lake:
        yield lake


@pytest.mark.parametrize("via", ["mcp", "http"])
async def test_a_file_with_bash_is_closed_to_the_outside(home: Path, via: str) -> None:
    """Refused by name before any of its nodes runs, and no run is kept."""
    async with opened(home) as lake:
        with pytest.raises(Forbidden, match=r"mine runs programs of this machine \(sh\)") as caught:
            await lake.call("workflow_run", {"workflow": "mine"}, via=via)
        assert "workflows.allow_shell" in caught.value.fix
        assert await lake.workflows.store.runs() == []


async def test_it_is_closed_over_http(home: Path) -> None:
    async with opened(home) as lake, client_of(lake) as client:
        answer = await client.post("/v1/observer/workflow/run", json={"workflow": "mine"})
        assert "runs programs of this machine (sh)" in problem(answer, 403)["detail"]


async def test_an_allowed_file_runs_with_little(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile text in the message is a text; the environment of the server is not told."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("SOMETHING", "of the server's own")
    hostile = "$(touch pwned); `touch pwned`' \""
    async with opened(home, settings={"workflows.allow_shell": True}) as lake:
        answer = await lake.call("workflow_run", {"workflow": "mine", "message": hostile}, via="mcp")
        assert answer["nodes"][-1]["output"] == f"{hostile}|||artifacts"
        assert [str(path) async for path in anyio.Path(home / "runs").rglob("pwned")] == []


async def test_the_own_shell_runs_it_with_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("SOMETHING", "mine")
    async with opened(home, settings={"embed.api_key_env": "OPENAI_API_KEY"}) as lake:
        answer = await lake.call("workflow_run", {"workflow": "mine", "message": "hello"}, via="cli")
        assert answer["nodes"][-1]["output"].startswith("hello||mine|")


SCRIPTS = """
  - id: first
    bash: printf '{"n":20}'
  - id: sum
    depends_on: [first]
    runtime: uv
    deps: [pydantic>=2]
    with: {word: "$first.output.n"}
    script: |
      import os, sys, pydantic
      given = $first.output
      print("to stderr", file=sys.stderr)
      print(given["n"] + int(os.environ["INPUTS_WORD"]) + 2, os.environ["ARGUMENTS"], sys.stdin.read())
  - id: fails
    runtime: uv
    script: import os; os._exit(9)
"""


async def test_python_scripts(home: Path) -> None:
    """`runtime: uv` is this Python with its packages; outputs are spliced in as they are, callers' texts are not."""
    async with opened(home, SCRIPTS) as lake:
        answer = await lake.call("workflow_run", {"workflow": "mine", "message": "'''\nimport x"}, via="python")
        nodes = {node["id"]: node for node in answer["nodes"]}
        assert nodes["sum"]["output"] == "42 '''\nimport x "
        assert "exited with code 9" in nodes["fails"]["error"]


async def test_packages_that_are_not_here_are_refused(home: Path) -> None:
    nodes = "  - {id: ok, bash: touch ran}\n  - {id: it, runtime: uv, deps: [no-such-package>=1], script: import x}"
    async with opened(home, nodes) as lake:
        with pytest.raises(CannotRun, match="no-such-package is not installed"):
            await lake.call("workflow_run", {"workflow": "mine"}, via="cli")
        assert await lake.workflows.store.runs() == []
        _, loaded = await lake.workflows.load("mine")
        assert loaded.workflow is not None
        errors, _ = await lake.workflows.checked(loaded.workflow, None)
        assert [error.where for error in errors] == ["nodes.it.deps"]


async def test_scripts_in_javascript(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bun is used where there is one, and downloads nothing; where there is none the workflow is refused."""
    nodes = "  - {id: it, runtime: bun, script: 'console.log(1)'}"
    async with opened(home, nodes) as lake:
        empty, bin = anyio.Path(tmp_path / "empty"), anyio.Path(tmp_path / "bin")
        await empty.mkdir()
        await bin.mkdir()
        monkeypatch.setenv("PATH", str(empty))
        with pytest.raises(CannotRun, match="no bun on the PATH"):
            await lake.call("workflow_run", {"workflow": "mine"}, via="cli")
        await (bin / "bun").write_text('#!/bin/sh\nprintf "%s " "$1"; /bin/cat "$2"\n')
        await (bin / "bun").chmod(0o755)
        monkeypatch.setenv("PATH", str(bin))
        answer = await lake.call("workflow_run", {"workflow": "mine"}, via="cli")
        assert answer["nodes"][0]["output"] == "--no-install console.log(1)"


async def test_named_scripts_and_times(home: Path) -> None:
    """A file of scripts/ runs as it is; `timeout` is in milliseconds and ends a program."""
    await anyio.Path(home / "scripts").mkdir(parents=True)
    await anyio.Path(home / "scripts" / "count.py").write_text("print('$ARGUMENTS', __file__.endswith('main.py'))")
    nodes = """
  - {id: named, script: count, runtime: uv}
  - {id: slow, timeout: 300, bash: echo waiting >&2; sleep 1000}
  - {id: slower, timeout: 300, runtime: uv, script: "import time; time.sleep(1000)"}
"""
    async with opened(home, nodes) as lake:
        answer = await lake.call("workflow_run", {"workflow": "mine", "message": "x"}, via="cli")
        named, slow, slower = answer["nodes"]
        assert named["output"] == "$ARGUMENTS True"
        assert "longer than 0.3 s" in slow["error"] and "waiting" in slow["error"]
        assert "longer than 0.3 s" in slower["error"]


@pytest.mark.parametrize("via", ["mcp", "cli"])
async def test_a_dry_run_needs_no_programs(home: Path, via: str) -> None:
    """It runs none, so that anybody may see how a file with programs would go, whatever is installed."""
    nodes = "  - {id: it, runtime: uv, deps: [no-such-package], script: import x}"
    async with opened(home, nodes) as lake:
        record = await lake.workflows.start("mine", Starter(via), dry=Dry())
        assert (await lake.workflows.wait(record.id, PATIENCE)).record.status == "completed"
