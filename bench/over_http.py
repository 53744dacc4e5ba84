"""HTTP figures: server CPU per call and calls per second of a trivial tool, 1 and 16 clients, both protocol eras.

Ours, the bare SDK server, FastMCP and a plain Starlette route answer in turn, so that a noisy machine disturbs all
alike. The clients write bytes to sockets: no client library is in the way.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench import protocol  # noqa: E402  a script finds its neighbours by itself only as top-level names

CLIENTS = (1, 16)
ACCEPT = "application/json, text/event-stream"
FLOOR, PEER, PLAIN = "bare SDK server", "FastMCP", "plain Starlette route"
WAYS = {"2026-07-28": (FLOOR, PEER), "2025-11-25": (FLOOR, PEER), "service API": (PLAIN,)}


@dataclass
class Server:
    """One server process and the connections to it."""

    child: "subprocess.Popen[str]"
    port: int
    spent: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds on a processor so far, all threads."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def started(command: list[str]) -> Server:
    """Start a server and wait until it says where it listens."""
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, **protocol.QUIET}
    )
    assert child.stderr is not None
    for line in child.stderr:
        if found := re.search(r"http://[\w.]+:(\d+)", line):
            return Server(child, int(found[1]))
    raise SystemExit(f"{command} did not start")


async def exchanged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[bytes, bytes]:
    """One request and its answer: head and body."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if found := re.search(rb"content-length: (\d+)", head):
        return head, await reader.readexactly(int(found[1]))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return head, body


def posted(path: str, body: Any, **headers: str) -> bytes:
    """A POST of JSON."""
    content = json.dumps(body).encode()
    lines = {"host": "127.0.0.1:1", "content-type": "application/json", "content-length": str(len(content)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content


async def modern(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> bytes:
    """A call of the era without a handshake."""
    params = {"name": "trial_add", "arguments": {"a": 1, "b": 2}, "_meta": protocol.META}
    return posted(
        "/mcp",
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        accept=ACCEPT,
        mcp_protocol_version="2026-07-28",
        mcp_method="tools/call",
        mcp_name="trial_add",
    )


async def legacy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """A call within a session, which is opened first."""
    client = {"name": "bench", "version": "1"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    head, _ = await exchanged(reader, writer, posted("/mcp", hello, accept=ACCEPT))
    found = re.search(rb"mcp-session-id: (\S+)", head)
    assert found, head
    session = {"accept": ACCEPT, "mcp_session_id": found[1].decode(), "mcp_protocol_version": "2025-11-25"}
    await exchanged(
        reader, writer, posted("/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, **session)
    )
    call = {"name": "trial_add", "arguments": {"a": 1, "b": 2}}
    return posted("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}, **session)


async def rest(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> bytes:
    """A call of the service API."""
    return posted("/v1/trial/add", {"a": 1, "b": 2})


Ask = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
ASKED: dict[str, Ask] = {"2026-07-28": modern, "2025-11-25": legacy, "service API": rest}


async def burst(server: Server, ask: Ask, clients: int, each: int, keep: bool) -> None:
    """So many calls by each of so many clients at once."""
    lines = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(clients)]
    requests = [await ask(*line) for line in lines]
    before, began = server.cpu(), time.perf_counter()

    async def call(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> None:
        for _ in range(each):
            sent = time.perf_counter()
            _, body = await exchanged(*line, request)
            if keep:
                server.took.append(time.perf_counter() - sent)
            assert b'"total":3' in body.replace(b" ", b"").replace(b"\\", b""), body

    await asyncio.gather(*(call(*pair) for pair in zip(lines, requests, strict=True)))
    if keep:
        server.spent.append((server.cpu() - before) / (clients * each))
        server.rate.append(clients * each / (time.perf_counter() - began))
    for _, writer in lines:
        writer.close()
        await writer.wait_closed()


def commands(folder: Path) -> dict[str, list[str]]:
    """What to start; FastMCP only where it is installed."""
    stdio = protocol.peers(folder)
    script = str(HERE / "servers.py")
    found = {
        "lakehouse": [*stdio["lakehouse"][:-1], "serve", "--port", "0"],
        FLOOR: [sys.executable, script, "bare-http"],
        PLAIN: [sys.executable, script, "starlette"],
    }
    if PEER in stdio:
        found[PEER] = [sys.executable, script, "fastmcp-http"]
    return found


def measured(servers: dict[str, Server], way: str, clients: int, rounds: int, calls: int) -> None:
    """Print the figures of one way to call, all servers in turn by rounds."""
    for server in servers.values():
        server.spent, server.took, server.rate = [], [], []
    for turn in range(rounds + 1):  # the first round warms up
        for server in servers.values():
            asyncio.run(burst(server, ASKED[way], clients, max(1, calls // clients), bool(turn)))
    floor = median(servers[WAYS[way][0]].spent)
    for name, server in servers.items():
        spent = median(server.spent)
        print(
            f"http call, {way}, {clients:2} clients: {name:22} CPU {spent * 1e6:5.0f} us, "
            f"{median(server.rate):6.0f} calls/s, p50 {median(server.took) * 1e3:6.2f} ms, "
            f"{spent / floor:4.2f} x {WAYS[way][0]}"
        )
    ours = median(servers["lakehouse"].spent)
    for peer in WAYS[way]:
        if peer in servers:
            print(f"http call, {way}, {clients:2} clients: ours is {ours / median(servers[peer].spent):4.2f} x {peer}")


def main(quick: bool = False) -> None:
    """Print all HTTP figures."""
    rounds, calls = (5, 800) if quick else (7, 1600)
    with tempfile.TemporaryDirectory() as folder:
        running = {name: started(command) for name, command in commands(Path(folder)).items()}
        try:
            for way, peers in WAYS.items():
                chosen = {name: running[name] for name in ("lakehouse", *peers) if name in running}
                for clients in CLIENTS:
                    measured(chosen, way, clients, rounds, calls)
        finally:
            for server in running.values():
                server.child.kill()
                server.child.communicate()


if __name__ == "__main__":
    main("--quick" in sys.argv)
