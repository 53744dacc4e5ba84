"""The doctor through the door, and of a data directory that cannot be opened."""

from pathlib import Path

import anyio.to_thread
import pytest

from lakehouse import Lakehouse
from lakehouse.lake import examine

pytestmark = pytest.mark.anyio


async def test_through_the_door(lake: Lakehouse) -> None:
    """A-S40-4. The lake that asks is itself the owner."""
    report = await lake.call("doctor")
    assert report["ok"] is True
    owner = next(check for check in report["checks"] if check["name"] == "owner")
    assert owner["ok"] and "this process" in owner["detail"]


async def test_without_the_lake(home: Path) -> None:
    """With settings that cannot be read, and plugins that are left out."""
    await anyio.to_thread.run_sync(_write, home / "lakehouse.toml", "[sql]\nmax_row = 1\n")
    report = await examine(home)
    assert report["ok"] is False
    settings = next(check for check in report["checks"] if check["name"] == "settings")
    assert "sql.max_row" in settings["detail"] and settings["fix"] == "Did you mean max_rows?"


async def test_while_the_lake_is_open(lake: Lakehouse, home: Path) -> None:
    """It takes no lock, and names the plugins that were left out."""
    report = await examine(home, overrides={"plugins.folders": [home / "absent"]})
    assert f"plugin {home / 'absent'}" in [check["name"] for check in report["checks"]]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
