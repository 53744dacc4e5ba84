"""What every test of attaching needs."""

from pathlib import Path

import pytest
from tests.owners import probe


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A plugin folder of tools that do what they are told."""
    return probe(tmp_path)
