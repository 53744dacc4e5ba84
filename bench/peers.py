"""Peers that are measured beside us: their processes, which take a step when they are asked, and a table of figures."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CAP_SECS = 300  # that a step may take


@dataclass
class Child:
    """A peer's process, at the head of a group of its own: it may start others."""

    process: subprocess.Popen[bytes]

    def ask(self, step: str, **given: Any) -> None:
        """Have it take a step."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"step": step, **given}).encode() + b"\n")
        self.process.stdin.flush()

    def step(self, step: str, **given: Any) -> dict[str, Any]:
        """What a step measured. Over the cap the process is killed."""
        assert self.process.stdout is not None
        self.ask(step, **given)
        ends, left = time.monotonic() + CAP_SECS, b""
        while (rest := ends - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], rest)[0]:
                break
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return {"failed": f"it ended with {self.process.wait()}"}
            left += more
            answers = [line for line in left.split(b"\n")[:-1] if line.startswith(b"\x1e")]
            if answers:
                return dict(json.loads(answers[0][1:]))
        self.kill()
        return {"capped": f"over {CAP_SECS} s"}

    def kill(self) -> None:
        """With SIGKILL, and those it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Let it end by itself, or kill it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


def spawned(command: Sequence[str], environ: Mapping[str, str]) -> Child:
    """A fresh process of this command, with more in its environment."""
    return Child(
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            start_new_session=True,
        )
    )


def table(found: dict[str, dict[str, str]]) -> None:
    """The peers side by side."""
    rows = list(dict.fromkeys(name for lines in found.values() for name in lines))
    width = max(map(len, rows), default=0) + 2
    columns = {
        peer: max(len(peer), *(len(text[:30]) for text in lines.values()), 1) + 2 for peer, lines in found.items()
    }
    print(" " * width + "".join(f"{peer:>{columns[peer]}}" for peer in found))
    for row in rows:
        print(
            f"{row:{width}}" + "".join(f"{lines.get(row, '-')[:30]:>{columns[peer]}}" for peer, lines in found.items())
        )
    print(flush=True)
