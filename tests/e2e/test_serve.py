"""`lakehouse serve` as a process: how it starts, how it refuses to, and how it ends while calls run."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import mcp_types as t
import pytest
from mcp import Client
from tests.e2e.test_wire import wire
from tests.faces.http.serving import LEGACY, modern, probe

pytestmark = [pytest.mark.slow, pytest.mark.anyio]
ENDS_WITHIN = 20  # seconds a test waits before it calls a process stuck; an idle one ends in a fifth of a second
NEVER = "600"  # seconds of drain that no test waits for
STUCK = '''\
"""A thread that no cancellation reaches."""

import time
from pathlib import Path

import anyio.to_thread

from lakehouse import Lakehouse, tool


@tool()
async def hold(lake: Lakehouse, path: str) -> dict[str, int]:
    """Sleep in a thread."""
    def sleep() -> None:
        Path(path).touch()
        time.sleep(600)

    await anyio.to_thread.run_sync(sleep)
    return {}
'''


class Process:
    """A running `lakehouse serve`."""

    def __init__(self, child: "subprocess.Popen[str]", said: str) -> None:
        self.child = child
        self.said = said
        found = re.search(r"http://\S+", said)
        assert found, said
        self.url = found[0]

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.child.send_signal(number)

    def ended(self) -> int:
        return self.child.wait(ENDS_WITHIN)

    async def no_longer_listens(self) -> None:
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        with anyio.fail_after(ENDS_WITHIN), contextlib.suppress(OSError):
            while True:
                await (await anyio.connect_tcp(host, int(port))).aclose()
                await anyio.sleep(0.02)


@contextmanager
def served(command: list[str], home: Path, *options: str, **environment: str) -> Iterator[Process]:
    child = subprocess.Popen(
        [*command, "--home", str(home), "serve", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "LAKEHOUSE_EMBED__PROVIDER": "hash", **environment},
    )
    try:
        assert child.stderr is not None
        yield Process(child, child.stderr.readline())
    finally:
        child.kill()
        with child:
            pass


def refused(command: list[str], home: Path, *options: str, **environment: str) -> tuple[int, dict[str, Any]]:
    ran = subprocess.run(
        [*command, "--home", str(home), "--json", "serve", *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
    )
    return ran.returncode, json.loads(ran.stderr.splitlines()[-1])


async def until(path: Path) -> None:
    with anyio.fail_after(ENDS_WITHIN):
        while not path.exists():
            await anyio.sleep(0.01)


def test_it_starts_where_it_always_does(command: list[str], home: Path) -> None:
    """A-S3-1: an empty directory, no config file, 127.0.0.1:3110, and /health is 200."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 3110), timeout=1):
        pytest.skip("something else listens at port 3110 of this machine")
    with served(command, home) as process:
        assert process.said == f"Lakehouse answers at http://127.0.0.1:3110 (MCP at /mcp); data in {home}\n"
        answer = httpx.get("http://127.0.0.1:3110/health")
        assert answer.status_code == 200 and answer.json()["status"] == "ok"
        assert "server" not in answer.headers
        code, problem = refused(command, home.with_name("other"))
        assert code == 75 and "port 3110" in problem["detail"]


def test_one_line_is_said_and_nothing_is_printed(command: list[str], home: Path) -> None:
    with served(command, home, "--port", "0", "--host", "localhost") as process:
        port = process.url.rpartition(":")[2]
        assert process.url == f"http://localhost:{port}" and port != "0"
        assert httpx.get(f"{process.url}/health").status_code == 200
        process.stop()
        out, err = process.child.communicate(timeout=ENDS_WITHIN)
        assert (process.child.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "no.such.name.invalid"])
def test_it_does_not_listen_to_others_by_accident(command: list[str], home: Path, host: str) -> None:
    """A-S39-3."""
    code, problem = refused(command, home, "--host", host, "--port", "0")
    if host.endswith("invalid"):
        assert code == 65 and host in problem["detail"]
    else:
        assert code == 77 and "R-001" in problem["detail"] and "R-007" in problem["detail"]
    assert not home.exists()


def test_with_a_token_and_a_yes_it_does(command: list[str], home: Path) -> None:
    """A-S39-3. Its own loopback names still reach it; its token appears nowhere."""
    token = "the-token-of-this-test"
    environment = {"LAKEHOUSE_AUTH__TOKEN": token, "LH_ALLOW_NON_LOOPBACK": "1"}
    with served(command, home, "--host", "0.0.0.0", "--port", "0", **environment) as process:
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(f"{url}/v1/call/sql.query", json={}).status_code == 401
        right = {"Authorization": f"Bearer {token}"}
        assert httpx.post(f"{url}/v1/call/sql.query", json={}, headers=right).status_code == 400
        process.stop()
        out, err = process.child.communicate(timeout=ENDS_WITHIN)
        assert token not in process.said + out + err
    for path in home.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


def test_a_call_without_a_handshake_says_what_stdio_says(command: list[str], home: Path) -> None:
    """A-S1-2."""
    with served(command, home, "--port", "0") as process:
        made = httpx.post(
            f"{process.url}/v1/call/ingest.file", json={"name": "t", "content": "a,b\n1,x\n", "source": "csv"}
        )
        assert made.status_code == 200, made.text
        answer = httpx.post(f"{process.url}/mcp", **modern("tools/call", {"name": "list_datasets", "arguments": {}}))
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        over_http = answer.json()["result"]["structuredContent"]
        with wire(command, home) as pipe:
            pipe.shake_hands()
            assert pipe.call("list_datasets", {})["structuredContent"] == over_http
    assert over_http["count"] == 1


async def test_an_idle_server_ends_at_once_whoever_is_connected(command: list[str], home: Path) -> None:
    """A client of the handshake era keeps a stream open for what the server may say; nobody waits for that."""
    with served(command, home, "--port", "0", LAKEHOUSE_SERVER__DRAIN_SECS=NEVER) as process:
        async with httpx.AsyncClient(base_url=process.url) as client:
            opened = await client.post(
                "/mcp",
                json={
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "initialize",
                    "params": {
                        "protocolVersion": LEGACY,
                        "capabilities": {},
                        "clientInfo": {"name": "test", "version": "0"},
                    },
                },
                headers={"accept": "application/json, text/event-stream"},
            )
            session = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": "text/event-stream"}
            async with client.stream("GET", "/mcp", headers=session, timeout=ENDS_WITHIN) as stream:
                assert stream.status_code == 200
                process.stop()
                assert (await stream.aread()).count(b"data:") == 0  # it ends as a whole answer does
        assert await anyio.to_thread.run_sync(process.ended) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", ["rest", "legacy", "auto", "progress"])
async def test_running_calls_finish(command: list[str], home: Path, tmp_path: Path, how: str, number: int) -> None:
    """Nothing new is taken meanwhile."""
    project = str(probe(tmp_path / "project"))
    told: list[float] = []

    async def call(url: str) -> Any:
        arguments = {"folder": str(tmp_path)}
        if how == "rest":
            async with httpx.AsyncClient(timeout=ENDS_WITHIN) as client:
                answer = await client.post(f"{url}/v1/call/probe.gate", json=arguments)
                return answer.json()

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.append(progress)

        mode = "auto" if how == "progress" else how
        async with Client(f"{url}/mcp", mode=mode) as mcp:
            await mcp.list_tools()  # it holds answers against their schemas, and could not ask for those later
            heard = progress if how != "auto" else None
            result = await mcp.call_tool("probe_gate", arguments, progress_callback=heard)
            assert isinstance(result, t.CallToolResult)
            answered.append(result.structured_content)
        return None

    answered: list[Any] = []
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": project, "LAKEHOUSE_SERVER__DRAIN_SECS": NEVER}
    with served(command, home, "--port", "0", **environment) as process:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                with contextlib.suppress(Exception):  # leaving a session of a server that has gone
                    if (answer := await call(process.url)) is not None:
                        answered.append(answer)

            group.start_soon(run)
            await until(tmp_path / "began")
            process.stop(number)
            await process.no_longer_listens()
            (tmp_path / "go").touch()
        assert answered == [{"done": 2}]
        assert told == ([] if how in ("rest", "auto") else [1])
        assert not (tmp_path / "cancelled").exists()
        assert await anyio.to_thread.run_sync(process.ended) == 0


@pytest.mark.parametrize("how", ["rest", "modern", "legacy"])
async def test_calls_that_take_too_long_are_cancelled(command: list[str], home: Path, tmp_path: Path, how: str) -> None:
    """They clean up in peace, and are answered all the same."""
    arguments = {"folder": str(tmp_path), "linger": 0.5}
    project = str(probe(tmp_path / "project"))
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": project, "LAKEHOUSE_SERVER__DRAIN_SECS": "0.2"}
    answers: list[httpx.Response] = []
    with served(command, home, "--port", "0", **environment) as process:
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=ENDS_WITHIN) as client,
            anyio.create_task_group() as group,
        ):

            async def call() -> None:
                if how == "rest":
                    answers.append(await client.post("/v1/call/probe.gate", json=arguments))
                elif how == "modern":
                    params = {"name": "probe_gate", "arguments": arguments}
                    answers.append(await client.post("/mcp", **modern("tools/call", params)))
                else:
                    with contextlib.suppress(Exception):
                        async with Client(f"{process.url}/mcp", mode="legacy") as mcp:
                            await mcp.call_tool("probe_gate", arguments)

            group.start_soon(call)
            await until(tmp_path / "began")
            process.stop()
            await until(tmp_path / "cancelled")
            if how == "legacy":
                group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(process.ended) == 0
        assert (tmp_path / "cleaned").exists() or how == "legacy"
        for answer in answers:
            assert answer.status_code == 503 and answer.json()["title"] == "unavailable"
        assert len(answers) == (0 if how == "legacy" else 1)


async def test_a_second_signal_ends_it_at_once(command: list[str], home: Path, tmp_path: Path) -> None:
    project = str(probe(tmp_path / "project"))
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": project, "LAKEHOUSE_SERVER__DRAIN_SECS": NEVER}
    with served(command, home, "--port", "0", **environment) as process:
        async with anyio.create_task_group() as group:

            async def call() -> None:
                with contextlib.suppress(httpx.HTTPError):
                    async with httpx.AsyncClient(timeout=ENDS_WITHIN) as client:
                        await client.post(f"{process.url}/v1/call/probe.gate", json={"folder": str(tmp_path)})

            group.start_soon(call)
            await until(tmp_path / "began")
            process.stop()
            await process.no_longer_listens()
            process.stop()
            assert await anyio.to_thread.run_sync(process.ended) == 128 + signal.SIGTERM


def test_a_thread_that_nothing_reaches_does_not_hold_it(command: list[str], home: Path, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "stuck.py").write_text(STUCK, encoding="utf-8")
    environment = {"LAKEHOUSE_PLUGINS__FOLDERS": str(tmp_path), "LAKEHOUSE_SERVER__DRAIN_SECS": "0.2"}
    with served(command, home, "--port", "0", **environment) as process:

        def call() -> None:
            with contextlib.suppress(httpx.HTTPError):
                path = str(tmp_path / "began")
                httpx.post(f"{process.url}/v1/call/stuck.hold", json={"path": path}, timeout=ENDS_WITHIN)

        calling = threading.Thread(target=call)
        calling.start()
        anyio.run(until, tmp_path / "began")
        process.stop()
        assert process.ended() == 0
        calling.join()
