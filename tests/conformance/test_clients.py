"""Both TypeScript clients, in each era they speak, over HTTP and over a pipe: everything a host does with a server."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.conftest import FOLDER, HERE, LAKEHOUSE, Served, environment_of, run_node

# The client package and the era it speaks.
CLIENTS = [("v1", "legacy"), ("v2", "legacy"), ("v2", "auto")]
# `attached` is a pipe to a process whose data directory the HTTP server owns.
WAYS = ["http", "stdio", "attached"]
CHECKS = [
    "version",
    "list",
    "call",
    "error",
    "arguments",
    "unknownTool",
    "progress",
    "cancel",
    "resource",
    "complete",
    "prompt",
]
Report = Callable[[str, str, str], dict[str, str]]


@pytest.fixture(scope="session")
def report(real: Served, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What a client found, check by check; it connects once for all of them."""
    script = FOLDER / "clients.mjs"  # a module finds its packages beside itself only
    shutil.copy(HERE / "clients.mjs", script)

    @cache
    def found(generation: str, era: str, way: str) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("client")
        said = run_node(script, generation, era, json.dumps(target(real, way, folder)))
        assert said.returncode == 0, said.stderr[-3000:]
        return dict(json.loads(said.stdout))

    return found


def target(real: Served, way: str, folder: Path) -> dict[str, Any]:
    ended = {"ended": str(folder / "ended")}
    if way == "http":
        return {"url": real.url, **ended}
    environment = real.environment if way == "attached" else environment_of(folder / "home")
    return {"command": LAKEHOUSE[0], "args": [*LAKEHOUSE[1:], "stdio"], "env": environment, **ended}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("generation", "era"), CLIENTS)
def test_typescript(report: Report, generation: str, era: str, way: str, check: str) -> None:
    found = report(generation, era, way)
    assert list(found) == CHECKS
    assert found[check] == "ok", found[check]
