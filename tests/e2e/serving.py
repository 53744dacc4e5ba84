"""A real server on a real port, for tests that reach it as others do."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], home: Path, port: int, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`lakehouse serve` at a port, from the moment it answers; what it writes goes to stderr of the test."""
    child = subprocess.Popen(
        [*command, "--home", str(home), "serve", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LAKEHOUSE_EMBED__PROVIDER": "hash", **environment},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert child.poll() is None and time.monotonic() < deadline, "the server does not answer"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except urllib.error.HTTPError as answered:
                answered.close()
                break
            except OSError:
                time.sleep(0.05)  # it is starting; nothing tells but its answer
        yield child
    finally:
        child.kill()
        child.wait()
