"""What becomes of an owner when somebody removes its socket, its lock or its whole data directory."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.owners import opened, probe

from lakehouse import Conflict, Lakehouse, Unavailable
from lakehouse.lake import hold

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="what is open stays there")]


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner looks often."""
    monkeypatch.setattr(hold, "LOOK_SECS", 0.01)


async def test_a_socket_that_is_removed_comes_back(home: Path, tmp_path: Path) -> None:
    """Guests that were there stay; new ones need not wait for the owner's end."""
    project, end = probe(tmp_path), tmp_path / "end"
    async with opened(home, project) as owner, opened(home, project) as early:
        got: list[Any] = []
        begun = anyio.Event()

        async def hear(*_: Any) -> None:
            begun.set()

        async def ask() -> None:
            got.append(await early.call("probe.wait", {"path": end}, progress=hear))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await begun.wait()
            await anyio.Path(home / "lake.sock").unlink()
            await anyio.Path(home / "lake.owner.json").unlink()
            async with opened(home, project) as late:
                assert late.attached_to and await late.call("probe.echo", {"value": 1}) == {"value": 1}
                while (await owner._owner.holder() or {}).get("address") != f"unix:{home / 'lake.sock'}":
                    await anyio.sleep(0.01)
            await anyio.Path(end).touch()
        assert got == [{"value": os.getpid()}]
    assert not await anyio.Path(home / "lake.sock").exists()


def _unlocked(home: Path) -> None:
    (home / "lake.lock").unlink()
    (home / "lake.sock").unlink()


def _moved(home: Path) -> None:
    home.rename(home.with_name("elsewhere"))


@pytest.mark.parametrize("harm", [_unlocked, _moved, shutil.rmtree])
async def test_who_lost_the_directory_does_nothing_there(home: Path, harm: Callable[[Path], Any]) -> None:
    """There is never more than one owner: what lies at the path now is open to the next one."""
    first = Lakehouse(await _settings(home))
    assert (await first.call("fixture.upper", {"text": "x"})) == {"text": "X"}
    await anyio.to_thread.run_sync(harm, home)
    async with opened(home) as second:
        while first._looking is not None and not first._looking.done():
            await anyio.sleep(0.01)
        with pytest.raises(Unavailable, match="was removed, moved or replaced"):
            await first.call("fixture.upper", {"text": "x"})
        assert await second.call("fixture.upper", {"text": "y"}) == {"text": "Y"} and not second.attached_to
        await first.aclose()
        async with opened(home) as third:  # the end of the first took nothing that is not its own
            assert third.attached_to and await third.call("fixture.upper", {"text": "y"}) == {"text": "Y"}


async def test_a_guest_with_another_bucket_is_told(home: Path, tmp_path: Path) -> None:
    """Its writes would go where it does not look, and its own bucket would be everybody's when it takes over."""
    elsewhere = (tmp_path / "elsewhere").as_uri()
    async with opened(home), opened(home, storage__url=(home / "objects").as_uri()) as same:
        assert same.attached_to
        with pytest.raises(Conflict, match=r"keeps its objects elsewhere than storage\.url says here") as told:
            async with opened(home, storage__url=elsewhere):
                raise AssertionError
        assert f"process {os.getpid()} " in told.value.detail and elsewhere not in str(told.value)
    # Also when the next owner is the one with another bucket.
    first = opened(home)
    await first.__aenter__()
    guest = Lakehouse(await _settings(home))
    await guest.start()
    await first.__aexit__(None, None, None)
    async with opened(home, storage__url=elsewhere):
        with pytest.raises(Conflict, match="keeps its objects elsewhere"):
            await guest.call("fixture.upper", {"text": "x"})
    assert await guest.call("fixture.upper", {"text": "x"}) == {"text": "X"}
    await guest.aclose()


async def _settings(home: Path) -> Any:
    async with opened(home) as lake:
        return lake.settings
