"""A query that its engine cannot interrupt, given up by who asked: its process is killed, the next query answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.e2e.serving import free_port, serving
from tests.e2e.test_wire import wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")

# One call of one function, in which the engine does not look at the clock; it takes minutes.
STUCK = "SELECT levenshtein(repeat('a', 500000), repeat('b', 500000))"
AT_WORK = 60  # hundredths of a second of processor time after it was ready: no idle process takes them


def query_processes(parent: int) -> dict[int, int]:
    """The query processes of a server, with the processor time each has taken."""
    there = dict[int, tuple[str, list[str]]]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            there[int(stat.parent.name)] = name, rest.split()
    # They are forked from a template, which is a child of the server.
    found = {}
    for pid, (name, fields) in there.items():
        template = there.get(int(fields[1]))
        if name == "sql.worker" and fields[0] != "Z" and template is not None and template[1][1] == str(parent):
            found[pid] = int(fields[11]) + int(fields[12])
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def at_work(parent: int) -> int:
    """The query process that works, once one does."""
    before: dict[int, int] = {}

    def busy() -> list[int]:
        now = query_processes(parent)
        for pid, ticks in now.items():
            before.setdefault(pid, ticks)
        return [pid for pid, ticks in now.items() if ticks - before[pid] > AT_WORK]

    until(busy)
    return busy()[0]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_cancelled_over_mcp(command: list[str], home: Path) -> None:
    with wire(command, home) as server:
        server.shake_hands()
        server.call("query_sql", {"sql": "SELECT 1"})
        asked = server.request("tools/call", {"name": "query_sql", "arguments": {"sql": STUCK}})
        pid = at_work(server.child.pid)
        server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked}})
        until(lambda: gone(pid))
        assert server.call("query_sql", {"sql": "SELECT 2 AS n"})["structuredContent"]["rows"] == [[2]]
        told = server.call("query_history", {"contains": "levenshtein"})["structuredContent"]["queries"]
        assert [query["outcome"] for query in told] == ["cancelled"]


def test_who_hangs_up_over_http_ends_the_query(command: list[str], home: Path) -> None:
    port = free_port()
    with serving(command, home, port) as server:
        body = json.dumps({"sql": STUCK}).encode()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                f"POST /v1/sql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            pid = at_work(server.pid)
        until(lambda: gone(pid))
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/sql", b'{"sql": "SELECT 2"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["rows"] == [[2]]


def test_control_c_ends_the_query(command: list[str], home: Path) -> None:
    child = subprocess.Popen(
        [*command, "--home", str(home), "sql", STUCK],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "LAKEHOUSE_EMBED__PROVIDER": "hash"},
    )
    try:
        pid = at_work(child.pid)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
        assert child.returncode == 130 and b"Traceback" not in said
        until(lambda: gone(pid))  # it is init's to bury
    finally:
        child.kill()
        child.wait()
    answered = subprocess.run(
        [*command, "--home", str(home), "sql", "SELECT 2 AS n", "--json"], capture_output=True, timeout=60, check=True
    )
    assert json.loads(answered.stdout)["rows"] == [[2]]
