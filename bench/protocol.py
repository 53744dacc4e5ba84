"""MCP figures: process start to the first tools/list answer, CPU per call over stdio, and `--help`.

Ours, the bare SDK server and FastMCP answer in turn, so that a noisy machine disturbs all alike.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOOL = '''"""A trivial tool."""
from pydantic import BaseModel
from lakehouse import Lakehouse, tool


class Sum(BaseModel):
    """A sum."""
    total: int


@tool()
async def add(lake: Lakehouse, a: int, b: int) -> Sum:
    """Add two whole numbers."""
    return Sum(total=a + b)
'''
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


class Peer:
    """One server process and the raw lines to and from it: no client library in the way."""

    def __init__(self, command: list[str], modern: bool) -> None:
        self.modern = modern
        self.began = time.perf_counter()
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **QUIET},
        )
        self.last = 0
        if not modern:
            client = {"name": "bench", "version": "1"}
            self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message).encode() + b"\n")
        self.child.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        assert self.child.stdout is not None
        self.last += 1
        params = {**params, "_meta": META} if self.modern else params
        self.send({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params})
        while True:
            answer = json.loads(self.child.stdout.readline())
            if answer.get("id") == self.last:
                return answer["result"]

    def cpu(self) -> float:
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.child.kill()
        self.child.communicate()


QUIET = {"FASTMCP_CHECK_FOR_UPDATES": "off", "FASTMCP_SHOW_SERVER_BANNER": "false"}


def peers(folder: Path) -> dict[str, list[str]]:
    """The commands to compare; FastMCP only where it is installed."""
    (folder / "project" / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "project" / "tools" / "trial.py").write_text(TOOL, encoding="utf-8")
    config = folder / "lakehouse.toml"
    config.write_text('[plugins]\nfolders = ["project"]\n', encoding="utf-8")
    ours = [sys.executable, "-m", "lakehouse", "--home", str(folder / "home"), "--config", str(config), "stdio"]
    found = {"lakehouse": ours, "bare SDK server": [sys.executable, str(HERE / "servers.py"), "bare"]}
    if importlib.util.find_spec("fastmcp"):
        found["FastMCP"] = [sys.executable, str(HERE / "servers.py"), "fastmcp"]
    else:
        print("FastMCP is not installed: `pip install -e '.[bench]'` adds it")
    return found


def startup(commands: dict[str, list[str]], runs: int) -> None:
    """Milliseconds from starting the process to the first tools/list answer."""
    for modern in (False, True):
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                peer = Peer(command, modern)
                peer.ask("tools/list", {})
                times[name].append(time.perf_counter() - peer.began)
                peer.end()
        floor = statistics.median(times["bare SDK server"])
        era = "2026-07-28" if modern else "2025-11-25"
        for name, values in times.items():
            middle = statistics.median(values)
            print(
                f"start to tools/list, {era}: {name:16} median {middle * 1e3:6.0f} ms, "
                f"min {min(values) * 1e3:6.0f} ms, {middle / floor:4.2f} x bare"
            )


def calls(commands: dict[str, list[str]], rounds: int, each: int) -> None:
    """Server CPU microseconds per call of a trivial tool, calls of all peers interleaved by rounds."""
    for modern in (False, True):
        open_peers = {name: Peer(command, modern) for name, command in commands.items()}
        spent: dict[str, list[float]] = {name: [] for name in commands}
        waited: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, peer in open_peers.items():
                before = peer.cpu()
                for n in range(each):
                    began = time.perf_counter()
                    peer.ask("tools/call", {"name": "trial_add", "arguments": {"a": n, "b": turn}})
                    if turn:
                        waited[name].append(time.perf_counter() - began)
                if turn:  # the first round warms up
                    spent[name].append((peer.cpu() - before) / each)
        for peer in open_peers.values():
            peer.end()
        era = "2026-07-28" if modern else "2025-11-25"
        floor = statistics.mean(spent["bare SDK server"])
        for name in commands:
            mean = statistics.mean(spent[name])
            print(
                f"stdio call, {era}: {name:16} CPU {mean * 1e6:5.0f} us, "
                f"p50 {statistics.median(waited[name]) * 1e6:5.0f} us, {mean / floor:4.2f} x bare"
            )


def help_time(runs: int) -> None:
    """Seconds of `lakehouse --help` beside a Python that does nothing."""
    times: dict[str, list[float]] = {"lakehouse --help": [], "python -c pass": []}
    lines = {
        "lakehouse --help": [sys.executable, "-m", "lakehouse", "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    for _ in range(runs):
        for name, line in lines.items():
            began = time.perf_counter()
            subprocess.run(line, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - began)
    for name, values in times.items():
        print(f"{name}: median {statistics.median(values):.3f} s")


def main(quick: bool = False) -> None:
    """Print all MCP figures."""
    with tempfile.TemporaryDirectory() as folder:
        commands = peers(Path(folder))
        Peer(commands["lakehouse"], False).end()  # renders the catalogue once
        startup(commands, 3 if quick else 9)
        calls(commands, 3 if quick else 10, 200 if quick else 500)
        help_time(3 if quick else 9)


if __name__ == "__main__":
    main("--quick" in sys.argv)
