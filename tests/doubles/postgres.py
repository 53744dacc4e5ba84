"""A PostgreSQL server of its own, run by a user who is not root: initdb refuses root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

PASSWORD = "correct-horse-battery"


@dataclass(frozen=True)
class Postgres:
    """A running server: where it listens, and its superuser's password."""

    port: int
    folder: Path

    @property
    def dsn(self) -> str:
        return f"postgresql://keeper:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "log").read_text(encoding="utf-8")


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, the newest there is; None without them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return debian[-1].parent if debian else None


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server with an empty data directory, and remove it afterwards."""
    bin_folder = programs()
    assert bin_folder is not None
    # Not below pytest's folders: those are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-postgres-"))
    server: Postgres | None = None
    try:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        for path in (folder, folder / "password"):
            _hand_over(path)
        data = str(folder / "data")
        secret = ["--username=keeper", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        _run([str(bin_folder / "initdb"), "-D", data, *secret, "--no-sync", "--locale=C", "--encoding=UTF8"], folder)
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Postgres(port, folder)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        options += " -c shared_buffers=16MB -c log_statement=all"
        _run([str(bin_folder / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"], folder)
        yield server
    finally:
        if server is not None:
            _run([str(bin_folder / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop"], folder)
        shutil.rmtree(folder)


def _hand_over(path: Path) -> None:
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _run(command: Sequence[str], folder: Path) -> None:
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    # A pipe would stay open in the server that pg_ctl leaves running.
    with (folder / "output").open("ab") as output:
        done = subprocess.run(
            command, cwd=folder, env={"PATH": os.defpath}, stdout=output, stderr=output, check=False, **user
        )  # type: ignore[call-overload]
    assert done.returncode == 0, (folder / "output").read_text(encoding="utf-8")
