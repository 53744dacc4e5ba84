"""Fixtures: an open lake of real parts on a temporary folder, and the real data sets beside the checkout."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

import lakehouse
from lakehouse import Lakehouse

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LAKEHOUSE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the machine's own settings or data directory, and none reaches a model hub."""
    for name in [n for n in os.environ if n.startswith(("LAKEHOUSE_", "LH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "default-home"))
    monkeypatch.setenv("LAKEHOUSE_CACHE", str(tmp_path / "default-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test."""
    with blockbuster_ctx(scanned_modules=["lakehouse"]) as guard:
        yield guard


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
async def lake(home: Path) -> AsyncIterator[Lakehouse]:
    """An open lake with the deterministic test embedder."""
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as opened:
        yield opened


@pytest.fixture
def data() -> Callable[[str], Path]:
    """The path of a real data file; the test skips, saying why, where the data is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no {path}: set LAKEHOUSE_TEST_DATA to the folder of data sets")
        return path

    return find
