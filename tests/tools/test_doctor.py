"""The doctor through the door, and of a data directory that cannot be opened."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
import pytest

from lakehouse import Lakehouse
from lakehouse.engine.doctor import packages
from lakehouse.lake import examine

pytestmark = pytest.mark.anyio


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the one slow thing, importing every package, where the test is of something else."""

    async def none_failed(modules: Sequence[str]) -> dict[str, str]:
        return {}

    monkeypatch.setattr(packages, "_failed_imports", none_failed)


async def test_through_the_door(quick: None, lake: Lakehouse) -> None:
    """A-S40-4. The lake that asks is itself the owner."""
    report = await lake.call("doctor")
    assert report["ok"] is True
    owner = next(check for check in report["checks"] if check["name"] == "owner")
    assert owner["ok"] and "this process" in owner["detail"]


async def test_without_the_lake(quick: None, home: Path) -> None:
    """With settings that cannot be read, and plugins that are left out."""
    await anyio.to_thread.run_sync(_write, home / "lakehouse.toml", "[sql]\nmax_row = 1\n")
    report = await examine(home)
    assert report["ok"] is False
    settings = next(check for check in report["checks"] if check["name"] == "settings")
    assert "sql.max_row" in settings["detail"] and settings["fix"] == "Did you mean max_rows?"


async def test_while_the_lake_is_open(quick: None, lake: Lakehouse, home: Path) -> None:
    """It takes no lock, and names the plugins that were left out."""
    report = await examine(home, overrides={"plugins.folders": [home / "absent"]})
    assert f"plugin {home / 'absent'}" in [check["name"] for check in report["checks"]]


def ask(command: list[str], home: Path, *options: str) -> tuple[int, str, str]:
    ran = subprocess.run(
        [*command, "--home", str(home), *options, "doctor"], capture_output=True, text=True, encoding="utf-8"
    )
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.slow
def test_from_the_shell(command: list[str], home: Path) -> None:
    """A-S40-4: JSON for machines, words for people, and status 1 when something required fails."""
    status, said, _ = ask(command, home, "--json")
    report = json.loads(said)
    assert (status, report["ok"]) == (0, True)
    assert {"name", "ok", "required", "detail"} <= set(report["checks"][0])
    _write(home / "lakehouse.toml", "[sql]\nmax_row = 1\n")
    status, said, complained = ask(command, home)
    assert status == 1
    assert "Did you mean max_rows?" in " ".join(said.split()), complained
    assert "Traceback" not in complained


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
