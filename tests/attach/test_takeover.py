"""When the owner of a data directory goes: who is next, and what becomes of the calls that ran."""

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.owners import another, end, opened, posix

from lakehouse import (
    Lakehouse,
    Unavailable,
    config,
)
from lakehouse.attach import guest
from lakehouse.lake import MAX_OWNERS

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@posix
@pytest.mark.parametrize("how", ["killed", "closed"])
async def test_when_the_owner_goes_the_next_call_takes_over(home: Path, project: Path, how: str) -> None:
    async with another(home, project) as child, opened(home, project) as lake:
        assert (await lake.call("probe.who"))["value"][0] == child.pid
        if how == "closed":
            await end(child)
        else:
            child.kill()
            await anyio.to_thread.run_sync(child.wait)
        # A write, too: nobody was there to begin it.
        note = home / "note"
        assert (await lake.call("probe.once", {"line": "x", "note": note}))["value"] == os.getpid()
        assert await anyio.Path(note).read_text() == "x\n"
        assert not lake.attached_to
        async with opened(home, project) as other:
            assert (await other.call("probe.who"))["value"][0] == os.getpid()


@posix
@pytest.mark.parametrize(
    ("name", "twice"), [("probe.wait", True), ("probe.again", True), ("probe.once", False), ("probe.held", True)]
)
async def test_what_ran_when_the_owner_was_killed(home: Path, project: Path, name: str, twice: bool) -> None:
    """What may be done twice is; of what may not, nobody can tell."""
    note, path = home / "note", home / "end"
    arguments = {
        "probe.wait": {"path": path},
        "probe.held": {"name": "end"},
    }.get(name, {"line": "x", "note": note, "path": path})
    async with another(home, project) as child, opened(home, project) as lake:

        async def kill(done: float, total: float | None, message: str) -> None:
            if child.poll() is None:
                child.kill()
                await anyio.to_thread.run_sync(child.wait)
                await anyio.Path(path).touch()

        if twice:
            assert await lake.call(name, arguments, progress=kill) == {"value": os.getpid()}
        else:
            with pytest.raises(Unavailable, match="whether it was done is not known") as raised:
                await lake.call(name, arguments, progress=kill)
            assert f"process {child.pid} " in raised.value.detail
            assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}
        if name in ("probe.once", "probe.again"):
            assert await anyio.Path(note).read_text() == ("x\nx\n" if twice else "x\n")


@posix
async def test_many_calls_at_once_survive_their_owner(home: Path, project: Path) -> None:
    async with another(home, project) as child, opened(home, project) as lake:
        got: list[int] = []
        begun = 0

        async def hear(done: float, total: float | None, message: str) -> None:
            nonlocal begun
            begun += 1
            if begun == 20:
                child.kill()
                await anyio.Path(home / "end").touch()

        async def ask() -> None:
            got.append((await lake.call("probe.wait", {"path": home / "end"}, progress=hear))["value"])

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert got == [os.getpid()] * 20


async def test_an_owner_that_ends_lets_calls_of_others_end(home: Path, project: Path) -> None:
    """And whoever calls meanwhile waits for it, and takes over."""
    async with opened(home, project) as attached_later:
        first = attached_later
        second = Lakehouse(first.settings)
        begun = anyio.Event()
        got: dict[str, Any] = {}

        async def hear(done: float, total: float | None, message: str) -> None:
            begun.set()

        async def long() -> None:
            got["long"] = await second.call(
                "probe.once", {"line": "x", "note": home / "n", "path": home / "e"}, progress=hear
            )

        async def late() -> None:
            got["late"] = await second.call("probe.who")

        async with anyio.create_task_group() as group:
            group.start_soon(long)
            await begun.wait()
            group.start_soon(first.aclose)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(late)
            await anyio.wait_all_tasks_blocked()
            assert not got
            await anyio.Path(home / "e").touch()
        assert got["long"] == {"value": os.getpid()} and got["late"]["value"][0] == os.getpid()
        assert not second.attached_to and await anyio.Path(home / "n").read_text() == "x\n"
        await second.aclose()


async def test_a_call_that_ends_every_owner_is_given_up(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def gone(*_: Any) -> Any:
        nonlocal asked
        asked += 1
        raise guest.Gone(sent=True)

    async with opened(home, project), opened(home, project) as lake:
        monkeypatch.setattr(guest.Attachment, "call", gone)
        with pytest.raises(Unavailable, match="one after another"):
            await lake.call("probe.echo")
        assert asked == MAX_OWNERS
        monkeypatch.undo()
        assert await lake.call("probe.echo", {"value": 1}) == {"value": 1}


@posix
async def test_openings_that_race_end_with_one_owner(home: Path) -> None:
    got: list[Any] = []

    async def ask(lake: Lakehouse) -> None:
        got.append((await lake.call("fixture.upper", {"text": "x"}))["text"])

    lakes = [Lakehouse(await anyio.to_thread.run_sync(config.read, home)) for _ in range(6)]
    async with anyio.create_task_group() as group:
        for lake in lakes:
            for _ in range(3):
                group.start_soon(ask, lake)
    assert got == ["X"] * 18 and sum(not lake.attached_to for lake in lakes) == 1
    async with anyio.create_task_group() as group:
        for lake in lakes:
            group.start_soon(lake.aclose)
