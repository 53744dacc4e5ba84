"""The command under test: this checkout's, or the one an environment variable names (an installed wheel's)."""

import os
import shlex
import sys

import pytest


@pytest.fixture
def command() -> list[str]:
    """How to start Lakehouse: `LAKEHOUSE_TEST_COMMAND`, else this environment's script."""
    given = os.environ.get("LAKEHOUSE_TEST_COMMAND", "")
    return shlex.split(given) if given else [sys.executable, "-m", "lakehouse"]
