"""Real S3 servers, each a child process: moto keeps conditions and forgets keys, rclone checks keys, not conditions."""

import itertools
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from lakehouse import config

KEY_ID, SECRET = "AKIDLAKEHOUSETEST", "s3cr3t/Of+The/Tests"
_START_SECS = 60
_COUNT = itertools.count(1)


def write_secrets(path: Path, key_id: str = KEY_ID, secret: str = SECRET) -> Path:
    """A secrets file only its owner can read."""
    path.write_text(f'[s3.primary]\naccess_key_id = "{key_id}"\nsecret_access_key = "{secret}"\n', encoding="utf-8")
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class S3:
    """A running server. `shared` is its one bucket, when it can make no others."""

    endpoint: str
    secrets: Path
    shared: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def place(self) -> str:
        """The URL of an empty place of its own."""
        number = next(_COUNT)
        if self.shared:
            return f"s3://{self.shared}/lake-{number}"
        urlopen(Request(f"{self.endpoint}/bucket-{number}", method="PUT"), timeout=30).close()
        return f"s3://bucket-{number}/some/lake"

    def settings(self, url: str | None = None, **more: Any) -> config.Storage:
        """Settings of a new place here, or of the one at `url`."""
        return config.Storage(**self.values(url) | more)

    def values(self, url: str | None = None) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "url": url or self.place(),
            "endpoint": self.endpoint,
            "allow_http": True,
            "secrets": self.secrets,
            **self.options,
        }

    def variables(self, url: str | None = None) -> dict[str, str]:
        """The same as environment variables."""
        return {f"LAKEHOUSE_STORAGE__{name.upper()}": str(value) for name, value in self.values(url).items()}


def free_port() -> int:
    """A port of this machine nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as lines, subprocess.Popen(command, stdout=lines, stderr=lines) as child:
        try:
            ends = time.monotonic() + _START_SECS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    assert child.poll() is None and time.monotonic() < ends, log.read_text("utf-8", "replace")
                    time.sleep(0.05)
            yield
        finally:
            child.kill()


@contextmanager
def moto(folder: Path) -> Iterator[S3]:
    """A server that answers conditional puts as S3 does."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder / "moto.log"):
        yield S3(f"http://127.0.0.1:{port}", write_secrets(folder / "moto.toml"))


def rclone_command() -> str | None:
    """The program, when it is installed beside this Python or on the path."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def rclone(folder: Path) -> Iterator[S3]:
    """A server that overwrites whatever the condition says. It sees its own changes to its folder only."""
    port, program = free_port(), rclone_command()
    assert program is not None
    root = folder / "buckets"
    (root / "shared").mkdir(parents=True)
    command = [program, "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY_ID},{SECRET}", str(root)]
    with _running(command, port, folder / "rclone.log"):
        yield S3(f"http://127.0.0.1:{port}", write_secrets(folder / "rclone.toml"), "shared", {"single_writer": True})
