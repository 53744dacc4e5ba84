"""The repository's mcp.json: exactly what it says is started, and it answers."""

import json
import os
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

pytestmark = pytest.mark.anyio
FILE = Path(__file__).parents[2] / "mcp.json"
SERVERS = json.loads(FILE.read_text(encoding="utf-8"))["mcpServers"]


def test_its_shape() -> None:
    """What Claude Code and Cursor both read: `mcpServers`, and per server a type, a command and its arguments."""
    assert list(json.loads(FILE.read_text(encoding="utf-8"))) == ["mcpServers"]
    for server in SERVERS.values():
        assert set(server) == {"type", "command", "args"}
        assert server["type"] == "stdio"


@pytest.mark.parametrize("name", SERVERS)
async def test_its_command_answers(name: str, scripts: Path, home: Path, tmp_path: Path) -> None:
    """A-S1-1, from the host's side. The command is found as a host finds it: on the PATH."""
    server = SERVERS[name]
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    environment = {"PATH": path, "LAKEHOUSE_HOME": str(home), "LAKEHOUSE_CACHE": str(tmp_path / "cache")}
    started = StdioServerParameters(command=server["command"], args=server["args"], env=environment, cwd=tmp_path)
    with anyio.fail_after(60):
        async with Client(stdio_client(started)) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"list_datasets", "get_manifest", "query_sql", "embed_text", "search_vectors"} <= tools
            answer = await client.call_tool("list_datasets", {})
            assert not answer.is_error
