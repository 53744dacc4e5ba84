"""A known credential leaves by no way there is: answers of failed calls, log lines, the record of calls."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SECRET = "s3cr3t-Value/with+signs"
LEAKY = '''\
"""Tools that fail with what they must not say."""

import os

from lakehouse import Lakehouse, Upstream, tool


@tool()
async def store(lake: Lakehouse) -> dict[str, int]:
    """A store that quotes the credential."""
    raise Upstream(f"no access with {os.environ['STORE_SECRET']}", fix=os.environ["STORE_SECRET"], data={
        "tried": [os.environ["STORE_SECRET"], 3],
    })


@tool()
async def crash(lake: Lakehouse) -> dict[str, int]:
    """What nobody foresaw."""
    raise RuntimeError(os.environ["STORE_SECRET"])
'''


@pytest.mark.parametrize(
    "settings", [{}, {"LAKEHOUSE_EMBED__API_KEY_ENV": "STORE_ACCESS"}], ids=["by name", "by setting"]
)
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("leaky.store", {}, "upstream"),
        ("leaky.crash", {}, "internal"),
        ("sql.query", {"sql": f"SELECT CAST('{SECRET}' AS INTEGER)"}, "invalid_request"),
        ("storage.get", {"key": SECRET}, "not_found"),
        (SECRET, {}, "not_found"),
    ],
)
def test_a_failure_says_no_credential(
    command: list[str],
    tmp_path: Path,
    home: Path,
    name: str,
    arguments: dict[str, str],
    code: str,
    settings: dict[str, str],
) -> None:
    """A-S3-3; a credential is known by its variable's name, or because a setting names the variable."""
    variable = settings.get("LAKEHOUSE_EMBED__API_KEY_ENV", "STORE_SECRET")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "leaky.py").write_text(LEAKY.replace("STORE_SECRET", variable), encoding="utf-8")
    environment = {variable: SECRET, "LAKEHOUSE_PLUGINS__FOLDERS": str(tmp_path), **settings}
    ran = subprocess.run(
        [*command, "--home", str(home), "--json", "call", name, json.dumps(arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    problem = json.loads(ran.stderr.splitlines()[-1])
    assert problem["title"] == code
    assert SECRET not in ran.stdout + ran.stderr
    for path in home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    if name == "leaky.crash":
        assert "[redacted]" in (home / "logs" / "lakehouse.log").read_text(encoding="utf-8")
