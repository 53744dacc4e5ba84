"""Addresses of services in the settings: one that is none stops the start, naming the setting."""

import os
import subprocess
from pathlib import Path

import pytest

from lakehouse import config
from lakehouse.errors import InvalidInput

SETTINGS = [("embed.ollama_url", "LAKEHOUSE_EMBED__OLLAMA_URL"), ("embed.api_base", "LAKEHOUSE_EMBED__API_BASE")]
WRONG = [
    *("127.0.0.1:11434", "localhost", "http://", "http:///api", "https://?x", "ftp://models", "://x", "garbage here"),
    *("http://:11434", "http://[::1", "http://host:port", "http://a b", " http://host"),
]
RIGHT = [
    "http://127.0.0.1:11434",
    "https://models.example.com/v1?x=1",
    "http://[::1]:11434/",
    "http://me:pw@host:1/api",
]


def test_an_address_without_a_scheme_or_host_stops_the_start(command: list[str], home: Path) -> None:
    """A-S4-2, A-S3-2."""
    starts = (("127.0.0.1:11434", "serve", "--port", "0"), ("https://?x", "stdio"))
    for (setting, variable), (wrong, *face) in zip(SETTINGS, starts, strict=True):
        ran = subprocess.run(
            [*command, "--home", str(home), *face],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, variable: wrong},
            timeout=60,
            check=False,
        )
        assert ran.returncode == 65 and f"{variable}: {setting}: " in ran.stderr, ran.stderr
        assert not ran.stdout and not home.exists()


@pytest.mark.parametrize(("setting", "variable"), SETTINGS)
def test_which_addresses_are_some(home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, variable: str) -> None:
    for wrong in WRONG:
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(InvalidInput, match=f"{variable}: {setting}: "):
            config.read(home)
    for right in RIGHT:
        monkeypatch.setenv(variable, right)
        assert right in str(config.read(home).config.embed)
