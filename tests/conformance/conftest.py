"""Servers for the official suite and foreign clients, which are Node programs that `make conformance` sets up.

LAKEHOUSE_CONFORMANCE   the folder with those programs; without it nothing here is collected
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECT = HERE / "project"
FOLDER = Path(os.environ.get("LAKEHOUSE_CONFORMANCE", "/nowhere"))
PACKAGES = FOLDER / "node_modules" / "@modelcontextprotocol"
OWN_NODE = FOLDER / "node" / "node_modules" / ".bin" / "node"
NODE = str(OWN_NODE) if OWN_NODE.exists() else "node"
LAKEHOUSE = [sys.executable, "-m", "lakehouse"]
STARTS_WITHIN = 60  # seconds on a machine with much else to do

collect_ignore_glob = [] if FOLDER.exists() else ["*"]


class Served(NamedTuple):
    """A running server: where it listens, and the environment that shares its data directory."""

    url: str
    environment: dict[str, str]


def environment_of(home: Path) -> dict[str, str]:
    """For a Lakehouse with the tools of `project`, and nothing of this machine's own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "LH_"))}
    return inherited | {
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_CACHE": str(home.parent / "cache"),
        "LAKEHOUSE_PLUGINS__FOLDERS": json.dumps([str(PROJECT)]),
        "LAKEHOUSE_EMBED__PROVIDER": "hash",
        "HOME": str(home.parent),  # the Inspector keeps files there, and so does a Lakehouse it starts without settings
    }


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[Served]:
    """The server of a command, at a port of its own, while the block runs."""
    environment = environment_of(folder / "home") | {"LAKEHOUSE_SERVER__BIND": "127.0.0.1:0"}
    log = folder / "log"
    with log.open("wb") as errors, subprocess.Popen(command, cwd=ROOT, env=environment, stderr=errors) as child:
        try:
            deadline = time.monotonic() + STARTS_WITHIN
            while not (said := re.search(r"answers at (\S+)", log.read_text(encoding="utf-8"))):
                assert child.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            yield Served(f"{said[1]}/mcp", environment)
        finally:
            child.terminate()
            child.wait(30)


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Who names these tests on the command line is told what they need."""
    if not FOLDER.exists():
        pytest.skip("`make conformance` sets up the programs these tests run")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`lakehouse serve`, as anybody starts it."""
    with serving([*LAKEHOUSE, "serve"], tmp_path_factory.mktemp("real")) as served:
        yield served


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same HTTP app with all that the suite asks a server for."""
    command = [sys.executable, "-m", "tests.conformance.everything"]
    with serving(command, tmp_path_factory.mktemp("everything")) as served:
        yield served


def run_node(script: Path, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """A Node program's exit code and output."""
    command = [shutil.which(NODE) or NODE, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=110, **more)
