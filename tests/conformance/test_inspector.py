"""The Inspector's command line: what people try a server with, in both eras, over HTTP and over a pipe."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.conftest import LAKEHOUSE, PACKAGES, ROOT, Served, run_node

from lakehouse.config import Config

INSPECTOR = PACKAGES / "inspector" / "clients" / "launcher" / "build" / "index.js"
REGISTERED = json.loads((ROOT / "mcp.json").read_text(encoding="utf-8"))["mcpServers"]
TOOL_FAILED = 5  # the Inspector's exit code for a result with isError
CASES = {
    "list": (["tools/list", "--strict"], 0),
    "call": (["tools/call", "--tool-name", "query_sql", "--tool-args-json", '{"sql": "SELECT 40 + 2"}'], 0),
    # What people type: key=value, where a list is JSON in a string.
    "call with words": (["tools/call", "--tool-name", "embed_text", "--tool-arg", 'texts=["one", "two"]'], 0),
    "failed call": (["tools/call", "--tool-name", "get_manifest", "--tool-arg", "name=nothing"], TOOL_FAILED),
    "resources": (["resources/list"], 0),
    "read": (["resources/read", "--uri", "test://template/12/data"], 0),
    "templates": (["resources/templates/list"], 0),
    "prompts": (["prompts/list"], 0),
    "prompt": (["prompts/get", "--prompt-name", "explore_dataset", "--prompt-args", "name=people"], 0),
}


def inspect(environment: dict[str, str], *arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON printed, and what went to stderr."""
    said = run_node(INSPECTOR, "--cli", *arguments, "--format", "json", env=environment)
    return said.returncode, json.loads(said.stdout) if said.stdout.strip() else None, said.stderr


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("way", ["http", "stdio"])
def test_inspector(real: Served, way: str, era: str, case: str) -> None:
    """Over a pipe the process is attached to the HTTP server, which owns the data directory."""
    (method, *more), code = CASES[case]
    given = [f"{name}={value}" for name, value in real.environment.items() if name.startswith("LAKEHOUSE_")]
    where = [real.url] if way == "http" else [*LAKEHOUSE, "stdio", *(word for each in given for word in ("-e", each))]
    ended, answer, errors = inspect(real.environment, *where, "--protocol-era", era, "--method", method, *more)
    assert ended == code, errors
    assert answer["result"], errors
    if case == "list":
        tools = {tool["name"] for tool in answer["result"]["tools"]}
        assert {"query_sql", "list_datasets", "test_header"} <= tools
        assert "\n0 errors" in errors, errors


@pytest.mark.parametrize("name", REGISTERED)
def test_the_registered_servers(real: Served, tmp_path: Path, name: str) -> None:
    """mcp.json as hosts read it; only the port is another one, where this test's server listens."""
    usual = Config().server.bind
    text = (ROOT / "mcp.json").read_text(encoding="utf-8")
    assert "url" not in REGISTERED[name] or usual in text
    config = tmp_path / "mcp.json"
    config.write_text(text.replace(usual, real.url.split("/")[2]), encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = real.environment | {"PATH": path}
    ended, answer, errors = inspect(
        environment, "--config", str(config), "--server", name, "--method", "tools/call", "--tool-name", "list_datasets"
    )
    assert ended == 0, errors
    assert answer["result"]["structuredContent"], answer
