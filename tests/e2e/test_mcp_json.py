"""The repository's mcp.json: exactly what it says is started, and it answers."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.e2e.serving import free_port, serving

from lakehouse.config import defaults

pytestmark = pytest.mark.anyio
FILE = Path(__file__).parents[2] / "mcp.json"
SERVERS = json.loads(FILE.read_text(encoding="utf-8"))["mcpServers"]


STDIO = {name: server for name, server in SERVERS.items() if server["type"] == "stdio"}
HTTP = {name: server for name, server in SERVERS.items() if server["type"] == "http"}
ORIGINAL = {"list_datasets", "get_manifest", "query_sql", "embed_text", "search_vectors"}


def test_its_shape() -> None:
    """S2.8. What Claude Code and Cursor both read: `mcpServers`, and per server its type and how it is reached."""
    assert list(json.loads(FILE.read_text(encoding="utf-8"))) == ["mcpServers"]
    assert SERVERS == {
        "lakehouse": {"type": "stdio", "command": "lakehouse", "args": ["stdio"]},
        "lakehouse-http": {"type": "http", "url": "http://127.0.0.1:3110/mcp"},
    }


async def lists_and_calls(client: Client) -> None:
    tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools >= ORIGINAL
    assert not (await client.call_tool("list_datasets", {})).is_error


@pytest.mark.parametrize("name", STDIO)
async def test_its_command_answers(name: str, scripts: Path, home: Path, tmp_path: Path) -> None:
    """A-S1-1, from the host's side. The command is found as a host finds it: on the PATH."""
    server = STDIO[name]
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    environment = {"PATH": path, "LAKEHOUSE_HOME": str(home), "LAKEHOUSE_CACHE": str(tmp_path / "cache")}
    started = StdioServerParameters(command=server["command"], args=server["args"], env=environment, cwd=tmp_path)
    with anyio.fail_after(60):
        async with Client(stdio_client(started)) as client:
            await lists_and_calls(client)


@pytest.mark.parametrize("name", HTTP)
def test_its_address_is_where_serve_answers(name: str, command: list[str], home: Path) -> None:
    """The port is that of `server.bind`, so that `lakehouse serve` is all it takes; the test takes a free one."""
    url, usual = urlsplit(HTTP[name]["url"]), defaults(home).config.server.bind
    assert url.netloc == usual
    port = free_port()

    async def reach() -> None:
        with anyio.fail_after(60):
            async with Client(url._replace(netloc=f"127.0.0.1:{port}").geturl()) as client:
                await lists_and_calls(client)

    with serving(command, home, port):
        anyio.run(reach)
