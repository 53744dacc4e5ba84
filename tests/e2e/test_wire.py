"""The real wire: a child process that speaks MCP over its stdin and stdout, and nothing else there."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ENDS_WITHIN = 15  # seconds a test waits before it calls a process stuck; the promise is one second


class Wire:
    """A server child and a client that writes and reads its lines by hand."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self.child = child
        self.lines: list[bytes] = []
        self._next = 0

    def send(self, message: dict[str, Any] | bytes) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode())
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()

    def request(self, method: str, params: dict[str, Any] | None = None) -> int:
        self._next += 1
        self.send({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params or {}})
        return self._next

    def answer(self, identifier: int) -> dict[str, Any]:
        assert self.child.stdout is not None
        while line := self.child.stdout.readline():
            self.lines.append(line)
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == identifier and ("result" in message or "error" in message):
                return message
        raise AssertionError("the server closed its end before it answered")

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.answer(self.request(method, params))

    def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return dict(self.ask("tools/call", {"name": tool, "arguments": arguments})["result"])

    def shake_hands(self) -> dict[str, Any]:
        client = {"name": "test", "version": "0"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        answered = self.ask("initialize", params)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return dict(answered["result"])


@contextmanager
def wire(command: list[str], home: Path, *options: str, **environment: str) -> Iterator[Wire]:
    child = subprocess.Popen(
        [*command, "--home", str(home), "stdio", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LAKEHOUSE_EMBED__PROVIDER": "hash", **environment},
    )
    try:
        yield Wire(child)
    finally:
        child.kill()
        with child:  # closes what is open of its pipes and waits
            pass


def ended(child: "subprocess.Popen[bytes]") -> int:
    """Wait for the end and return the exit code; what was left on stdout is JSON-RPC too."""
    assert child.stdout is not None
    code = child.wait(ENDS_WITHIN)
    for line in child.stdout.read().splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
    return code


def test_initialize_list_call_and_nothing_else_on_stdout(command: list[str], home: Path) -> None:
    """A-S1-1."""
    with wire(command, home) as server:
        hello = server.shake_hands()
        assert hello["protocolVersion"] == "2025-11-25" and hello["serverInfo"]["name"] == "lakehouse"
        tools = {tool["name"] for tool in server.ask("tools/list")["result"]["tools"]}
        assert {"list_datasets", "get_manifest", "query_sql", "embed_text", "search_vectors"} <= tools
        listed = server.call("list_datasets", {})
        assert listed["structuredContent"]["count"] == 0 and listed["structuredContent"]["manifests"] == []
        assert server.child.stdin is not None
        server.child.stdin.close()
        assert ended(server.child) == 0
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in server.lines)


def test_the_era_without_a_handshake(command: list[str], home: Path) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    }
    with wire(command, home) as server:
        found = server.ask("server/discover", {"_meta": meta})["result"]
        assert "2026-07-28" in found["supportedVersions"] and "list_datasets" in json.dumps(
            server.ask("tools/list", {"_meta": meta})["result"]
        )
        assert found["ttlMs"] > 0 and found["cacheScope"] == "public"
        called = server.ask("tools/call", {"name": "list_datasets", "arguments": {}, "_meta": meta})["result"]
        assert called["structuredContent"]["count"] == 0 and called["resultType"] == "complete"


def test_file_to_rows_over_the_wire(command: list[str], home: Path, tmp_path: Path) -> None:
    table = tmp_path / "orders.csv"
    table.write_text("id,zip,amount\n1,01234,2.5\n2,98765,4\n", encoding="utf-8")
    with wire(command, home, LAKEHOUSE_INGEST__ROOTS=str(tmp_path)) as server:
        server.shake_hands()
        ingested = server.call("ingest_file", {"path": str(table), "name": "orders"})
        assert not ingested.get("isError"), ingested
        assert ingested["structuredContent"]["row_count"] == 2
        rows = server.call("query_sql", {"sql": "SELECT zip, amount FROM orders ORDER BY id"})["structuredContent"]
        assert rows["rows"] == [["01234", 2.5], ["98765", 4.0]]
        assert rows["columns"] == [{"name": "zip", "type": "VARCHAR"}, {"name": "amount", "type": "DOUBLE"}]
        refused = server.call("query_sql", {"sql": "COPY orders TO '/tmp/x.csv'"})
        assert refused["isError"] and refused["content"][0]["text"].startswith("invalid_request: ")


def test_rubbish_lines_do_not_end_the_server(command: list[str], home: Path) -> None:
    """What might be a request is answered; its sender would wait for ever."""
    with wire(command, home) as server:
        server.shake_hands()
        for rubbish in (b"", b"   ", b"not json", b'{"jsonrpc": "2.0"', b"\xff\xfe\x00"):
            server.send(rubbish)
        for rubbish in (b"[]", b"null", b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}'):
            server.send(rubbish)
        assert server.ask("ping")["result"] == {}
        codes = [json.loads(line).get("error", {}).get("code") for line in server.lines]
        assert codes == [None, -32700, -32700, -32700, -32600, -32600, -32600, None]


@pytest.mark.parametrize("size", [100_100, 1_000_000])
def test_an_over_long_line_is_refused_by_its_id_and_the_next_one_answered(
    command: list[str], home: Path, size: int
) -> None:
    with wire(command, home, LAKEHOUSE_SERVER__MAX_REQUEST_BYTES="100000") as server:
        server.shake_hands()
        server.send(b'{"jsonrpc":"2.0","id":99,"method":"ping","params":{"x":"' + b"a" * size + b'"}}')
        assert "server.max_request_bytes" in server.answer(99)["error"]["message"]
        server.send(b'{"method":"ping","params":{"x":"' + b"a" * size + b'"},"jsonrpc":"2.0","id":98}')
        assert "server.max_request_bytes" in server.answer(98)["error"]["message"]
        assert server.ask("ping")["result"] == {}


def test_half_a_character_is_answered_not_dropped(command: list[str], home: Path) -> None:
    with wire(command, home) as server:
        server.shake_hands()
        server.send(b'{"method":"ping","params":{"x":"cut \\ud83d"},"jsonrpc":"2.0","id":99}')
        assert server.answer(99)["error"]["code"] == -32700
        assert server.ask("ping")["result"] == {}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(command: list[str], home: Path, number: signal.Signals) -> None:
    with wire(command, home) as server:
        server.shake_hands()
        server.call("list_datasets", {})
        server.child.send_signal(number)
        assert ended(server.child) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
def test_it_ends_when_its_parent_is_killed_although_the_pipe_stays_open(
    command: list[str], home: Path, tmp_path: Path
) -> None:
    # The grandparent (this test) keeps the write end of the pipe, so no end of file ever comes.
    reading, writing = os.pipe()
    host = textwrap.dedent("""
        import subprocess, sys, time
        child = subprocess.Popen(sys.argv[2:], stdin=int(sys.argv[1]), stdout=subprocess.PIPE)
        print(child.pid, flush=True)
        child.stdout.readline()
        print("answered", flush=True)
        child.wait()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", host, str(reading), *command, "--home", str(home), "stdio"],
        pass_fds=[reading],
        stdout=subprocess.PIPE,
    )
    os.close(reading)
    try:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        os.write(writing, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert parent.stdout.readline().strip() == b"answered"
        handle = os.pidfd_open(server)
        parent.kill()
        assert select.select([handle], [], [], ENDS_WITHIN)[0], "the server outlived its parent"
        os.close(handle)
    finally:
        parent.kill()
        parent.communicate()
        os.close(writing)


def test_toolsets_and_read_only_are_flags(command: list[str], home: Path) -> None:
    with wire(command, home, "--toolsets", "sql,core", "--read-only") as server:
        server.shake_hands()
        tools = {tool["name"]: tool for tool in server.ask("tools/list")["result"]["tools"]}
        assert "query_sql" in tools and "ingest_file" not in tools and "add_vectors" not in tools
        assert server.call("ingest_file", {})["content"][0]["text"].startswith("forbidden: ingest.file writes")
        assert server.ask("tools/call", {"name": "add_vectors", "arguments": {}})["error"]["code"] == -32602
    with wire(command, home, "--toolsets", "sql") as server:
        server.shake_hands()
        sql_tools = {tool["name"] for tool in server.ask("tools/list")["result"]["tools"]}
        assert sql_tools >= {"query_sql", "explain_sql", "run_query", "list_datasets", "get_manifest", "get_result"}
        assert not sql_tools & {"ingest_file", "storage_put", "add_vectors", "doctor"}


def test_a_toolset_without_a_tool_is_told_at_the_start(command: list[str], home: Path) -> None:
    """A host would show a server that can do nothing."""
    line = [*command, "--home", str(home), "stdio", "--toolsets", "chat"]
    ended = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 65 and "no tool is in chat" in ended.stderr and not ended.stdout


def test_a_second_process_attaches_and_takes_over(command: list[str], home: Path) -> None:
    with wire(command, home) as second:
        with wire(command, home) as first:
            first.shake_hands()
            second.shake_hands()
            assert first.call("list_datasets", {})["structuredContent"]["count"] == 0
            assert second.call("list_datasets", {})["structuredContent"]["count"] == 0
            assert json.loads((home / "lake.owner.json").read_bytes())["pid"] == first.child.pid
        assert second.call("list_datasets", {})["structuredContent"]["count"] == 0
        assert json.loads((home / "lake.owner.json").read_bytes())["pid"] == second.child.pid


def test_plain_files_instead_of_pipes(command: list[str], home: Path, tmp_path: Path) -> None:
    asked, answered = tmp_path / "in", tmp_path / "out"
    asked.write_bytes(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    with asked.open("rb") as reading, answered.open("wb") as writing:
        subprocess.run([*command, "--home", str(home), "stdio"], stdin=reading, stdout=writing, timeout=60, check=True)
    assert json.loads(answered.read_bytes())["result"] == {}


STUBBORN = '''"""A tool whose thread cannot be interrupted, like a long native call."""
import time
import anyio.to_thread
from pydantic import BaseModel
from lakehouse import Lakehouse, tool


class Done(BaseModel):
    """Nothing."""


@tool()
async def hold(lake: Lakehouse) -> Done:
    """Hold a thread for a minute."""
    await lake.progress(1, 2, "holding")
    await anyio.to_thread.run_sync(time.sleep, 60)
    return Done()
'''


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", ["end of file", "SIGTERM", "SIGINT"])
def test_it_ends_although_a_thread_cannot_be_interrupted(
    command: list[str], home: Path, tmp_path: Path, how: str
) -> None:
    """The promise holds in the middle of a native call, too: nobody waits until that returns."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "stubborn.py").write_text(STUBBORN, encoding="utf-8")
    with wire(command, home, LAKEHOUSE_PLUGINS__FOLDERS=str(tmp_path)) as server:
        server.shake_hands()
        server.request("tools/call", {"name": "stubborn_hold", "arguments": {}, "_meta": {"progressToken": 1}})
        assert server.child.stdout is not None and server.child.stdin is not None
        assert b"notifications/progress" in server.child.stdout.readline()
        if how == "end of file":
            server.child.stdin.close()
        else:
            server.child.send_signal(signal.Signals[how])
        assert ended(server.child) == 0
