"""`lakehouse stdio --gateway`: a client on our pipes and a real server at the other end of HTTP."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.conftest import COMMAND
from tests.e2e.serving import free_port, serving
from tests.e2e.test_wire import Wire, ended, wire
from tests.faces.conftest import TRIAL

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
}


pytestmark = pytest.mark.xdist_group("gateway")  # one server for nearly all


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "tools").mkdir()
    (folder / "tools" / "trial.py").write_text(TRIAL, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[str]:
    """Where a server with the trial's tools answers."""
    port, home = free_port(), tmp_path_factory.mktemp("served")
    with serving(COMMAND, home, port, LAKEHOUSE_PLUGINS__FOLDERS=str(project)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def through(command: list[str], folder: Path, address: str, **environment: str) -> Iterator[Wire]:
    with wire(command, folder / "unused", "--gateway", address, **environment) as client:
        yield client
    assert not (folder / "unused").exists()  # it opens nothing of its own


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_everything_passes_through(command: list[str], tmp_path: Path, address: str, mode: str) -> None:
    """S2.8, in both eras: lists, results, errors, progress, resources, prompts and completion."""
    seen: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        if len(seen) == 1:
            group.cancel_scope.cancel()

    started = StdioServerParameters(
        command=command[0], args=[*command[1:], "--home", str(tmp_path / "unused"), "stdio", "--gateway", address]
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(started), mode=mode) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"query_sql", "trial_add"} <= tools
            assert (await client.call_tool("trial_add", {"a": 1})).structured_content == {"total": 3}
            missing = await client.call_tool("trial_missing", {"name": "é 雪"})
            assert missing.is_error and "there is no é 雪" in json.dumps(
                missing.model_dump(mode="json"), ensure_ascii=False
            )
            assert (await client.read_resource("lakehouse://trial/ape%20a")).contents[0].text == '{"total":5}'  # type: ignore[union-attr]
            assert "What is ant?" in str(await client.get_prompt("ask", {"name": "ant"}))
            async with anyio.create_task_group() as group:
                await client.call_tool("trial_wait", {"path": str(tmp_path / "ended")}, progress_callback=progress)
            assert seen == [(1, 4, "one of four")]
            while not (tmp_path / "ended").exists():
                await anyio.sleep(0.02)
            assert (await client.call_tool("trial_add", {"a": 2})).structured_content == {"total": 4}
    assert not (tmp_path / "unused").exists()


def asked(client: Wire, modern: bool, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments} | ({"_meta": MODERN} if modern else {})
    return client.ask("tools/call", params)


@pytest.mark.parametrize("modern", [False, True])
def test_a_server_that_goes_and_comes_back(
    command: list[str], home: Path, project: Path, tmp_path: Path, modern: bool
) -> None:
    """While it is away each call says so; afterwards the client goes on, an older one in a new session."""
    port = free_port()
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": str(project)}
    with through(command, tmp_path, f"http://127.0.0.1:{port}") as client:
        if modern:
            refused = client.ask("tools/list", {"_meta": MODERN})["error"]
            assert refused["message"].startswith("unavailable: no Lakehouse server answers at")
            assert refused["data"]["problem"]["status"] == 503
        with serving(command, home, port, **environment):
            if not modern:
                client.shake_hands()
            assert asked(client, modern, "trial_add", {"a": 1})["result"]["structuredContent"] == {"total": 3}
        away = asked(client, modern, "trial_add", {"a": 1})["result"]
        assert away["isError"] and away["content"][0]["text"].startswith("unavailable: no Lakehouse server answers at")
        assert away["_meta"]["lakehouse/problem"]["status"] == 503
        with serving(command, home, port, **environment):
            assert asked(client, modern, "trial_add", {"a": 1})["result"]["structuredContent"] == {"total": 3}


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("how", ["end of file", "SIGTERM"])
def test_it_ends_and_what_runs_for_it_ends_too(
    command: list[str], address: str, tmp_path: Path, how: str, modern: bool
) -> None:
    if how == "SIGTERM" and sys.platform == "win32":
        pytest.skip("POSIX signals")
    with through(command, tmp_path, address) as client:
        params: dict[str, Any] = {"name": "trial_wait", "arguments": {"path": str(tmp_path / "ended")}}
        if modern:
            params["_meta"] = MODERN | {"progressToken": 1}
        else:
            client.shake_hands()
            params["_meta"] = {"progressToken": 1}
        client.request("tools/call", params)
        assert client.child.stdout is not None and client.child.stdin is not None
        assert json.loads(client.child.stdout.readline())["method"] == "notifications/progress"
        if how == "SIGTERM":
            client.child.send_signal(signal.SIGTERM)
        else:
            client.child.stdin.close()
        assert ended(client.child) == 0
        if modern or how == "end of file":
            wait_for(tmp_path / "ended")


def wait_for(path: Path) -> None:
    done = threading.Event()
    while not path.exists():
        done.wait(0.02)


def test_what_is_shown_is_chosen_by_the_same_flags(command: list[str], address: str, tmp_path: Path) -> None:
    with wire(command, tmp_path / "unused", "--gateway", address, "--toolsets", "sql", "--read-only") as client:
        tools = client.ask("tools/list", {"_meta": MODERN})["result"]["tools"]
        assert "query_sql" in {tool["name"] for tool in tools} and "trial_add" not in {tool["name"] for tool in tools}


def test_the_token_of_the_settings_is_shown(command: list[str], home: Path, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(command, home, port, LAKEHOUSE_AUTH__TOKEN="s3cret-token-of-this-test"):
        with through(command, tmp_path, url) as client:
            refused = client.ask("tools/list", {"_meta": MODERN})["error"]["message"]
            assert refused.startswith("unauthorized: ") and "Set LAKEHOUSE_AUTH__TOKEN" in refused
        with through(command, tmp_path, url, LAKEHOUSE_AUTH__TOKEN="s3cret-token-of-this-test") as client:
            client.shake_hands()
            assert asked(client, False, "list_datasets", {})["result"]["structuredContent"]["count"] == 0
            assert asked(client, True, "list_datasets", {})["result"]["structuredContent"]["count"] == 0


def test_an_address_that_is_none_names_the_option(command: list[str], home: Path) -> None:
    line = [*command, "--home", str(home), "stdio", "--gateway", "127.0.0.1:3110"]
    ran = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 65 and "--gateway: '127.0.0.1:3110'" in ran.stderr and not ran.stdout
